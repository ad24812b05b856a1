"""Every run leaves a record, also one that failed or was never planned; it tells no secret, fails no run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from pyiceberg.types import StringType

from support.shops.shop_rules import rename
from support.worlds.laptop import within

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Ended, Laptop

    Connection = psycopg.Connection[Any]

PASSWORD = "nobody-may-see-this-9f3b"


def folder(laptop: Laptop) -> Path:
    return laptop.timestamp_file.parent / "runs"


def records(laptop: Laptop) -> list[dict[str, Any]]:
    """Return the records as they lie on the disk, the newest first."""
    return [json.loads(path.read_bytes()) for path in sorted(folder(laptop).iterdir(), reverse=True)]


def told(laptop: Laptop, *words: str) -> str:
    """Return what `runs` prints for people."""
    ended = within("runs", "--config", str(laptop.file), *words)
    assert (ended.exit_code, ended.stderr) == (0, "")
    return ended.stdout


def test_a_run_leaves_what_it_reported_and_planned_and_runs_tells_it(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    del oracle
    before = records(laptop)
    rename(connection, "renamed")
    planned = laptop.plan()
    began = datetime.now(timezone.utc)
    report = laptop.run("--table", "customer")
    laptop.command("reconcile", "--table", "purchase")
    reconciled, record, *older = records(laptop)
    assert older == before
    assert record["version"] == 1
    assert record["report"] == report
    assert list(report["phases"]) == ["gathering", "tables", "marts", "timestamp_file"]
    assert sum(report["phases"].values()) >= report["seconds"] >= report["phases"]["tables"] > 0
    assert began <= datetime.fromisoformat(record["started"]) < datetime.fromisoformat(record["ended"])
    asked = {"load_type": "incremental", "tables": ["customer"], "accept_new_source": False}
    assert record["request"] == {**asked, "snapshot_id": None}
    merge, *_ = record["plan"]["steps"]
    # A run counts nothing for its plan's sake.
    foreseen = {"rows", "rows_are_estimated", "unchanged"}
    assert planned["customer"].keys() - merge.keys() == foreseen
    apart = dict.fromkeys((*foreseen, "horizon", "sql"))
    assert {**merge, **apart} == {**planned["customer"], **apart}
    assert record["exit_code"] == 0
    assert {"iceberg-datamart", "python", "pyiceberg", "duckdb"} <= set(record["versions"])
    assert reconciled["request"]["load_type"] == "reconcile"

    listed = laptop.command("runs").report["runs"]
    assert [run["run_id"] for run in listed] == [each["run_id"] for each in records(laptop)]
    assert listed[1]["changed"] == ["customer", "customer_purchases"]
    counts = [(each["inserted"], each["updated"], each["deleted"]) for each in parts(report)]
    assert listed[1]["rows"] == sum(map(sum, counts)) > 0
    assert laptop.command("runs", "--limit", "1").report["runs"] == listed[:1]
    assert laptop.command("runs", record["run_id"]).report == record
    shown = told(laptop, record["run_id"].rpartition("-")[2])
    assert record["run_id"] in shown
    assert "customer_purchases" in shown
    assert laptop.command("runs", "nosuch").exit_code == 2


def parts(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [*report["tables"].values(), *report["marts"].values()]


def test_a_run_that_failed_or_was_never_planned_is_recorded_without_any_secret(
    laptop: Laptop, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    del oracle
    before = len(records(laptop))
    assert told(laptop, "--failed") == "there is no record of such a run\n"
    place = urlsplit(laptop.url)
    source = laptop.settings["sources"]["prd"]
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    addresses = [f"nobody:{PASSWORD}@{place.hostname}:{place.port}", f"nobody@{place.hostname}:{place.port}"]
    for address in addresses:
        source["url"] = f"postgresql://{address}{place.path}"
        laptop.save()
        assert laptop.command("run").exit_code == 1
    laptop.timestamp_file.write_text("last_load_timestamp\nyesterday\n")
    assert laptop.command("run").exit_code == 2
    source["url"] = laptop.url
    laptop.save()

    unplanned, *failed = records(laptop)[: len(addresses) + 1]
    assert len(records(laptop)) == before + len(addresses) + 1
    assert (unplanned["exit_code"], unplanned["plan"]) == (2, None)
    assert unplanned["report"]["error"]["type"] == "TimestampFileError"
    assert unplanned["report"]["run_id"] == unplanned["run_id"]
    types = [each["report"]["tables"]["customer"]["error"]["type"] for each in failed]
    assert types == ["SourceRefusedError"] * 2
    assert {step["step"] for step in failed[0]["plan"]["steps"]} == {"refuse", "maintain", "write_timestamp"}
    for path in folder(laptop).iterdir():
        assert PASSWORD not in path.read_text("utf-8")

    listed = laptop.command("runs", "--failed").report["runs"]
    assert [run["exit_code"] for run in listed] == [2, 1, 1]
    assert listed[0]["error"]["table"] is None
    assert listed[1]["error"]["table"] == "customer"
    assert "hint:" in told(laptop, unplanned["run_id"])


@pytest.mark.parametrize("verb", ["run", "backfill"])
def test_a_record_that_cannot_be_kept_is_a_warning_and_the_run_ends_as_it_would(
    laptop: Laptop, connection: Connection, oracle: Oracle, verb: str
) -> None:
    del oracle
    if folder(laptop).exists():
        folder(laptop).rename(folder(laptop).with_name("elsewhere"))
    folder(laptop).write_text("a file in the way of the folder")
    rename(connection, "renamed")
    ended: Ended = laptop.command(verb, "--table", "customer")
    assert (ended.exit_code, ended.report["status"]) == (0, "succeeded")
    warnings = [line for line in ended.stderr.splitlines() if "WARNING" in line]
    assert len(warnings) == 1
    assert "this run is not recorded in the folder runs" in warnings[0]


def test_runs_needs_neither_source_nor_catalog_and_writes_nothing(laptop: Laptop, oracle: Oracle) -> None:
    del oracle
    laptop.run()
    expected = laptop.command("runs").report
    laptop.settings["sources"]["prd"]["url"] = "postgresql://nobody@127.0.0.1:1/gone"
    laptop.settings["catalog"]["uri"] = "sqlite:////no/such/folder/catalog.db"
    laptop.save()
    before = {path: path.stat().st_mtime_ns for path in laptop.directory.rglob("*")}
    script = (
        "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
        "from iceberg_datamart.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "runs", "--config", str(laptop.file), "--json"],
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == expected
    unwanted = {"pyiceberg", "pyarrow", "psycopg", "boto3", "sqlalchemy", "duckdb", "pyspark"}
    assert unwanted & set(done.stderr.split()) == set()
    assert {path: path.stat().st_mtime_ns for path in laptop.directory.rglob("*")} == before


def test_with_runs_table_each_run_is_in_the_lake_and_none_fails_where_it_cannot_be(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    del oracle
    laptop.settings["state"]["runs"] = "table"
    laptop.save()
    rename(connection, "renamed")
    merged = laptop.run()
    connection.execute("alter table purchase rename to hidden")
    failed = laptop.failing_run("--table", "purchase")
    kept = laptop.table("_runs").scan().to_arrow().to_pylist()
    assert {(row["run_id"], row["table_name"], row["outcome"], row["updated"]) for row in kept} == {
        (report["run_id"], name, each["outcome"], each["updated"])
        for report in (merged, failed)
        for name, each in {**report["tables"], **report["marts"]}.items()
    }
    with laptop.table("_runs").update_schema() as update:
        update.add_column("note of an operator", StringType())
    ended = laptop.command("run", "--table", "customer")
    assert ended.exit_code == 0
    warnings = [line for line in ended.stderr.splitlines() if "WARNING" in line]
    assert ["not recorded in the table _runs" in line for line in warnings] == [True]
    assert records(laptop)[0]["report"] == ended.report
