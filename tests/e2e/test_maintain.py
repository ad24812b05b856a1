"""`maintain` on a real lake: fewer files and snapshots, the same rows, and runs that go on as before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.crash_points import Trap
from iceberg_datamart.errors import LakeError
from iceberg_datamart.lake.publishing import Publishing
from iceberg_datamart.lake.runtime import GLUE_4_0, present_runtime
from iceberg_datamart.lake.upkeep import LakeUpkeep
from support.faults.crashed_runs import crashed
from support.oracles import second_reader
from support.shops.shop_rules import UNCHANGED, changed_mirrors, outcomes, prepared, rename

if TYPE_CHECKING:
    import psycopg

    from iceberg_datamart.lake.engine import Staged
    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

MART = "customer_purchases"
TABLES = ("customer", "purchase", MART)


def small_runs(laptop: Laptop, connection: Connection, count: int) -> None:
    """Run so often, each time with an update, a move and an insert."""
    for number in range(count):
        rename(connection, f"name {number}", f"customer_id = {1 + number % 10}")
        connection.execute(
            "update purchase set customer_id = %s, updated_at = clock_timestamp() where purchase_id = %s",
            [1 + number % 5, 20 + number],
        )
        connection.execute("insert into purchase (customer_id, amount, updated_at) values (1, 7, now())")
        laptop.run()


def keep(laptop: Laptop, **settings: Any) -> None:
    laptop.settings["maintain"] = settings
    laptop.save()


def maintained(laptop: Laptop, *arguments: str) -> dict[str, Any]:
    ended = laptop.command("maintain", *arguments)
    assert ended.exit_code == 0, ended.stderr
    found: dict[str, Any] = ended.report["tables"]
    return found


def read_by_others(laptop: Laptop, name: str) -> set[Any]:
    """Return the rows, which PyIceberg and DuckDB's own reader find alike."""
    table = laptop.table(name)
    found = [tuple(row.values()) for row in table.scan().to_arrow().to_pylist()]
    others = [tuple(row.values()) for row in second_reader.rows(table.metadata_location)]
    assert len(others) == len(found)
    assert set(others) == set(found)
    return set(found)


def test_after_many_small_runs_maintain_leaves_few_files_and_the_same_rows(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    keep(laptop, keep_snapshots=3)
    small_runs(laptop, connection, 6)
    before = {name: read_by_others(laptop, name) for name in TABLES}
    foreseen = maintained(laptop, "--dry-run")
    assert {foreseen[name]["outcome"] for name in TABLES} == {"due"}
    assert {name: read_by_others(laptop, name) for name in TABLES} == before
    told = maintained(laptop)
    for name in TABLES:
        assert told[name]["before"] == foreseen[name]["before"]
        assert told[name]["before"]["data_files"] >= 6
        assert told[name]["after"]["data_files"] == 1
        assert told[name]["after"]["delete_files"] == 0
        assert told[name]["after"]["manifests"] <= 2
        assert told[name]["after"]["snapshots"] <= 4
    assert {name: read_by_others(laptop, name) for name in TABLES} == before
    assert outcomes(laptop.run()) == UNCHANGED
    oracle.check(laptop, against_source=True)
    assert {part["outcome"] for part in maintained(laptop).values()} == {"nothing"}
    small_runs(laptop, connection, 1)
    oracle.check(laptop, against_source=True)


def test_a_run_that_commits_while_files_are_written_anew_is_not_undone(
    laptop: Laptop, connection: Connection, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(laptop, keep_snapshots=1, min_files=2)
    small_runs(laptop, connection, 2)
    publish, rivals = Publishing._published, []

    def overtaken(publishing: Publishing, staged: Staged, base: int | None) -> Staged:
        if not rivals and staged.table == "customer":
            rivals.append(staged.table)
            small_runs(laptop, connection, 1)
        return publish(publishing, staged, base)

    monkeypatch.setattr(Publishing, "_published", overtaken)
    told = maintained(laptop, "--table", "customer")
    assert rivals
    assert told["customer"]["after"]["data_files"] == 1, "it was tried again"
    oracle.check(laptop, against_source=True)
    assert outcomes(laptop.run()) == UNCHANGED


def test_a_run_that_is_overtaken_by_maintain_reads_again_and_loses_nothing(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    keep(laptop, keep_snapshots=1, min_files=2)
    small_runs(laptop, connection, 2)
    rename(connection, "read before maintain, merged after it")
    with prepared(laptop) as run:
        assert maintained(laptop)["customer"]["outcome"] == "maintained"
        assert run().exit_code == 0
    oracle.check(laptop, against_source=True)
    assert outcomes(laptop.run()) == UNCHANGED


def test_r2_maintain_that_crashes_is_made_good_by_the_next_and_what_it_left_is_swept(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    keep(laptop, keep_snapshots=1, min_files=2)
    for point in ("staged#2", "published#1", "snapshots-expired#2", "files-removed#3"):
        small_runs(laptop, connection, 1)
        assert crashed(laptop, Trap.parsed(point), verb="maintain"), point
    small_runs(laptop, connection, 1)
    oracle.check(laptop, against_source=True)
    again = maintained(laptop)
    assert {again[name]["after"]["data_files"] for name in TABLES} == {1}
    assert orphans(laptop), "expired files that the crash left"
    for path in laptop.files():
        os.utime(path, (0, 0))
    maintained(laptop)
    assert orphans(laptop) == set()
    for name in TABLES:
        read_by_others(laptop, name)
    assert {part["outcome"] for part in maintained(laptop).values()} == {"nothing"}
    oracle.check(laptop, against_source=True)
    assert outcomes(laptop.run()) == UNCHANGED


def orphans(laptop: Laptop) -> set[str]:
    """Return the names of the files that no table names, as PyIceberg tells them."""
    named: set[str] = set()
    for name in TABLES:
        table = laptop.table(name)
        named |= set(table.inspect.all_files()["file_path"].to_pylist())
        named |= set(table.inspect.all_manifests()["path"].to_pylist())
        named |= {snapshot.manifest_list for snapshot in table.metadata.snapshots}
        named |= {entry.metadata_file for entry in table.metadata.metadata_log} | {table.metadata_location}
    return {path.name for path in laptop.files()} - {location.rpartition("/")[2] for location in named}


def test_r8_the_mart_is_maintained_from_what_changed_after_its_mirrors_were_compacted_and_expired(
    laptop: Laptop, connection: Connection, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(laptop, keep_snapshots=1, min_files=2)
    small_runs(laptop, connection, 2)
    assert {part["outcome"] for part in maintained(laptop).values()} == {"maintained"}
    changed = changed_mirrors(monkeypatch)
    rename(connection, "after maintain", "customer_id = 5")
    connection.execute("delete from purchase where purchase_id = 5")
    laptop.command("reconcile")
    assert changed == [["customer", "purchase"]]
    oracle.check(laptop, against_source=True)


def test_with_auto_runs_maintain_what_they_changed_and_a_failure_of_that_fails_no_run(
    laptop: Laptop, connection: Connection, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop.settings["tables"]["customer"]["maintain"] = {"min_files": 4}
    keep(laptop, when="auto", keep_snapshots=2)
    small_runs(laptop, connection, 3)
    kinds = [each["load_type"] for each in laptop.history("customer")]
    assert kinds[:2] == ["incremental", "maintain"], "two runs had brought files enough"
    assert len(kinds) <= 4
    assert "maintain" not in {each["load_type"] for each in laptop.history("purchase")}
    assert outcomes(laptop.run()) == UNCHANGED

    def broken(*_: object) -> None:
        raise LakeError("no listing today")

    monkeypatch.setattr(LakeUpkeep, "layout", broken)
    keep(laptop, when="auto", min_files=2)
    small_runs(laptop, connection, 1)
    oracle.check(laptop, against_source=True)


def test_a_mirror_that_was_rolled_back_past_a_full_load_waits_for_the_next_run(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    keep(laptop, keep_snapshots=1, min_files=2)
    connection.execute("delete from purchase where purchase_id < 5")
    before = laptop.history("purchase")[0]["snapshot_id"]
    laptop.run("--load-type", "full")
    laptop.command("rollback", "purchase", "--to-snapshot", str(before))
    told = maintained(laptop)["purchase"]
    assert (told["outcome"], told["after"]) == ("waits", None)
    assert "rollback" in told["reason"]
    laptop.run()
    oracle.check(laptop, against_source=True)
    assert maintained(laptop)["purchase"]["outcome"] == "maintained"
    assert outcomes(laptop.run()) == UNCHANGED


@pytest.mark.spark
@pytest.mark.runtime
def test_spark_reads_what_was_maintained_in_process_and_maintains_by_icebergs_procedures(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    keep(laptop, keep_snapshots=1, min_files=2)
    laptop.settings["engine"] = "auto"
    laptop.save()
    small_runs(laptop, connection, 2)
    maintained(laptop)
    small_runs(laptop, connection, 2)
    before = {name: read_by_others(laptop, name) for name in TABLES}
    for name, rows in before.items():
        assert len(laptop.spark_sql(f"select * from datamart.datamart.{name}")) == len(rows)
    told = maintained(laptop, "--engine", "spark")
    for name in TABLES:
        assert told[name]["engine"]["name"] == "spark"
        assert told[name]["after"]["data_files"] < told[name]["before"]["data_files"]
        # Iceberg 1.0 has no procedure for deletes: a file of which one alone tells keeps it.
        assert told[name]["after"]["delete_files"] == 0 or present_runtime() is GLUE_4_0
        assert told[name]["after"]["snapshots"] < told[name]["before"]["snapshots"] + 2
        assert read_by_others(laptop, name) == before[name]
        assert len(laptop.spark_sql(f"select * from datamart.datamart.{name}")) == len(before[name])
    assert {step["load_type"] for step in laptop.plan().values()} == {"incremental"}
    assert outcomes(laptop.run()) == UNCHANGED
    rename(connection, "after maintain", "customer_id = 5")
    laptop.run()
    oracle.check(laptop, against_source=True)


def test_rejected_rows_are_maintained_and_none_is_lost(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    keep(laptop, keep_snapshots=1, min_files=2)
    laptop.settings["tables"]["purchase"]["checks"] = [
        {"name": "small", "type": "range", "column": "amount", "max": 5000, "on_fail": "reject"}
    ]
    laptop.save()
    for amount in (6000, 7000, 8000):
        connection.execute(
            "insert into purchase (customer_id, amount, updated_at) values (1, %s, now())", [amount]
        )
        laptop.run()
    before = read_by_others(laptop, "purchase__rejected")
    told = maintained(laptop, "--table", "purchase")["purchase__rejected"]
    assert (told["before"]["data_files"], told["after"]["data_files"], told["after"]["snapshots"]) == (
        3,
        1,
        1,
    )
    assert read_by_others(laptop, "purchase__rejected") == before
    assert outcomes(laptop.run()) == UNCHANGED
    del oracle
