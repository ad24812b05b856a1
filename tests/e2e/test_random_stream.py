"""A random but repeatable change stream on the seed's tables: after every run, PostgreSQL agrees."""

from __future__ import annotations

import random
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from iceberg_datamart.lake.runtime import GLUE_4_0, present_runtime
from support.shops.settlements import Settlements, open_settlements

if TYPE_CHECKING:
    from support.worlds.laptop import Databases, Laptop

# Spark 3.3 takes its time; `make matrix` has all the runs on Spark 3.5.
RUNS = 3 if present_runtime() is GLUE_4_0 else 5
FULL_LOADS = {3}
QUIET = {4, 5}
LATE = {1: 2, 2: 4}  # a transaction that opens before the one run commits before the other


@pytest.mark.runtime
@pytest.mark.matrix_on("glue-4.0")
@pytest.mark.parametrize("seed", [11])
def test_r8_mirrors_and_mart_are_exact_after_every_run(
    laptop: Laptop, databases: Databases, database: str, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311  (repeatable on purpose)
    with ExitStack() as stack:
        connection = stack.enter_context(databases.connected(database))
        other = stack.enter_context(databases.connected(database))
        oracle = open_settlements(laptop, connection, rows=300)
        live = Settlements(connection, dice)
        laptop.run()
        oracle.follow(full=True)
        oracle.check(laptop, against_source=True)
        late, commits_before = ExitStack(), 0
        for number in range(1, RUNS + 1):
            if number == commits_before:
                late.close()
            if number in LATE:
                late.enter_context(live.open_transaction(other))
                commits_before = LATE[number]
            if number not in QUIET:
                live.busy_hour()
                ties_and_nulls(live, laptop)
            full = number in FULL_LOADS
            if full:
                live.delete("settlement_transaction", 5)
                live.delete(dice.choice(["account", "queue"]), 2)
            before = laptop.files(), laptop.snapshot_ids()
            report = laptop.run(*(["--load-type", "full"] if full else []))
            oracle.follow(full=full)
            oracle.check(laptop, against_source=full)
            if number in QUIET and number != commits_before:
                assert (laptop.files(), laptop.snapshot_ids()) == before
                assert {part["outcome"] for part in report["tables"].values()} == {"unchanged"}
        late.close()


def ties_and_nulls(live: Settlements, laptop: Laptop) -> None:
    """Write rows at exactly the watermark of the last run, rows without a cursor, and into those again."""
    table = live.dice.choice(["account", "account_metadata", "account_risk", "queue", "adjustment"])
    watermark = laptop.status()["tables"][table]["watermark"]
    live.update(table, 2, moment=f"timestamptz '{watermark}'")
    live.insert(table, 1, moment=f"timestamptz '{watermark}'")
    live.change_without_cursor(table)
    live.update(table, 1, moment="null::timestamptz")
    live.insert("settlement_transaction", 1, moment="null::timestamptz")
