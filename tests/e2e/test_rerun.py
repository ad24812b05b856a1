"""`rerun`: a mart's snapshot is computed again from what it consumed, row for row, whatever came after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.faults.other_tool import MART, roll_back
from support.oracles.oracle import assert_same, rows_of
from support.shops.reruns import KEY, equal, newest, rerun, rows_at
from support.shops.shop import JOIN, open_shop
from support.shops.shop_rules import rename

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]
    Row = dict[str, Any]


def lived(laptop: Laptop, connection: Connection) -> dict[int, list[Row]]:
    """Return PostgreSQL's joins by the mart's snapshots; mirrors and definition change all the time."""
    held: dict[int, list[Row]] = {}

    def run(join: str) -> None:
        laptop.run()
        held[newest(laptop, MART)] = rows_of(connection, join, "public")

    def define(**settings: Any) -> None:
        plain = {name: laptop.settings["marts"][MART][name] for name in ("from", "joins")}
        laptop.settings["marts"][MART] = {**plain, **settings}
        laptop.save()

    connection.execute("create table later as select * from purchase; delete from purchase")
    laptop.run()
    connection.execute("insert into purchase overriding system value select * from later")
    run(JOIN)
    before = newest(laptop, "customer")
    rename(connection, "renamed")
    run(JOIN)
    connection.execute("alter table customer add country text")
    connection.execute("update customer set country = 'CH', updated_at = clock_timestamp()")
    wider = JOIN.replace("c.name,", "c.name, c.country,")
    run(wider)
    define(expressions={"cents": "amount * 100"}, filter="customer_id > 3")
    narrowed = f"select j.*, amount * 100 as cents from ({wider}) as j where customer_id > 3"
    run(narrowed)
    roll_back(laptop, "customer", before)
    run(narrowed)
    define()
    run(wider)
    return held


@pytest.mark.engines("matrix")
def test_every_snapshot_of_a_mart_is_its_join_whatever_came_after(
    laptop: Laptop, connection: Connection
) -> None:
    open_shop(laptop, connection)
    held = lived(laptop, connection)
    assert len(held) == 6
    kept = {each["snapshot_id"]: each["rows"] for each in laptop.history(MART)}
    assert set(held) < set(kept)
    for number, rows in kept.items():
        assert equal(laptop, number) == rows
    for number, rows in held.items():
        assert_same(f"{MART} at {number}", rows_at(laptop, MART, number), rows, KEY)
    narrowed = min(held, key=lambda each: len(held[each]))
    assert rerun(laptop, narrowed, "--into", "as_it_was").exit_code == 0
    assert_same("as_it_was", laptop.rows("as_it_was"), held[narrowed], KEY)


@pytest.mark.runtime
@pytest.mark.matrix_on("glue-4.0")
def test_into_writes_the_join_of_a_snapshot_into_a_table_of_its_own(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    first = newest(laptop, MART)
    expected = rows_of(connection, JOIN, "public")
    rename(connection, "renamed")
    laptop.run()
    ended = rerun(laptop, first, "--into", "as_it_was")
    assert ended.exit_code == 0, ended.stderr
    into = ended.report["into"]
    assert (into["table"], into["rows"]) == ("as_it_was", len(expected))
    assert_same("as_it_was", laptop.rows("as_it_was"), expected, KEY)
    assert into["snapshot_id"] == laptop.table("as_it_was").metadata.current_snapshot_id
    oracle.check(laptop, against_source=True)
    before = laptop.files()
    mirrors = str(newest(laptop, "customer"))
    for number, target, words in (
        (str(first), "as_it_was", "is there already"),
        (str(first), "Customer", "is a mirror or mart of the settings"),
        (str(first), "no/name", "must begin with a letter"),
        (mirrors, "elsewhere", "is one of the mirror 'customer'"),
        ("7", "elsewhere", "no mirror or mart has a snapshot 7"),
    ):
        ended = laptop.command("rerun", "--snapshot-id", number, "--into", target)
        assert (ended.exit_code, words in ended.stderr) == (2, True), ended.stderr
    assert laptop.files() == before


def test_a_snapshot_that_another_tool_falsified_is_told_with_its_first_rows(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    laptop.spark_sql(f"update datamart.datamart.{MART} set amount = 0 where purchase_id = 7")
    rename(connection, "renamed")
    falsified = newest(laptop, MART)
    laptop.run()
    ended = rerun(laptop, falsified)
    assert ended.exit_code == 1
    found = ended.report["marts"][MART]
    assert (found["result"], found["stale"]) == ("different", 1)
    assert found["first"][0]["key"]["purchase_id"] == "7"
    assert found["first"][0]["columns"] == ["amount"]
    equal(laptop, newest(laptop, MART))
    oracle.check(laptop, against_source=True)


def test_inputs_that_expired_are_named_with_the_setting_that_would_have_kept_them(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    mart, mirror = newest(laptop, MART), newest(laptop, "customer")
    rename(connection, "renamed")
    laptop.run()
    laptop.spark_sql(
        "call datamart.system.expire_snapshots(table => 'datamart.datamart.customer', "
        "older_than => timestamp '2100-01-01 00:00:00', retain_last => 1)"
    )
    ended = rerun(laptop, mart, "--into", "as_it_was")
    assert ended.exit_code == 1
    error = ended.report["marts"][MART]["error"]
    assert f"consumed snapshots that are gone: customer {mirror}" in error["message"]
    assert "history.expire.max-snapshot-age-ms in tables.customer.properties." in error["hint"]
    assert ended.report["into"] is None
    equal(laptop, newest(laptop, MART))
    kept = {"history.expire.max-snapshot-age-ms": "2592000000"}
    laptop.settings["tables"]["customer"]["properties"] = kept
    laptop.save()
    rename(connection, "again")
    laptop.run()
    assert kept.items() <= laptop.table("customer").properties.items()
    oracle.check(laptop, against_source=True)


def test_a_mirror_is_read_again_from_the_state_of_a_snapshot(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    first = laptop.history("customer")[0]
    connection.execute("update customer set name = 'then', updated_at = '2025-04-01' where customer_id = 3")
    rename(connection, "renamed", "customer_id = 5")
    laptop.run()
    connection.execute("update customer set name = 'unseen' where customer_id = 3")
    assert laptop.run()["tables"]["customer"]["outcome"] == "unchanged"
    report = rerun(laptop, first["snapshot_id"]).report
    assert list(report["tables"]) == ["customer"]
    assert report["tables"]["customer"]["updated"] == 1
    oracle.check(laptop, against_source=True)
