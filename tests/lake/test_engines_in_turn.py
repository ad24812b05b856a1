"""Both engines on one lake, in any order: the rows are the source's, and commits tell the same of them."""

from __future__ import annotations

import random
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.core.engines import IN_PROCESS, SPARK
from iceberg_datamart.lake.runtime import GLUE_4_0, present_runtime
from support.shops.settlements import Settlements, open_settlements

if TYPE_CHECKING:
    from support.worlds.laptop import Databases, Laptop

RUNS, FULL_LOADS = 6, {3}
_COUNTS = {f"iceberg-datamart.{change}" for change in ("inserted", "updated", "deleted")}
# What a cluster adds, or one engine alone: who wrote it, and in how many files and bytes.
_OF_THE_WRITER = {
    "iceberg-datamart.engine",
    *("spark.app.id", "engine-name", "engine-version", "app-id", "iceberg-version", "created-by"),
    *("added-files-size", "removed-files-size", "total-files-size", "changed-partition-count"),
    *("added-data-files", "deleted-data-files", "total-data-files", "total-delete-files"),
    *("added-delete-files", "added-position-delete-files", "total-position-delete-files"),
    *("removed-delete-files", "removed-position-delete-files"),
    *("manifests-created", "manifests-kept", "manifests-replaced", "entries-processed"),
    # Iceberg 1.0 calls every MERGE an overwrite, also one that only deletes.
    *(("operation",) if present_runtime() is GLUE_4_0 else ()),
}


@pytest.mark.parametrize("seed", [3])
def test_mirrors_and_mart_are_exact_whichever_engine_a_run_has(
    laptop: Laptop, databases: Databases, database: str, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311  (repeatable on purpose)
    turns = [SPARK, IN_PROCESS, *(dice.choice([SPARK, IN_PROCESS]) for _ in range(RUNS - 1))]
    with ExitStack() as stack:
        connection = stack.enter_context(databases.connected(database))
        oracle = open_settlements(laptop, connection, rows=300)
        live = Settlements(connection, dice)
        laptop.run("--engine", turns.pop(0))
        oracle.follow(full=True)
        oracle.check(laptop, against_source=True)
        for number, engine in enumerate(turns, 1):
            live.busy_hour()
            full = number in FULL_LOADS
            if full:
                live.delete("settlement_transaction", 5)
                live.delete(dice.choice(["account", "queue"]), 2)
            laptop.run("--engine", engine, *(["--load-type", "full"] if full else []))
            oracle.follow(full=full)
            oracle.check(laptop, against_source=full)
        assert laptop.command("reconcile").exit_code == 0
        oracle.follow(full=True)
        oracle.check(laptop, against_source=True)
        ended = laptop.command("verify")
        assert ended.exit_code == 0, ended.stdout


def test_commits_of_both_engines_tell_the_same(laptop: Laptop, databases: Databases, database: str) -> None:
    with databases.connected(database) as connection:
        connection.execute("create table a (id int8 primary key, v text, at timestamptz)")
        connection.execute("insert into a select n, 'v' || n, now() from generate_series(1, 20) as n")
        names = {"by_spark": SPARK, "in_process": IN_PROCESS}
        laptop.configure({name: {"from": "public.a", "cursor": "at"} for name in names}, {})
        changes = (
            "update a set at = at",
            "insert into a select n, 'new', now() from generate_series(21, 25) as n",
            "update a set v = v || '!', at = now() where id < 4; insert into a values (30, 'x', now())",
            "delete from a where id in (7, 8)",
        )
        for number, change in enumerate(changes):
            connection.execute(change)
            for name, engine in names.items():
                load_type = ["--load-type", "full"] if number == len(changes) - 1 else []
                laptop.run("--table", name, "--engine", engine, *load_type)
    told = {name: summaries(laptop, name) for name in names}
    assert len(told["by_spark"]) == len(told["in_process"]) == len(changes)
    for by_spark, in_process in zip(told["by_spark"], told["in_process"], strict=True):
        assert by_spark.items() ^ in_process.items() == set()


def summaries(laptop: Laptop, name: str) -> list[dict[str, Any]]:
    """Return what each snapshot of a table says, of what is each run's own only that it is there."""
    found = []
    for snapshot in laptop.table(name).metadata.snapshots:
        assert snapshot.summary is not None
        plain = {"operation": snapshot.summary.operation.value, **snapshot.summary.additional_properties}
        # Spark writes the places of a file's deleted rows again with the new ones, and removes the old file.
        removed = int(plain.pop("removed-position-deletes", 0))
        plain["added-position-deletes"] = str(int(plain.get("added-position-deletes", 0)) - removed)
        found.append(
            {
                key: value if key in _COUNTS or not key.startswith(("iceberg-datamart.", "wap.")) else "…"
                for key, value in plain.items()
                if key not in _OF_THE_WRITER
            }
        )
    return found
