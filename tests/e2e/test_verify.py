"""`verify` on the real stack: it finds what was broken on purpose, sets newer rows apart, writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.shops.shop_rules import rename

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Ended, Laptop

    Connection = psycopg.Connection[Any]


def verified(laptop: Laptop, *arguments: str) -> tuple[Ended, dict[str, Any]]:
    """Return what `verify` said; it may have changed nothing."""
    before = laptop.files(), laptop.snapshot_ids(), laptop.timestamp()
    ended = laptop.command("verify", *arguments)
    assert (laptop.files(), laptop.snapshot_ids(), laptop.timestamp()) == before
    return ended, {**ended.report["tables"], **ended.report["marts"]}


def test_equal_tables_are_equal(laptop: Laptop, oracle: Oracle) -> None:
    ended, found = verified(laptop)
    assert ended.exit_code == 0, ended.stdout
    assert {name: (v["result"], v["expected"], v["held"]) for name, v in found.items()} == {
        name: ("equal", len(laptop.rows(name)), len(laptop.rows(name))) for name in found
    }
    assert set(found) == {"customer", "purchase", "customer_purchases"}
    oracle.check(laptop, against_source=True)


@pytest.mark.runtime
def test_a_mirror_that_another_tool_changed_is_different(laptop: Laptop, oracle: Oracle) -> None:
    del oracle
    mirror = "datamart.datamart.customer"
    laptop.spark_sql(f"update {mirror} set name = 'forged' where customer_id in (4, 5)")
    laptop.spark_sql(f"delete from {mirror} where customer_id = 6")
    laptop.spark_sql(
        f"insert into {mirror} select 999, name, updated_at, _run_id, _merged_at from {mirror} "
        "where customer_id = 1"
    )
    ended, found = verified(laptop)
    assert ended.exit_code == 1
    customer = found["customer"]
    assert [customer[kind] for kind in ("missing", "stale", "extra", "newer")] == [1, 2, 1, 0]
    first = {row["key"]["customer_id"]: (row["kind"], row["columns"]) for row in customer["first"]}
    assert first == {
        "4": ("stale", ["name"]),
        "5": ("stale", ["name"]),
        "6": ("missing", []),
        "999": ("extra", []),
    }
    assert found["purchase"]["result"] == "equal"
    assert found["customer_purchases"]["result"] == "equal", "it is the join of what it consumed"
    laptop.command("reconcile")
    assert verified(laptop)[0].exit_code == 0


def test_a_key_that_another_tool_wrote_twice_is_too_many(laptop: Laptop, oracle: Oracle) -> None:
    del oracle
    for name in ("customer", "customer_purchases"):
        table = f"datamart.datamart.{name}"
        laptop.spark_sql(f"insert into {table} select * from {table} where customer_id = 4")
    ended, found = verified(laptop)
    assert ended.exit_code == 1
    assert [found["customer"][kind] for kind in ("missing", "stale", "extra")] == [0, 0, 1]
    assert found["customer"]["first"] == [{"kind": "extra", "key": {"customer_id": "4"}, "columns": []}]
    assert found["customer_purchases"]["extra"] > 0


def test_a_mart_that_another_tool_changed_is_different(laptop: Laptop, oracle: Oracle) -> None:
    del oracle
    mart = "datamart.datamart.customer_purchases"
    laptop.spark_sql(f"update {mart} set amount = amount + 1 where purchase_id = 7")
    laptop.spark_sql(f"delete from {mart} where purchase_id = 8")
    _, found = verified(laptop)
    assert found["customer"]["result"] == found["purchase"]["result"] == "equal"
    assert [found["customer_purchases"][kind] for kind in ("missing", "stale", "extra")] == [1, 1, 0]
    assert found["customer_purchases"]["first"][-1]["columns"] in ([], ["amount"])


def test_rows_newer_than_the_watermark_are_set_apart(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    rename(connection, "not merged yet", "customer_id in (7, 8)")
    connection.execute(
        "insert into purchase (customer_id, amount, updated_at) values (1, 1, clock_timestamp())"
    )
    connection.execute("update customer set name = 'without cursor', updated_at = null where customer_id = 9")
    ended, found = verified(laptop)
    assert ended.exit_code == 0
    assert (found["customer"]["newer"], found["purchase"]["newer"]) == (3, 1)
    laptop.run()
    assert verified(laptop)[1]["customer"]["newer"] == 0
    oracle.check(laptop, against_source=True)


def test_what_the_cursor_does_not_show_is_a_difference(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    del oracle
    connection.execute("update customer set name = 'silent' where customer_id = 3")
    connection.execute("delete from purchase where purchase_id = 5")
    ended, found = verified(laptop)
    assert ended.exit_code == 1
    assert (found["customer"]["stale"], found["purchase"]["extra"]) == (1, 1)


def test_verify_holds_while_the_source_is_written_to(
    laptop: Laptop, connection: Connection, other: Connection, oracle: Oracle
) -> None:
    del oracle
    with other.transaction():
        other.execute("update customer set name = 'open', updated_at = now() where customer_id <= 3")
        laptop.run()
        assert verified(laptop)[0].exit_code == 0
    ended, found = verified(laptop)
    assert (ended.exit_code, found["customer"]["newer"]) == (0, 3), "a late commit is the next run's business"
    rename(connection, "and now")
    assert verified(laptop)[0].exit_code == 0


def test_a_table_that_cannot_be_compared_fails_alone(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    del oracle
    connection.execute("alter table customer add column nickname text")
    ended, found = verified(laptop)
    assert ended.exit_code == 1
    assert "nickname" in found["customer"]["error"]["message"]
    assert found["purchase"]["result"] == "equal"


def test_one_table_is_verified_alone(laptop: Laptop, oracle: Oracle) -> None:
    del oracle
    ended, found = verified(laptop, "--table", "purchase")
    assert ended.exit_code == 0
    assert set(found) == {"purchase", "customer_purchases"}


def test_a_mirror_that_does_not_exist_lacks_every_row(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    del oracle
    connection.execute("create table extra (id int primary key); insert into extra values (1), (2)")
    laptop.settings["tables"]["extra"] = {"source": "prd", "from": "public.extra"}
    laptop.save()
    ended = laptop.command("verify")
    assert ended.exit_code == 1
    assert ended.report["tables"]["extra"]["missing"] == 2
