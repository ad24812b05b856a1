"""D1 to D11: what the old script did wrong does not happen here; D1 to D4 and D10 beside that very script."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from support.shops.changing_tables import check
from support.shops.shop import JOIN
from support.worlds.old_script import OldScript

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Databases, Laptop

    Connection = psycopg.Connection[Any]

_NARROW = f"select customer_id, name, purchase_id, amount from ({JOIN}) as joined"
_SECONDS = "timestamptz '2025-06-01 12:00:00+00'"


@pytest.fixture
def old(connection: Connection, oracle: Oracle) -> OldScript:
    """Return the old script after its own first run over the loaded shop, which was right."""
    del oracle
    script = OldScript(connection)
    script.run()
    assert Counter(script.appended) == joined(connection)
    return script


def joined(connection: Connection) -> Counter[tuple[Any, ...]]:
    """Return the mart's rows by PostgreSQL's own join, without the times."""
    connection.execute("set search_path = public")
    return Counter(connection.execute(_NARROW).fetchall())


def test_d1_a_change_on_one_side_alone_reaches_the_mart(
    laptop: Laptop, connection: Connection, oracle: Oracle, old: OldScript
) -> None:
    connection.execute("insert into purchase (customer_id, amount, updated_at) values (3, 9.99, now())")
    old.run()
    laptop.run()
    oracle.check(laptop, against_source=True)
    assert joined(connection) - Counter(old.appended), "the old script must lose the purchase"
    connection.execute("update customer set name = 'renamed', updated_at = now() where customer_id = 4")
    laptop.run()
    oracle.check(laptop, against_source=True)


def test_d2_a_slower_table_loses_no_rows(
    laptop: Laptop, connection: Connection, oracle: Oracle, old: OldScript
) -> None:
    connection.execute("insert into customer (name, updated_at) values ('early', now())")
    old.run()
    laptop.run()
    late = "now() - interval '90 seconds'"
    connection.execute(
        "update customer set name = 'both', updated_at = clock_timestamp() where name = 'early'"
    )
    connection.execute(
        f"insert into purchase (customer_id, amount, updated_at) select customer_id, 5, {late} from customer "
        "where name = 'both'"
    )
    old.run()
    laptop.run()
    oracle.check(laptop, against_source=True)
    assert not joined(connection) <= Counter(old.appended), "the old script must lose the purchase"


def test_d3_a_table_that_failed_once_loses_no_rows(
    laptop: Laptop, connection: Connection, oracle: Oracle, old: OldScript
) -> None:
    connection.execute(
        "insert into purchase (customer_id, amount, updated_at) "
        "values (5, 7.50, now() - interval '9 seconds')"
    )
    connection.execute("update customer set updated_at = now() where customer_id = 5")
    said = laptop.timestamp()
    connection.execute("alter table purchase rename to hidden")
    old.run()
    report = laptop.failing_run()
    assert report["tables"]["purchase"]["outcome"] == "failed"
    assert laptop.timestamp() == said
    connection.execute("alter table hidden rename to purchase")
    old.run()
    laptop.run()
    oracle.check(laptop, against_source=True)
    assert joined(connection) - Counter(old.appended), "the old script must lose the purchase"


@pytest.mark.runtime
def test_d4_updates_reruns_and_full_loads_double_no_row(
    laptop: Laptop, connection: Connection, oracle: Oracle, old: OldScript
) -> None:
    connection.execute("update customer set updated_at = now(), name = 'twice' where customer_id = 6")
    connection.execute("update purchase set updated_at = now() where customer_id = 6")
    for load_type in ("incremental", "incremental", "full"):
        old.run(load_type=load_type)
        laptop.run("--load-type", load_type)
        oracle.check(laptop, against_source=True)
    assert max(Counter(row[2] for row in old.appended).values()) > 1, "the old script must double rows"


def test_d5_a_row_tied_with_the_watermark_is_read(
    laptop: Laptop, connection: Connection, oracle: Oracle, old: OldScript
) -> None:
    for name in ("first of a second", "second of the same second"):
        connection.execute(f"insert into customer (name, updated_at) values (%s, {_SECONDS})", [name])
        old.run()
        laptop.run()
        watermark = laptop.status()["tables"]["customer"]["watermark"]
        assert watermark == "2025-06-01T12:00:00.000000Z"
    oracle.check(laptop, against_source=True)
    assert old.watermark == "2025-06-01 12:00:00"


@pytest.mark.parametrize("command", [("reconcile",), ("run", "--load-type", "full")], ids=" ".join)
def test_d6_what_the_cursor_does_not_see_is_found(
    laptop: Laptop, connection: Connection, oracle: Oracle, command: tuple[str, ...]
) -> None:
    connection.execute("update purchase set amount = -1 where purchase_id <= 3")
    connection.execute("delete from purchase where purchase_id between 50 and 55")
    connection.execute("delete from customer where customer_id = 7")
    report = laptop.run()
    assert {part["outcome"] for part in report["tables"].values()} == {"unchanged"}
    oracle.check(laptop)
    report = laptop.command(*command).report
    assert (report["tables"]["purchase"]["updated"], report["tables"]["purchase"]["deleted"]) == (3, 6)
    oracle.check(laptop, against_source=True)


def test_d7_window_and_columns_are_the_servers_work(
    laptop: Laptop, connection: Connection, database: str, databases: Databases, oracle: Oracle
) -> None:
    laptop.settings["tables"]["purchase"]["exclude"] = ["customer_id"]
    laptop.settings["marts"] = {}
    # Other columns than the mirror was filled from: all rows are compared once.
    laptop.save().run()
    text = laptop.plan()["purchase"]["sql"]
    assert '"amount"' in text
    assert '"customer_id"' not in text
    assert '"updated_at" >= ' in text
    connection.execute("update purchase set amount = 0, updated_at = now() where purchase_id = 1")
    connection.execute(f"alter database {database} set log_statement = 'all'")
    start = len(databases.server.log())
    laptop.run()
    connection.execute(f"alter database {database} reset log_statement")
    lines = databases.server.log()[start:].decode().splitlines()
    own = [line for line in lines if line.startswith(f"{database} ") and '"public"."purchase"' in line]
    # To plan a statement is how it locks what it will read.
    reads = [line for line in own if "explain select" not in line]
    assert 1 <= len(reads) <= 6, reads
    for line in reads:
        assert '"updated_at" >= ' in line, line
        assert "count(" not in line.lower(), line
    oracle.follow(full=True, tables=["purchase"])


def test_d8_columns_of_the_same_name_have_fixed_names_in_the_mart(laptop: Laptop, oracle: Oracle) -> None:
    oracle.check(laptop)
    assert laptop.table("customer_purchases").schema().column_names == [
        "customer_id",
        "name",
        "customer_updated_at",
        "purchase_id",
        "amount",
        "purchase_updated_at",
        "_run_id",
        "_merged_at",
    ]


def test_d9_a_failure_is_told_and_the_next_run_resumes(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    said, watermark = laptop.timestamp(), laptop.status()["tables"]["purchase"]["watermark"]
    connection.execute("update customer set name = 'merged', updated_at = now() where customer_id < 3")
    connection.execute("update purchase set amount = 1, updated_at = now() where purchase_id < 3")
    connection.execute("alter table purchase alter amount type text using amount || ' EUR'")
    report = laptop.failing_run()
    assert report["tables"]["purchase"]["outcome"] == "failed"
    assert "amount" in report["tables"]["purchase"]["error"]["message"]
    assert report["tables"]["purchase"]["error"]["hint"]
    assert report["tables"]["customer"]["outcome"] == "merged"
    assert laptop.timestamp() == said
    assert laptop.status()["tables"]["purchase"]["watermark"] == watermark
    oracle.follow(full=False, tables=["customer"])
    oracle.check(laptop)
    connection.execute(
        "alter table purchase alter amount type numeric(12, 2) using replace(amount, ' EUR', '')::numeric"
    )
    laptop.run()
    oracle.check(laptop, against_source=True)
    assert laptop.timestamp() != said


@pytest.mark.runtime
def test_d10_columns_that_change_reach_mirror_and_mart_or_stop_one_table_alone(
    laptop: Laptop, connection: Connection, old: OldScript
) -> None:
    connection.execute("alter table customer rename name to full_name; alter table customer add memo text")
    connection.execute("alter table purchase alter amount type numeric(14, 2)")
    connection.execute("update customer set memo = 'new', updated_at = now() where customer_id = 3")
    connection.execute(
        "update purchase set amount = 123456789012.34, updated_at = now() where purchase_id < 3"
    )
    with pytest.raises(KeyError, match="name"):
        old.run()
    laptop.run()
    columns = "customer_id, full_name, memo, c.updated_at as customer_updated_at, purchase_id, amount"
    joined = f"select {columns} from customer c join purchase p using (customer_id)"
    check(laptop, connection, "customer", "select * from customer", "customer_id")
    check(laptop, connection, "customer_purchases", joined, "purchase_id")
    connection.execute("alter table customer alter memo type date using null")
    connection.execute("update purchase set amount = 5, updated_at = now() where purchase_id = 9")
    report = laptop.failing_run()
    assert "'memo' changed from string to date" in report["tables"]["customer"]["error"]["message"]
    assert report["tables"]["purchase"]["outcome"] == "merged"
    check(laptop, connection, "purchase", "select * from purchase", "purchase_id")


def test_d11_a_missing_table_ends_nothing_and_its_return_resumes(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    connection.execute("alter table purchase rename to hidden")
    connection.execute("update customer set name = 'goes on', updated_at = now() where customer_id < 4")
    said = laptop.timestamp()
    for _ in range(2):
        report = laptop.failing_run()
        assert report["tables"]["purchase"]["error"]["type"] == "SourceTableMissingError"
        assert report["tables"]["customer"]["outcome"] in {"merged", "unchanged"}
        assert laptop.timestamp() == said
    oracle.follow(full=False, tables=["customer"])
    connection.execute("alter table hidden rename to purchase")
    connection.execute("insert into purchase (customer_id, amount, updated_at) values (2, 9, now())")
    laptop.run()
    oracle.check(laptop, against_source=True)
    assert laptop.timestamp() != said
