"""Rules R11 to R13 on the real stack: other writers, other sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pyiceberg.types import StringType

from iceberg_datamart.lake.publishing import Publishing
from support.faults.other_tool import roll_back
from support.shops.shop import open_shop
from support.shops.shop_rules import UNCHANGED, outcomes, prepared, rename

if TYPE_CHECKING:
    import psycopg

    from iceberg_datamart.core.changes import Change
    from iceberg_datamart.lake.engine import Staged
    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Databases, Laptop

    Connection = psycopg.Connection[Any]


@pytest.mark.runtime
def test_r11_foreign_compaction_loses_no_state(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    rename(connection, "renamed")
    laptop.run()
    watermark = laptop.status()["tables"]["customer"]["watermark"]
    for table in ("customer", "customer_purchases"):
        laptop.spark_sql(
            f"call datamart.system.rewrite_data_files(table => 'datamart.datamart.{table}', "
            "options => map('rewrite-all', 'true'))"
        )
    assert laptop.table("customer").current_snapshot().summary.operation.value == "replace"
    assert laptop.status()["tables"]["customer"]["watermark"] == watermark
    second = f"{watermark[:19]}.000000Z"
    assert laptop.plan()["customer"]["window"]["lower"] == second, "the timestamp file is the older witness"
    assert outcomes(laptop.run()) == UNCHANGED
    oracle.check(laptop, against_source=True)
    rename(connection, "after compaction", "customer_id = 5")
    laptop.run()
    oracle.check(laptop, against_source=True)


def test_r11_where_history_is_gone_all_rows_are_compared(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    laptop.spark_sql("delete from datamart.datamart.customer where customer_id = -1")
    laptop.spark_sql(
        "call datamart.system.rewrite_data_files(table => 'datamart.datamart.customer', "
        "options => map('rewrite-all', 'true'))"
    )
    laptop.spark_sql(
        "call datamart.system.expire_snapshots(table => 'datamart.datamart.customer', "
        "older_than => timestamp '2100-01-01 00:00:00', retain_last => 1)"
    )
    assert laptop.status()["tables"]["customer"]["watermark"] is None
    rename(connection, "without history")
    laptop.run()
    oracle.check(laptop, against_source=True)
    assert laptop.status()["tables"]["customer"]["watermark"] is not None


# R12


@pytest.mark.runtime
def test_r12_of_two_overlapping_runs_neither_doubles_a_row(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    rename(connection, "both see this")
    connection.execute("insert into public.purchase (customer_id, amount, updated_at) values (1, 1, now())")
    with prepared(laptop) as first, prepared(laptop) as second:
        assert first().exit_code == 0
        assert second().exit_code in {0, 75}
    oracle.check(laptop, against_source=True)
    assert outcomes(laptop.run()) == UNCHANGED
    oracle.check(laptop, against_source=True)


@pytest.mark.runtime
def test_r12_two_first_loads_fill_the_tables_once(laptop: Laptop, connection: Connection) -> None:
    found = open_shop(laptop, connection)
    with prepared(laptop) as first, prepared(laptop) as second:
        assert first().exit_code == 0
        assert second().exit_code in {0, 75}
    found.check(laptop, against_source=True)


def test_r12_an_older_reading_does_not_undo_a_newer_one(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    rename(connection, "old")
    connection.execute(
        "update public.purchase set amount = 1, updated_at = clock_timestamp() where purchase_id < 5"
    )
    with prepared(laptop) as older:
        rename(connection, "new")
        connection.execute("delete from public.purchase where purchase_id < 3")
        laptop.run("--load-type", "full")
        oracle.check(laptop, against_source=True)
        assert older().exit_code in {0, 75}
    oracle.check(laptop, against_source=True)


def test_r12_a_full_load_is_not_undone_by_an_older_reading(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    connection.execute("insert into public.purchase (customer_id, amount, updated_at) values (1, 1, now())")
    with prepared(laptop) as older:
        connection.execute("delete from public.purchase where purchase_id > 60")
        laptop.run("--load-type", "full")
        assert older().exit_code in {0, 75}
    oracle.check(laptop, against_source=True)


@pytest.mark.runtime
def test_r12_a_commit_between_staging_and_publishing_is_noticed(
    laptop: Laptop, connection: Connection, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, rivals = Publishing._published, []

    def overtaken(publishing: Publishing, staged: Staged, base: int | None) -> Staged:
        if not rivals and staged.table == "customer":
            rivals.append(staged.table)
            rename(connection, "by the rival", "customer_id in (2, 12)")
            rivals.append(laptop.run())
        return publish(publishing, staged, base)

    rename(connection, "by the first")
    connection.execute("insert into public.purchase (customer_id, amount, updated_at) values (3, 1, now())")
    monkeypatch.setattr(Publishing, "_published", overtaken)
    ended = laptop.command("run")
    assert len(rivals) == 2
    assert ended.exit_code in {0, 75}
    oracle.check(laptop, against_source=True)
    laptop.run()
    oracle.check(laptop, against_source=True)


@pytest.mark.usefixtures("oracle")
def test_r12_columns_that_another_tool_exchanges_before_a_commit_are_noticed_by_it(
    laptop: Laptop, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, rivals = Publishing.commit, []

    def overtaken(publishing: Publishing, change: Change, *others: Any) -> Staged:
        if not rivals and change.table == "customer":
            rivals.append(change.table)
            table = laptop.table("customer")
            with table.update_schema() as update:
                update.rename_column("name", "once")
            with table.update_schema() as update:
                update.add_column("name", StringType())
            with table.update_schema() as update:
                update.delete_column("once")
        return commit(publishing, change, *others)

    rename(connection, "by the run", "customer_id = 12")
    monkeypatch.setattr(Publishing, "commit", overtaken)
    laptop.run()
    assert rivals == ["customer"]
    named = dict(connection.execute("select customer_id, name from public.customer").fetchall())
    assert {row["customer_id"]: row["name"] for row in laptop.rows("customer")} == named


def test_r12_a_rollback_between_staging_and_publishing_is_not_undone(
    laptop: Laptop, connection: Connection, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename(connection, "merged, then rolled back")
    laptop.run()
    first = laptop.history("customer")[-1]["snapshot_id"]
    publish, rivals = Publishing._published, []

    def overtaken(publishing: Publishing, staged: Staged, base: int | None) -> Staged:
        if not rivals and staged.table == "customer":
            rivals.append(staged.table)
            roll_back(laptop, "customer", first)
        return publish(publishing, staged, base)

    rename(connection, "by the run", "customer_id = 12")
    monkeypatch.setattr(Publishing, "_published", overtaken)
    laptop.run()
    assert len(rivals) == 1
    assert [each["parent_id"] for each in laptop.history("customer")] == [first, None]
    oracle.check(laptop, against_source=True)


# R13


def test_r13_another_database_is_refused_unless_accepted(
    laptop: Laptop, databases: Databases, oracle: Oracle
) -> None:
    before = laptop.files(), laptop.snapshot_ids(), laptop.timestamp()
    name = databases.new()
    with databases.connected(name) as elsewhere:
        moved = open_shop(laptop, elsewhere)
        elsewhere.execute(
            "delete from purchase where purchase_id > 40; update customer set name = 'elsewhere'"
        )
        laptop.settings["sources"]["prd"]["url"] = databases.server.url(name)
        laptop.save()
        error = laptop.failing_run()["tables"]["customer"]["error"]
        assert error["type"] == "SourceIdentityError"
        assert f"/{oracle.connection.info.dbname}/" in error["message"]
        assert f"/{name}/" in error["message"]
        assert "--accept-new-source" in error["hint"]
        assert (laptop.files(), laptop.snapshot_ids(), laptop.timestamp()) == before
        report = laptop.run("--accept-new-source")
        assert report["tables"]["purchase"]["deleted"] == 20
        moved.check(laptop, against_source=True)
        rename(elsewhere, "goes on")
        laptop.run()
        moved.check(laptop, against_source=True)


def test_r13_a_table_recreated_is_another_source(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    connection.execute("create table again (like purchase including all)")
    connection.execute("drop table purchase; alter table again rename to purchase")
    error = laptop.failing_run()["tables"]["purchase"]["error"]
    assert error["type"] == "SourceIdentityError"
    oracle.check(laptop)
