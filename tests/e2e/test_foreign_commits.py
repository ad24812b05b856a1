"""Rules R4, R8 and R11 on the real stack: what other tools commit, and what a run makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.faults.other_tool import MAINTENANCE, MART, maintain, maintain_away, roll_back
from support.oracles.oracle import SHADOW
from support.shops.shop import open_shop
from support.shops.shop_rules import UNCHANGED, changed_mirrors, outcomes, rename

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]


def change(connection: Connection, number: int) -> None:
    """Change both tables: an update, a move and an insert that the cursor tells of."""
    rename(connection, f"name {number}", f"customer_id in ({number}, 10)")
    moved = "update purchase set customer_id = %s, updated_at = clock_timestamp() where purchase_id = %s"
    connection.execute(moved, [number, number + 20])
    connection.execute("insert into purchase (customer_id, amount, updated_at) values (1, 7, now())")


@pytest.mark.engines("matrix")
def test_r4_whatever_is_rolled_back_and_how_far_the_next_run_makes_good(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    for number in range(1, 4):
        change(connection, number)
        laptop.run()
    cases = (
        (("customer", 1), (MART, 2)),
        (("purchase", 3),),
        (("customer", -1), ("purchase", 1), (MART, -1)),
        (("purchase", -1), (MART, 1)),
    )
    for number, case in enumerate(cases, 4):
        for table, back in case:
            found = laptop.history(table)[back]
            roll_back(laptop, table, found["snapshot_id"])
            if table != MART:
                assert laptop.status()["tables"][table]["watermark"] == found["watermark"]
                assert laptop.plan()[table]["window"]["lower"] <= found["watermark"]
        if number % 2:
            change(connection, number)
        laptop.run()
        oracle.check(laptop, against_source=True)
    assert outcomes(laptop.run()) == UNCHANGED


def test_r4_a_mirror_rolled_back_to_before_the_first_merge_is_loaded_fully(
    laptop: Laptop, connection: Connection
) -> None:
    oracle = open_shop(laptop, connection)
    connection.execute("create table kept as select * from customer; delete from customer")
    laptop.run()
    connection.execute("insert into customer overriding system value select * from kept")
    laptop.spark_sql(
        "insert into datamart.datamart.customer values "
        "(1, 'by another tool', timestamp '2025-01-01', 'x', timestamp '2025-01-01')"
    )
    first = laptop.history("customer")[0]["snapshot_id"]
    laptop.run()
    oracle.check(laptop, against_source=True)
    roll_back(laptop, "customer", first)
    assert laptop.plan()["customer"]["load_type"] == "full"
    laptop.run()
    oracle.check(laptop, against_source=True)


def test_r11_all_foreign_maintenance_until_no_summary_is_left_loses_neither_rows_nor_state(
    laptop: Laptop, connection: Connection, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(connection, 1)
    laptop.run()
    change(connection, 2)
    maintain(laptop, MAINTENANCE[:3])
    laptop.run()
    oracle.check(laptop, against_source=True)
    watermark = laptop.status()["tables"]["customer"]["watermark"]
    maintain_away(laptop)
    assert laptop.status()["tables"]["customer"]["watermark"] == watermark is not None
    assert outcomes(laptop.run()) == UNCHANGED
    changed = changed_mirrors(monkeypatch)
    change(connection, 3)
    laptop.run()
    assert changed == [["customer", "purchase"]], "the mart is not compared whole"
    oracle.check(laptop, against_source=True)


def test_r11_where_it_cannot_be_told_whose_state_is_known_all_rows_are_compared(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    change(connection, 3)
    maintain(laptop, MAINTENANCE[:1])
    maintain_away(laptop)
    connection.execute("delete from purchase where purchase_id = 5")
    assert laptop.plan()["customer"]["load_type"] == "reconcile"
    laptop.run()
    oracle.follow(full=True)
    oracle.check(laptop, against_source=True)
    assert laptop.status()["tables"]["customer"]["watermark"] is not None
    maintain(laptop, MAINTENANCE[:1])
    maintain_away(laptop)
    laptop.timestamp_file.unlink()
    change(connection, 4)
    assert {step["load_type"] for step in laptop.plan().values()} == {"full"}
    laptop.run()
    oracle.check(laptop, against_source=True)


FOREIGN = (
    "insert into {customer} values (99, 'of another tool', timestamp '2025-01-01 00:00:00'{lineage})",
    "delete from {customer} where customer_id = 3",
    "update {purchase} set amount = 1000, customer_id = 99 where purchase_id = 7",
)


def test_r11_a_mirror_rolled_back_and_expired_is_compared_whole(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    mirror = "datamart.datamart.customer"
    laptop.spark_sql(
        f"call datamart.system.rewrite_data_files(table => '{mirror}', options => map('rewrite-all', 'true'))"
    )
    compacted = laptop.history("customer")[0]["snapshot_id"]
    rename(connection, "merged, and rolled back by another tool")
    laptop.run()
    laptop.spark_sql(f"call datamart.system.rollback_to_snapshot('{mirror}', {compacted})")
    laptop.spark_sql(
        f"call datamart.system.expire_snapshots(table => '{mirror}', "
        "older_than => timestamp '2100-01-01 00:00:00', retain_last => 1)"
    )
    assert laptop.status()["tables"]["customer"]["watermark"] is None
    assert laptop.plan()["customer"]["load_type"] == "reconcile"
    laptop.run()
    oracle.check(laptop, against_source=True)


def test_r8_the_mart_is_the_join_also_of_what_another_tool_changed_until_reconcile_undoes_it(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    lineage = ", 'x', timestamp '2025-01-01 00:00:00'"
    for text in FOREIGN:
        mirrors = {name: f"datamart.datamart.{name}" for name in ("customer", "purchase")}
        laptop.spark_sql(text.format(**mirrors, lineage=lineage))
        shadows = {name: f'"{SHADOW}".{name}' for name in mirrors}
        connection.execute(text.format(**shadows, lineage="").replace("timestamp '", "timestamptz '"))
        rename(connection, "goes on", "customer_id = 5")
        warned = laptop.run()["warnings"]
        connection.execute(
            f'delete from "{SHADOW}".customer where customer_id = 5; '
            f'insert into "{SHADOW}".customer select * from customer where customer_id = 5'
        )
        oracle.check(laptop)
        assert "`reconcile --table customer`" in warned[0]
        told = laptop.status()["tables"]["customer"]
        assert told["foreign"], "and the newest snapshot is the run's own"
        assert not told["is_foreign"]
    assert len(warned) == 2
    assert laptop.command("reconcile").exit_code == 0
    oracle.check(laptop, against_source=True)
    assert laptop.run()["warnings"] == []


@pytest.mark.runtime
def test_r8_what_another_tool_changes_in_a_mart_is_undone_by_the_next_run_even_a_quiet_one(
    laptop: Laptop, oracle: Oracle
) -> None:
    mart = f"datamart.datamart.{MART}"
    columns = "name, customer_updated_at, 77, amount, purchase_updated_at, _run_id, _merged_at"
    for text in (
        f"delete from {mart} where purchase_id < 9",
        f"update {mart} set amount = 0, name = 'x' where purchase_id = 11",
        f"insert into {mart} select 77, {columns} from {mart} where purchase_id = 12",
    ):
        laptop.spark_sql(text)
        report = laptop.run()
        assert {part["outcome"] for part in report["tables"].values()} == {"unchanged"}
        assert report["marts"][MART]["outcome"] == "merged"
        oracle.check(laptop, against_source=True)
        assert outcomes(laptop.run()) == UNCHANGED


def test_r8_columns_that_another_tool_altered_have_their_values_again_after_the_next_run(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    customer, mart = "datamart.datamart.customer", f"datamart.datamart.{MART}"
    for texts in (
        (f"alter table {mart} drop column name", f"alter table {mart} rename column amount to sum"),
        (f"alter table {customer} drop column name", f"alter table {customer} add column name string"),
    ):
        for text in texts:
            laptop.spark_sql(text)
        change(connection, 2)
        laptop.run()
        oracle.check(laptop, against_source=True)
        assert outcomes(laptop.run()) == UNCHANGED
