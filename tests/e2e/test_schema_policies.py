"""What no mirror can follow, or may not by `on_schema_change`; and `backfill`, which fills new columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.oracles.oracle import rows_of
from support.shops.changing_tables import alter, check, columns_of, insert_one, make, touch
from support.shops.shop_rules import UNCHANGED, outcomes

if TYPE_CHECKING:
    import psycopg

    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

# --- what is refused


@pytest.mark.runtime
@pytest.mark.matrix_on("glue-4.0")
def test_an_illegal_type_and_another_key_fail_their_tables_alone_and_the_hints_mend_them(
    laptop: Laptop, connection: Connection
) -> None:
    tables = make(connection, "text", "keyed", "good")
    mart = {"from": "good", "joins": [{"table": "text", "on": ["id"]}]}
    laptop.configure(tables, {"good_text": mart})
    laptop.run()
    said = laptop.timestamp()
    alter(
        connection, "text", "drop v_text, add v_text text default 'new', alter u_text type date using now()"
    )
    alter(connection, "keyed", "drop constraint keyed_pkey, add primary key (id, at_keyed)")
    for t in tables:
        insert_one(connection, t)
    before = laptop.snapshot_ids()
    report = laptop.failing_run()
    errors = {name: part["error"] for name, part in report["tables"].items()}
    assert errors["good"] is None
    assert errors["text"]["type"] == errors["keyed"]["type"] == "SchemaChangeError"
    for words in ("'v_text' from int to string", "'u_text' from int to date"):
        assert words in errors["text"]["message"]
    for words in ("columns.<name>.type", "exclude", "backfill --table text", "Nothing was written to 'text'"):
        assert words in errors["text"]["hint"]
    assert "the key is id, at_keyed now, but the mirror's is id" in errors["keyed"]["message"]
    assert "tables.keyed.primary_key" in errors["keyed"]["hint"]
    assert laptop.timestamp() == said
    after = laptop.snapshot_ids()
    assert {t for t in tables if after[t] != before[t]} == {"good"}
    laptop.settings["tables"]["keyed"]["primary_key"] = ["id"]
    laptop.settings["tables"]["text"]["exclude"] = ["u_text", "v_text"]
    laptop.save().run()
    check(laptop, connection, "keyed", "select * from keyed")
    check(laptop, connection, "text", "select id, at_text from text")
    del laptop.settings["tables"]["text"]["exclude"]
    laptop.save()
    with laptop.table("text").update_schema() as update:
        update.delete_column("u_text").delete_column("v_text")
    laptop.run()
    check(laptop, connection, "text", "select * from text")
    check(laptop, connection, "good_text", "select * from good join text using (id)")


# --- on_schema_change

POLICIES = {
    "fail": {
        "f_added": ("add m text", "adds 'm' string"),
        "f_wider": ("alter v_{t} type bigint", "widens 'v_f_wider' int to long"),
        "f_dropped": ("drop v_{t}", "'v_f_dropped' is gone from the source"),
        "f_renamed": ("rename v_{t} to w", "renames 'v_f_renamed' to 'w'"),
        "f_anew": ("drop v_{t}, add v_{t} int", "recreates 'v_f_anew'"),
        "f_same": ("alter v_{t} set default 3", None),
    },
    "ignore": {
        "i_added": ("add m text default 'm'", None),
        "i_renamed": ("rename v_{t} to w", None),
        "i_dropped": ("drop v_{t}", None),
        "i_anew": ("drop v_{t}, add v_{t} int default 6", None),
        "i_wider": ("alter v_{t} type bigint", "widens 'v_i_wider' int to long"),
        "i_other": ("drop v_{t}, add v_{t} date", "'v_i_other' changed from int to date"),
    },
}


def changed_under_policies(laptop: Laptop, connection: Connection, policy: str) -> dict[str, Any]:
    """Fill a table for each change, make the changes, and return the report of the run that must fail."""
    tables = make(connection, *POLICIES[policy])
    laptop.configure({t: {**table, "on_schema_change": policy} for t, table in tables.items()}, {})
    laptop.run()
    for t, (change, _) in POLICIES[policy].items():
        alter(connection, t, change)
        insert_one(connection, t)
    before, said = laptop.snapshot_ids(), laptop.timestamp()
    report = laptop.failing_run()
    after = laptop.snapshot_ids()
    for t, (_, words) in POLICIES[policy].items():
        outcome = report["tables"][t]
        assert outcome["outcome"] == ("merged" if words is None else "failed"), (t, outcome)
        assert (after[t] == before[t]) is (words is not None)
        if words is not None:
            assert words in outcome["error"]["message"]
            assert "Nothing was written" in outcome["error"]["hint"]
    assert laptop.timestamp() == said
    return report


def test_on_schema_change_fail_fails_until_the_change_is_followed_once(
    laptop: Laptop, connection: Connection
) -> None:
    report = changed_under_policies(laptop, connection, "fail")
    assert "tables.f_wider.on_schema_change: evolve" in report["tables"]["f_wider"]["error"]["hint"]
    for policy in ("evolve", "fail"):
        for t in POLICIES["fail"]:
            laptop.settings["tables"][t]["on_schema_change"] = policy
        report = laptop.save().run()
        for t in POLICIES["fail"]:
            check(laptop, connection, t, f"select * from {t}")
    assert outcomes(report) == UNCHANGED, "what was followed once is no news"


def test_on_schema_change_ignore_keeps_the_mirrors_columns(laptop: Laptop, connection: Connection) -> None:
    changed_under_policies(laptop, connection, "ignore")
    for t in ("i_added", "i_renamed", "i_dropped", "i_anew"):
        names = set(laptop.table(t).schema().column_names) - {"_run_id", "_merged_at"}
        assert names == {"id", f"u_{t}", f"v_{t}", f"at_{t}"}
        kept = ", ".join(n for n in columns_of(connection, t) if n in names)
        check(laptop, connection, t, f"select {kept} from {t}")
    held = {row["id"]: row["v_i_renamed"] for row in laptop.rows("i_renamed")}
    assert held == {**{i: -i for i in range(1, 13)}, 100: None}


# --- backfill


def test_a_new_column_is_filled_by_the_next_run_and_a_backfill_deletes_nothing(
    laptop: Laptop, connection: Connection
) -> None:
    laptop.configure(make(connection, "thing", "other"), {})
    laptop.run()
    alter(connection, "thing", "add m int default 7")
    touch(connection, "thing")
    laptop.run()
    held = {row["id"]: row["m"] for row in laptop.rows("thing")}
    assert (held[2], held[100], held[9], held[12]) == (14, 7, 7, 7)
    # What no cursor tells: the one is found, the other is left to a reconcile.
    connection.execute("update thing set m = 8 where id = 9; delete from thing where id = 12")
    ended = laptop.command("backfill", "--table", "thing")
    assert ended.exit_code == 0, ended.stderr
    assert set(ended.report["tables"]) == {"thing"}
    assert ended.report["tables"]["thing"]["deleted"] == 0
    assert laptop.history("thing")[0]["load_type"] == "backfill"
    expected = "select id, m from thing union all select 12, 7"
    found = {row["id"]: row["m"] for row in laptop.rows("thing")}
    assert found == {row["id"]: row["m"] for row in rows_of(connection, expected, "public")}
    before = laptop.snapshot_ids()
    assert outcomes(laptop.command("backfill", "--table", "thing").report) == UNCHANGED
    assert outcomes(laptop.run()) == UNCHANGED
    assert laptop.snapshot_ids() == before
    assert laptop.command("reconcile").report["tables"]["thing"]["deleted"] == 1
    check(laptop, connection, "thing", "select * from thing")
