"""Rules R1 to R6 on the real stack: where a run starts, and what it leaves behind."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from support.shops.shop_rules import UNCHANGED, outcomes, rename

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]


@pytest.mark.runtime
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


@pytest.mark.runtime
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


@pytest.mark.runtime
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


@pytest.mark.runtime
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


def test_r5_a_malformed_file_is_an_error_that_shows_it(laptop: Laptop, oracle: Oracle) -> None:
    before = laptop.files(), laptop.snapshot_ids()
    for text in (
        "last_load_timestamp\n2026-13-01 00:00:00\n",
        "last_load_timestamp\nyesterday\n",
        "",
        "2026\n",
    ):
        laptop.timestamp_file.write_text(text)
        ended = laptop.command("run")
        assert ended.exit_code == 2, text
        assert ended.report["status"] == "failed"
        assert (text.splitlines() or ["empty"])[-1] in ended.stderr
        assert "last_load_timestamp" in ended.stderr
        assert str(laptop.timestamp_file) in ended.stderr
        assert (laptop.files(), laptop.snapshot_ids()) == before
        assert laptop.timestamp() == text.encode()
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
