"""Rules R7 to R9 on the real stack: late commits, exact marts, failures that stay apart."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from support.oracles.oracle import Oracle, assert_same, rows_of
from support.shops.shop_rules import rename

if TYPE_CHECKING:
    import psycopg

    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]


def test_r7_the_watermark_stays_below_an_open_transaction(
    laptop: Laptop, connection: Connection, other: Connection, oracle: Oracle
) -> None:
    with other.transaction():
        (start,) = other.execute("select now()").fetchone() or (None,)
        other.execute("insert into public.customer (name, updated_at) values ('late', now())")
        other.execute("insert into public.purchase (customer_id, amount, updated_at) values (21, 1, now())")
        rename(connection, "before the late one")
        laptop.run()
        oracle.check(laptop, against_source=True)
        watermark = datetime.fromisoformat(laptop.status()["tables"]["customer"]["watermark"].rstrip("Z"))
        assert start is not None
        assert watermark.replace(tzinfo=timezone.utc) <= start
    laptop.run()
    oracle.check(laptop, against_source=True)


def test_r7_a_prepared_transaction_that_commits_late_is_read(
    laptop: Laptop, connection: Connection, other: Connection, oracle: Oracle
) -> None:
    other.execute("begin; insert into public.customer (name, updated_at) values ('in two phases', now())")
    other.execute("select pg_sleep(1.5)")
    other.execute("prepare transaction 'late'")
    rename(connection, "before the late one")
    laptop.run()
    other.execute("commit prepared 'late'")
    laptop.run()
    oracle.check(laptop, against_source=True)


def test_r7_an_integer_cursor_reads_numbers_that_commit_late(
    laptop: Laptop, connection: Connection, other: Connection
) -> None:
    connection.execute("create table item (item_id int primary key, name text, version bigserial)")
    connection.execute("insert into item select i, 'old' from generate_series(1, 9) as i")
    laptop.configure({"item": {"from": "public.item", "cursor": "version"}}, {})
    select = "select item_id, name, version from item"
    laptop.run()
    for number in range(2):
        with other.transaction():
            other.execute("insert into item values (%s, 'late')", [100 + number])
            connection.execute("insert into item values (%s, 'in time')", [200 + number])
            laptop.run()
            connection.execute("select pg_sleep(1.2)")
        laptop.run()
        expected = rows_of(connection, select, "public")
        assert_same("mirror item", laptop.rows("item"), expected, ["item_id"])
    before = laptop.files()
    laptop.run()
    assert laptop.files() == before


# R8


@pytest.mark.runtime
def test_r8_the_mart_names_the_snapshots_that_it_is_the_join_of(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    move = "update purchase set customer_id = {}, updated_at = clock_timestamp() where purchase_id {}; "
    orphan = "insert into purchase (customer_id, amount, updated_at) values (21, 1, clock_timestamp())"
    deletes = "delete from customer where customer_id = 2; delete from purchase where purchase_id > 55"
    deeds = (
        move.format("1 + customer_id % 5", "< 9") + move.format("null", "= 9") + orphan,
        "insert into customer (name, updated_at) values ('the parent came last', clock_timestamp())",
        deletes,
    )
    for deed in deeds:
        connection.execute(deed)
        laptop.run("--load-type", "full" if deed.startswith("delete") else "incremental")
        oracle.check(laptop, against_source=True)
        status = laptop.status()
        mart = status["marts"]["customer_purchases"]
        assert mart["consumed"] == {name: table["snapshot_id"] for name, table in status["tables"].items()}
        assert mart["behind"] == []


# R9


def test_r9_a_failing_table_changes_no_state_but_the_others(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    rename(connection, "goes on")
    connection.execute("insert into public.purchase (customer_id, amount, updated_at) values (1, 5, now())")
    connection.execute("alter table public.purchase alter amount type text using amount || ' EUR'")
    before = laptop.timestamp(), laptop.history("purchase")
    report = laptop.failing_run()
    assert {name: part["outcome"] for name, part in report["tables"].items()} == {
        "customer": "merged",
        "purchase": "failed",
    }
    assert (laptop.timestamp(), laptop.history("purchase")) == before
    mart = laptop.table("customer_purchases").current_snapshot().summary.additional_properties
    assert mart["iceberg-datamart.uneven"] == "purchase"
    oracle.follow(full=False, tables=["customer"])
    oracle.check(laptop)
    corrected = "numeric(12, 2) using replace(amount, ' EUR', '')::numeric"
    connection.execute(f"alter table public.purchase alter amount type {corrected}")
    laptop.run()
    oracle.check(laptop, against_source=True)
    assert laptop.status()["marts"]["customer_purchases"]["failed_inputs"] == []


# R10
