"""R1 to R13 of the state, each on a real source and a real lake; a test's name begins with its rule."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.config_file import load_config
from iceberg_datamart.lake.staging import Staging
from iceberg_datamart.planner import Wishes
from iceberg_datamart.world import new_run
from oracle import Mirrored, Oracle, assert_same, rows_of
from shop import open_shop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from iceberg_datamart.report import RunReport
    from laptop import Databases, Laptop

    Connection = psycopg.Connection[Any]

UNCHANGED = {"unchanged"}


@pytest.fixture
def connection(databases: Databases, database: str) -> Iterator[Connection]:
    with databases.connected(database) as opened:
        yield opened


@pytest.fixture
def other(databases: Databases, database: str) -> Iterator[Connection]:
    """Yield a second session, for transactions that stay open."""
    with databases.connected(database) as opened:
        yield opened


@pytest.fixture
def oracle(laptop: Laptop, connection: Connection) -> Oracle:
    """Return the oracle of a shop whose first, full run is done."""
    found = open_shop(laptop, connection)
    laptop.run()
    found.follow(full=True)
    return found


def rename(connection: Connection, name: str, ids: str = "customer_id <= 3") -> None:
    connection.execute(
        f"update public.customer set name = '{name}', updated_at = clock_timestamp() where {ids}"
    )


def outcomes(report: dict[str, Any]) -> set[str]:
    return {part["outcome"] for part in (*report["tables"].values(), *report["marts"].values())}


@contextmanager
def prepared(laptop: Laptop, wishes: Wishes | None = None) -> Iterator[Callable[[], RunReport]]:
    """Yield what executes a run that has read its facts, and taken its consistent point, already."""
    run = new_run(load_config(laptop.file, os.environ), wishes or Wishes())
    try:
        plan = run.prepare()
        yield lambda: run.execute(plan)
    finally:
        run.close()


# R1


def test_r1_rows_and_watermark_are_in_one_snapshot(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    before = laptop.snapshot_ids()["customer"]
    rename(connection, "renamed")
    report = laptop.run()
    oracle.check(laptop, against_source=True)
    after = laptop.snapshot_ids()["customer"]
    assert len(after) == len(before) + 1
    snapshot = laptop.table("customer").current_snapshot()
    said = snapshot.summary.additional_properties
    assert snapshot.snapshot_id == report["tables"]["customer"]["snapshot_id"]
    assert said["added-records"] == "3"
    assert said["iceberg-datamart.run-id"] == report["run_id"]
    assert said["iceberg-datamart.watermark"] == report["tables"]["customer"]["watermark"]
    assert {
        "iceberg-datamart.complete-through",
        "iceberg-datamart.load-type",
        "iceberg-datamart.source",
    } <= set(said)


# R3


def test_r3_a_rerun_commits_nothing_and_writes_no_file(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    connection.execute("insert into public.customer (name) values ('no cursor')")
    rename(connection, "renamed")
    laptop.run()
    oracle.follow(full=False)
    before = laptop.files(), laptop.snapshot_ids()
    for arguments in ((), ("--load-type", "full"), ("--table", "purchase")):
        assert outcomes(laptop.run(*arguments)) == UNCHANGED
        assert (laptop.files(), laptop.snapshot_ids()) == before
    oracle.check(laptop, against_source=True)


# R4


def test_r4_a_rewound_file_is_obeyed_and_harmless(laptop: Laptop, oracle: Oracle) -> None:
    laptop.timestamp_file.write_text("last_load_timestamp\n2025-02-01 00:00:00\n")
    step = laptop.plan()["customer"]
    assert (step["load_type"], step["window"]["lower"]) == ("incremental", "2025-02-01T00:00:00.000000Z")
    before = laptop.files(), laptop.snapshot_ids()
    assert outcomes(laptop.run()) == UNCHANGED
    assert (laptop.files(), laptop.snapshot_ids()) == before
    assert b"2025-02-01" not in (laptop.timestamp() or b"")
    oracle.check(laptop, against_source=True)


def test_r4_a_rewound_file_finds_changes_that_no_cursor_told_of(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    connection.execute("update public.purchase set amount = 0 where purchase_id = 10")
    assert outcomes(laptop.run()) == UNCHANGED
    laptop.timestamp_file.write_text("last_load_timestamp\n2025-02-01 00:00:00\n")
    assert laptop.run()["tables"]["purchase"]["updated"] == 1
    oracle.check(laptop, against_source=True)


def test_r4_a_crash_before_the_file_is_written_is_harmless(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    old = laptop.timestamp() or b""
    rename(connection, "committed")
    laptop.run()
    laptop.timestamp_file.write_bytes(old)
    rename(connection, "after the crash", "customer_id = 9")
    assert laptop.run()["tables"]["customer"]["updated"] == 1
    oracle.check(laptop, against_source=True)


def test_r4_a_file_that_is_ahead_skips_nothing(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    laptop.timestamp_file.write_text("last_load_timestamp\n2031-01-01 00:00:00\n")
    rename(connection, "not skipped")
    laptop.run()
    oracle.check(laptop, against_source=True)


def test_r4_a_rollback_rewinds_the_mirror_and_the_mart_follows(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    first = laptop.status()["tables"]["customer"]
    rename(connection, "second")
    laptop.run()
    rename(connection, "third", "customer_id = 4")
    laptop.run()
    call = f"call datamart.system.rollback_to_snapshot('datamart.datamart.customer', {first['snapshot_id']})"
    laptop.spark_sql(call)
    assert laptop.status()["tables"]["customer"]["watermark"] == first["watermark"]
    assert laptop.plan()["customer"]["window"]["lower"] == first["watermark"]
    laptop.run()
    oracle.check(laptop, against_source=True)


# R5


def test_r5_without_the_file_everything_is_loaded(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    connection.execute("delete from public.purchase where purchase_id < 5")
    laptop.timestamp_file.unlink()
    assert laptop.plan()["purchase"]["load_type"] == "full"
    assert laptop.run()["tables"]["purchase"]["deleted"] == 4
    oracle.check(laptop, against_source=True)
    assert laptop.timestamp() is not None


def test_r5_without_the_file_snapshots_may_be_used(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    laptop.settings["state"]["on_missing"] = "use_snapshots"
    laptop.save()
    connection.execute("delete from public.purchase where purchase_id < 5")
    rename(connection, "seen")
    laptop.timestamp_file.unlink()
    report = laptop.run()
    assert (report["tables"]["customer"]["updated"], report["tables"]["purchase"]["deleted"]) == (3, 0)
    oracle.follow(full=False)
    oracle.check(laptop)
    assert laptop.timestamp() is not None


@pytest.mark.parametrize(
    "content",
    ["last_load_timestamp\n2026-13-01 00:00:00\n", "last_load_timestamp\nyesterday\n", "", "2026\n"],
)
def test_r5_a_malformed_file_is_an_error_that_shows_it(laptop: Laptop, oracle: Oracle, content: str) -> None:
    laptop.timestamp_file.write_text(content)
    before = laptop.files(), laptop.snapshot_ids()
    ended = laptop.command("run")
    assert ended.exit_code == 2
    assert ended.report["status"] == "failed"
    assert (content.splitlines() or ["empty"])[-1] in ended.stderr
    assert "last_load_timestamp" in ended.stderr
    assert str(laptop.timestamp_file) in ended.stderr
    assert (laptop.files(), laptop.snapshot_ids()) == before
    assert laptop.timestamp() == content.encode()
    oracle.check(laptop, against_source=True)


# R6


def test_r6_the_file_is_exact_floored_and_in_utc(
    laptop: Laptop, connection: Connection, database: str, oracle: Oracle
) -> None:
    connection.execute(f"alter database {database} set timezone = 'Asia/Kolkata'")
    rename(connection, "renamed")
    connection.execute("update public.purchase set amount = 3, updated_at = now() where purchase_id = 3")
    began = datetime.now(timezone.utc)
    laptop.run()
    content = (laptop.timestamp() or b"").decode("ascii")
    assert re.fullmatch(r"last_load_timestamp\n\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\n", content)
    said = datetime.strptime(content.splitlines()[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
    tables = laptop.status()["tables"].values()
    least = min(datetime.fromisoformat(table["complete_through"]) for table in tables)
    assert said == least.replace(microsecond=0)
    assert -3 < (said - began).total_seconds() < 10
    oracle.check(laptop, against_source=True)


def test_r6_a_quiet_table_does_not_hold_the_file_back(laptop: Laptop, oracle: Oracle) -> None:
    laptop.timestamp_file.write_text("last_load_timestamp\n2026-01-01 00:00:00\n")
    assert outcomes(laptop.run()) == UNCHANGED
    assert (laptop.timestamp() or b"") > b"last_load_timestamp\n2026-01-01 00:00:00\n"
    said = laptop.timestamp()
    laptop.timestamp_file.write_text("last_load_timestamp\n2026-01-01 00:00:00\n")
    laptop.run("--table", "customer")
    assert laptop.timestamp() == b"last_load_timestamp\n2026-01-01 00:00:00\n", "one table speaks not for all"
    assert said is not None
    oracle.check(laptop, against_source=True)


# R7


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


def test_r8_the_mart_names_the_snapshots_that_it_is_the_join_of(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    deeds = (
        "update purchase set customer_id = 1 + customer_id % 5, updated_at = now() where purchase_id < 9",
        "update purchase set customer_id = null, updated_at = clock_timestamp() where purchase_id = 9",
        "insert into purchase (customer_id, amount, updated_at) values (21, 1, clock_timestamp())",
        "insert into customer (name, updated_at) values ('the parent came last', clock_timestamp())",
        "delete from customer where customer_id = 2",
        "delete from purchase where purchase_id between 20 and 25",
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
    connection.execute(
        "insert into public.purchase (customer_id, amount, updated_at) values (1, 'NaN', now())"
    )
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
    connection.execute("update public.purchase set amount = 5 where amount = 'NaN'")
    laptop.run()
    oracle.check(laptop, against_source=True)
    assert laptop.status()["marts"]["customer_purchases"]["uneven"] == []


# R10


def measures(laptop: Laptop, connection: Connection, **settings: Any) -> Oracle:
    """Make a table of an unbounded numeric and no declared key, and its settings."""
    connection.execute("create table measure (id int, amount numeric, day date, at timestamptz)")
    table = {"from": "public.measure", "cursor": "at", "primary_key": ["id"], **settings}
    laptop.configure({"measure": table}, {})
    select = "select id, amount, day, at from measure"
    found = Oracle(connection, "public", {"measure": Mirrored("measure", ("id",), select)}, {})
    found.prepare()
    return found


def test_r10_an_unbounded_numeric_names_a_value_and_the_mend(laptop: Laptop, connection: Connection) -> None:
    measures(laptop, connection)
    connection.execute("insert into measure values (1, 0.123456789012345678901234567890, null, now())")
    error = laptop.failing_run()["tables"]["measure"]["error"]
    assert "amount" in error["message"]
    assert "0.12345678901234567890123456789" in error["message"]
    assert "tables.measure.columns.amount.type" in error["hint"]


DECIMAL = {"columns": {"amount": {"type": "decimal(10, 2)"}}}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ("1.005, null", "1.005"),
        ("123456789.5, null", "123456789.5"),
        ("'NaN', null", "NaN"),
        ("1, 'infinity'", "infinity"),
    ],
)
def test_r10_a_value_that_does_not_fit_is_named(
    laptop: Laptop, connection: Connection, values: str, named: str
) -> None:
    found = measures(laptop, connection, **DECIMAL)
    connection.execute("insert into measure values (1, 99999999.99, '2025-01-01', '2025-01-01Z')")
    laptop.run()
    connection.execute(f"insert into measure values (2, {values}, now())")
    error = laptop.failing_run()["tables"]["measure"]["error"]
    assert error["type"] == "UnfitValueError"
    assert named in error["message"]
    connection.execute("update measure set amount = 1.50, day = null where id = 2")
    laptop.run()
    found.check(laptop, against_source=True)


def test_r10_a_not_a_number_in_a_bounded_numeric_is_named(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    connection.execute("update public.purchase set amount = 'NaN', updated_at = now() where purchase_id = 8")
    for arguments in ((), ("--load-type", "full")):
        error = laptop.failing_run(*arguments)["tables"]["purchase"]["error"]
        assert "NaN" in error["message"]
        assert "amount" in error["message"]
    oracle.check(laptop)


def test_r10_a_null_key_is_an_error_and_no_lost_row(laptop: Laptop, connection: Connection) -> None:
    found = measures(laptop, connection, **DECIMAL)
    connection.execute("insert into measure values (1, 1, null, '2025-01-01Z')")
    laptop.run()
    connection.execute("insert into measure values (null, 2, null, now()), (2, 2, null, now())")
    error = laptop.failing_run()["tables"]["measure"]["error"]
    assert "NULL" in error["message"]
    assert "id" in error["message"]
    connection.execute("update measure set id = 3 where id is null")
    laptop.run()
    found.check(laptop, against_source=True)


def test_r10_of_rows_with_the_same_key_the_newest_stays(laptop: Laptop, connection: Connection) -> None:
    measures(laptop, connection, **DECIMAL)
    connection.execute(
        "insert into measure values (1, 1, null, '2025-01-01Z'), (1, 2, null, '2025-01-03Z'), "
        "(1, 3, null, '2025-01-02Z'), (1, 4, null, null), (2, 5, null, '2025-01-01Z')"
    )
    for _ in range(2):
        laptop.run()
        assert sorted((row["id"], int(row["amount"])) for row in laptop.rows("measure")) == [(1, 2), (2, 5)]
    connection.execute("insert into measure values (2, 6, null, now()), (2, 7, null, '2025-01-01Z')")
    laptop.run()
    assert sorted((row["id"], int(row["amount"])) for row in laptop.rows("measure")) == [(1, 2), (2, 6)]


# R11


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


def test_r11_where_history_is_gone_the_file_serves(
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


def test_r12_a_commit_between_staging_and_publishing_is_noticed(
    laptop: Laptop, connection: Connection, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, rivals = Staging._publish, []

    def overtaken(staging: Staging, table: str, base: int | None) -> int:
        if not rivals:
            rivals.append(table)
            rename(connection, "by the rival", "customer_id = 12")
            rivals.append(laptop.run())
        return publish(staging, table, base)

    rename(connection, "by the first")
    connection.execute("insert into public.purchase (customer_id, amount, updated_at) values (3, 1, now())")
    monkeypatch.setattr(Staging, "_publish", overtaken)
    ended = laptop.command("run")
    assert len(rivals) == 2
    assert ended.exit_code in {0, 75}
    oracle.check(laptop, against_source=True)
    laptop.run()
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


def test_r13_a_table_made_anew_is_another_source(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    connection.execute("create table anew (like purchase including all)")
    connection.execute("drop table purchase; alter table anew rename to purchase")
    error = laptop.failing_run()["tables"]["purchase"]["error"]
    assert error["type"] == "SourceIdentityError"
    oracle.check(laptop)
