"""Audits on the real stack: a staged snapshot is looked at as a whole before it is published."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from iceberg_datamart.core.state.commit import mirror_state
from iceberg_datamart.lake.auditing import Auditor
from support.shops.copies import open_copies
from support.shops.shop import open_shop
from support.shops.shop_rules import UNCHANGED, outcomes, prepared, rename

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

MART = "customer_purchases"
FOREIGN_KEY = {"type": "foreign_key", "columns": ["customer_id"], "table": "customer"}
# By a table's or mart's name: its audit, a change that it does not allow, what it says of it, and a change
# that corrects it. The tables are copies of `purchase`; `sold` and `held` are those of the two marts.
KINDS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "counted": (
        {"type": "row_count", "min": 60, "max": 62},
        "insert into counted select i, 1, 1, clock_timestamp() from generate_series(61, 63) as i",
        "audit 'row_count': 63 rows; max is 62",
        "delete from counted where purchase_id > 60",
    ),
    "pointing": (
        FOREIGN_KEY,
        (
            "update pointing set customer_id = 90 + purchase_id, updated_at = clock_timestamp() "
            "where purchase_id in (3, 7)"
        ),
        (
            "audit 'foreign_key (customer_id)': 2 rows point to no row of 'customer', "
            "the first: purchase_id=3, customer_id=93; purchase_id=7, customer_id=97"
        ),
        "update pointing set customer_id = null, updated_at = clock_timestamp() where purchase_id in (3, 7)",
    ),
    "limited": (
        {
            "type": "sql",
            "name": "limit of each customer",
            "sql": "SELECT c.name, sum(p.amount) AS spent FROM {limited} AS p JOIN {customer} AS c\n"
            "USING (customer_id) GROUP BY c.name HAVING sum(p.amount) > 1000 -- of {{all}}",
        },
        "update limited set amount = 990, updated_at = clock_timestamp() where purchase_id = 3",
        "audit 'limit of each customer': 1 row found: name=customer 4, spent=1143.75",
        "update limited set amount = 1, updated_at = clock_timestamp() where purchase_id = 3",
    ),
    "all_sold": (
        {"type": "row_count", "max": 60},
        "insert into sold select 61, 1, 1, clock_timestamp()",
        "audit 'row_count': 61 rows; max is 60",
        "update sold set customer_id = null, updated_at = clock_timestamp() where purchase_id = 61",
    ),
    "all_held": (
        {
            "type": "sql",
            "name": "all held",
            "sql": "with seen as (select purchase_id from {all_held}) select purchase_id, amount "
            "from {held} where purchase_id not in (select purchase_id from seen)",
        },
        "update held set customer_id = null, updated_at = clock_timestamp() where purchase_id = 3",
        "audit 'all held': 1 row found: purchase_id=3, amount=3.75",
        "update held set customer_id = 3, updated_at = clock_timestamp() where purchase_id = 3",
    ),
}
MARTS = {"all_sold": "sold", "all_held": "held"}
COPIES = {
    "customer": "customer",
    **dict.fromkeys(("counted", "pointing", "limited", "sold", "held"), "purchase"),
}


def auditing(laptop: Laptop, table: str, *audits: dict[str, Any]) -> Laptop:
    """Give a table or mart these audits, and no others."""
    blocks = laptop.settings["marts" if table in laptop.settings["marts"] else "tables"]
    blocks[table] = {**blocks[table], "audits": list(audits)}
    return laptop.save()


def published(laptop: Laptop, table: str) -> tuple[Any, ...]:
    """Return all that readers and the next run see of a table."""
    return laptop.rows(table), laptop.history(table), state_of(laptop, table)


def state_of(laptop: Laptop, table: str) -> dict[str, Any]:
    """Return where the next run of a mirror starts, and what it starts from; nothing of a mart."""
    told = laptop.status()["tables"].get(table, {})
    return {name: told.get(name) for name in ("run_id", "snapshot_id", "watermark")}


def part(report: dict[str, Any], table: str) -> dict[str, Any]:
    return {**report["tables"], **report["marts"]}[table]


def test_what_an_audit_does_not_allow_is_staged_and_not_published(
    laptop: Laptop, connection: Connection
) -> None:
    oracle = open_copies(laptop, connection, COPIES, MARTS)
    laptop.run()
    for name, (audit, _, _, _) in KINDS.items():
        auditing(laptop, name, audit)
    assert outcomes(laptop.run()) == UNCHANGED
    before = {name: published(laptop, name) for name in KINDS}
    snapshots = laptop.snapshot_ids()
    for _, change, _, _ in KINDS.values():
        connection.execute(change)
    rename(connection, "goes on")
    report = laptop.failing_run()
    assert {report["tables"][name]["outcome"] for name in ("customer", *MARTS.values())} == {"merged"}
    for name, (_, _, said, _) in KINDS.items():
        shown = part(report, name)
        (staged,) = set(laptop.snapshot_ids()[name]) - set(snapshots[name])
        outcome = (shown["outcome"], shown["staged_snapshot_id"], shown["snapshot_id"])
        assert outcome == ("failed", staged, None), name
        assert shown["error"]["type"] == "AuditError", name
        assert shown["error"]["message"] == f"staged snapshot {staged} fails {said}"
    assert {name: published(laptop, name) for name in KINDS} == before
    for _, _, _, correction in KINDS.values():
        connection.execute(correction)
    report = laptop.run()
    assert {part(report, name)["staged_snapshot_id"] for name in KINDS} == {None}
    oracle.check(laptop, against_source=True)
    assert outcomes(laptop.run()) == UNCHANGED


def test_a_key_that_another_tool_doubled_is_not_published_again(
    laptop: Laptop, connection: Connection
) -> None:
    copies = {"customer": "customer", "twice": "customer", "purchase": "purchase"}
    oracle = open_copies(laptop, connection, copies, {MART: "purchase"})
    doubled = {
        "twice": (
            # Not among the rows that the next run meets: there it would be replaced by one.
            "values (9, 'twice', timestamp '2025-01-01', 'x', timestamp '2025-01-01')",
            "customer_id=9",
        ),
    }
    for table in doubled:
        auditing(laptop, table, {"type": "unique_key"})
    laptop.run()
    rename_in_both(connection, "passes", 3)
    laptop.run()
    sound = {table: laptop.history(table)[0]["snapshot_id"] for table in doubled}
    for table, (rows, _) in doubled.items():
        laptop.spark_sql(f"insert into datamart.datamart.{table} {rows}")
    before = {table: published(laptop, table) for table in doubled}
    rename_in_both(connection, "goes on", 5)
    report = laptop.failing_run()
    for table, (_, key) in doubled.items():
        shown = part(report, table)
        staged = f"staged snapshot {shown['staged_snapshot_id']}"
        said = f"{staged} fails audit 'unique_key': 1 key has several rows: {key}"
        assert shown["error"]["message"] == said
    assert {table: published(laptop, table) for table in doubled} == before
    for table, snapshot in sound.items():
        laptop.spark_sql(
            f"call datamart.system.rollback_to_snapshot('datamart.datamart.{table}', {snapshot})"
        )
    laptop.run()
    oracle.check(laptop, against_source=True)


def rename_in_both(connection: Connection, name: str, key: int) -> None:
    for table in ("customer", "twice"):
        connection.execute(
            f"update {table} set name = '{name}', updated_at = clock_timestamp() where customer_id = {key}"
        )


@pytest.mark.runtime
def test_r1_the_watermark_of_refused_rows_is_in_their_own_snapshot_alone(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    auditing(laptop, "purchase", {"type": "row_count", "max": 60})
    before, timestamp = state_of(laptop, "purchase"), laptop.timestamp()
    connection.execute("insert into purchase select 61, 1, 1, '2025-06-01 00:00:00.000001Z'")
    time.sleep(1.1)  # the timestamp file counts seconds
    staged = laptop.failing_run()["tables"]["purchase"]["staged_snapshot_id"]
    assert state_of(laptop, "purchase") == before
    assert laptop.timestamp() == timestamp
    snapshot = laptop.table("purchase").snapshot_by_id(staged)
    assert snapshot is not None
    assert snapshot.summary is not None
    state = mirror_state(snapshot.summary.additional_properties)
    assert state is not None
    assert str(state.watermark) == "2025-06-01T00:00:00.000001Z"
    assert before["watermark"] < "2025-06-01"
    count = f"select count(*) from datamart.datamart.purchase version as of {staged}"
    assert laptop.spark_sql(count) == [(61,)], "people can look at what was refused"
    auditing(laptop, "purchase")
    laptop.run()
    assert laptop.status()["tables"]["purchase"]["watermark"] == str(state.watermark)
    oracle.check(laptop, against_source=True)


def test_a_first_load_that_is_refused_leaves_an_empty_table_and_the_next_one_fills_it(
    laptop: Laptop, connection: Connection
) -> None:
    found = open_shop(laptop, connection)
    auditing(laptop, "purchase", {"type": "row_count", "min": 61}, {"type": "unique_key"})
    keys = {**FOREIGN_KEY, "columns": {"purchase_id": "customer_id"}}
    few = {"type": "row_count", "min": 61}
    auditing(laptop, MART, {**keys, "on_fail": "warn"}, few, {"type": "unique_key"}, FOREIGN_KEY)
    report = laptop.failing_run()
    assert report["tables"]["purchase"]["error"]["message"].endswith("audit 'row_count': 60 rows; min is 61")
    assert report["tables"]["customer"]["inserted"] == 20
    assert part(report, MART)["error"]["message"].endswith("audit 'row_count': 0 rows; min is 61")
    assert (laptop.rows("purchase"), laptop.rows(MART)) == ([], [])
    assert laptop.timestamp() is None
    assert laptop.history("purchase") == []
    connection.execute("insert into purchase select 61, 1, 1, now()")
    (warning,) = part(laptop.run(), MART)["warnings"]
    said = "audit 'foreign_key (purchase_id)': 41 rows point to no row of 'customer', the first: "
    first = "customer_id=1, purchase_id=38; customer_id=1, purchase_id=57; customer_id=1, purchase_id=61"
    assert warning == f"table '{MART}': {said}{first}"
    found.check(laptop, against_source=True)
    assert outcomes(laptop.run()) == UNCHANGED


def test_a_row_whose_parent_comes_in_the_same_run_passes(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    purchase = {**laptop.settings["tables"]["purchase"], "audits": [FOREIGN_KEY]}
    laptop.settings["tables"] = {"purchase": purchase, "customer": laptop.settings["tables"]["customer"]}
    for number, parallel in ((21, 1), (22, 4), (23, 4)):
        laptop.settings["run"] = {"parallel_tables": parallel}
        laptop.file.write_text(yaml.safe_dump(laptop.settings, sort_keys=False), encoding="utf-8")
        connection.execute(
            f"insert into customer values ({number}, 'new', now()); "
            f"insert into purchase values ({number + 40}, {number}, 1, now())"
        )
        report = laptop.run()
        assert list(report["tables"]) == ["purchase", "customer"]
        assert report["tables"]["purchase"]["inserted"] == 1, f"{parallel} at a time"
    oracle.check(laptop, against_source=True)


def test_a_table_that_does_not_run_is_audited_against_as_it_is_and_named_where_no_run_has_made_it(
    laptop: Laptop, connection: Connection
) -> None:
    oracle = open_shop(laptop, connection)
    auditing(laptop, "purchase", FOREIGN_KEY)
    error = laptop.failing_run("--table", "purchase")["tables"]["purchase"]["error"]
    assert error["message"] == "tables.purchase.audits[0]: the mirror 'customer' does not exist yet"
    laptop.run()
    connection.execute("insert into customer values (21, 'new', now())")
    connection.execute("insert into purchase values (61, 21, 1, now())")
    error = laptop.failing_run("--table", "purchase")["tables"]["purchase"]["error"]
    assert error["message"].endswith("1 row points to no row of 'customer': purchase_id=61, customer_id=21")
    laptop.run()
    oracle.check(laptop, against_source=True)


def test_a_warning_is_published_and_told_and_an_error_beside_it_is_not(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    few = {"type": "row_count", "name": "few", "max": 60}
    cheap = {
        "type": "sql",
        "name": "cheap",
        "sql": "SELECT purchase_id FROM {purchase} WHERE amount = 999",
    }
    auditing(laptop, "purchase", {**few, "on_fail": "warn"}, cheap, {**few, "name": "also"})
    connection.execute("insert into purchase select i, 1, 999, now() from generate_series(61, 65) as i")
    error = laptop.failing_run()["tables"]["purchase"]["error"]["message"]
    assert error.partition(" fails ")[2] == (
        "audit 'cheap': 5 rows found, the first: purchase_id=61; purchase_id=62; "
        "purchase_id=63; audit 'also': 65 rows; max is 60"
    )
    own = {"type": "foreign_key", "columns": {"customer_id": "purchase_id"}, "table": "purchase"}
    auditing(laptop, "purchase", {**few, "on_fail": "warn"}, {**cheap, "on_fail": "warn"}, own)
    report = laptop.run()["tables"]["purchase"]
    assert (report["outcome"], report["inserted"], report["staged_snapshot_id"]) == ("merged", 5, None)
    assert report["warnings"] == [
        "table 'purchase': audit 'few': 65 rows; max is 60",
        (
            "table 'purchase': audit 'cheap': 5 rows found, the first: purchase_id=61; "
            "purchase_id=62; purchase_id=63"
        ),
    ]
    oracle.check(laptop, against_source=True)


UNREADABLE: dict[str, tuple[dict[str, Any], str]] = {
    "misspelt": ({"type": "sql", "sql": "SELECT amuont FROM {misspelt}"}, "amuont"),
    "no_sql": ({"type": "sql", "sql": "SELECT FROM WHERE {no_sql}"}, ""),
    "no_column": ({**FOREIGN_KEY, "columns": {"customer_id": "zz"}}, "zz"),
}


def test_an_audit_that_spark_cannot_read_is_refused_before_anything_is_staged(
    laptop: Laptop, connection: Connection
) -> None:
    copies = {"customer": "customer", **dict.fromkeys(UNREADABLE, "purchase")}
    oracle = open_copies(laptop, connection, copies)
    laptop.run()
    for name, (audit, _) in UNREADABLE.items():
        auditing(laptop, name, {"type": "unique_key"}, audit)
        connection.execute(
            f"update {name} set amount = 1, updated_at = clock_timestamp() where purchase_id = 3"
        )
    before = laptop.snapshot_ids()
    ended = laptop.command("run")
    assert ended.exit_code == 2
    for name, (_, said) in UNREADABLE.items():
        error = ended.report["tables"][name]["error"]
        assert error["type"] == "ConfigError", name
        assert error["message"].startswith(f"tables.{name}.audits[1]: ")
        assert said in error["message"]
    assert laptop.snapshot_ids() == before
    for name in UNREADABLE:
        auditing(laptop, name)
    laptop.run()
    oracle.check(laptop, against_source=True)


def test_r12_a_table_that_another_run_filled_meanwhile_is_a_conflict_and_no_failed_audit(
    laptop: Laptop, connection: Connection
) -> None:
    found = open_shop(laptop, connection)
    auditing(laptop, "customer", {"type": "unique_key"}, {"type": "row_count", "max": 20})
    with prepared(laptop) as first, prepared(laptop) as second:
        assert first().exit_code == 0
        assert second().exit_code in {0, 75}
    found.check(laptop, against_source=True)


def test_without_audits_a_commit_is_not_looked_at(
    laptop: Laptop, connection: Connection, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Auditor, "judge", looked)
    rename(connection, "not audited")
    assert laptop.run()["tables"]["customer"]["outcome"] == "merged"
    oracle.check(laptop, against_source=True)


def test_tables_whose_audits_name_each_other_are_refused(laptop: Laptop, oracle: Oracle) -> None:
    auditing(laptop, "purchase", FOREIGN_KEY)
    auditing(laptop, "customer", {"type": "sql", "sql": "SELECT 1 FROM {purchase} WHERE false"})
    ended = laptop.command("run")
    assert ended.exit_code == 2
    assert "in a circle: customer -> purchase -> customer" in ended.report["error"]["message"]
    oracle.check(laptop, against_source=True)
