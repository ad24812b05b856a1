"""How the cost of a small run grows: with the rows of the source, and with the number of runs before it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

import psycopg

from bench.deltas import CLUSTERED_1K, FULL_LOAD
from bench.measure import Field, Measured, contestants, prove_all, seed, warm_up
from iceberg_datamart.demo.changes import clustered_change, scattered_change
from iceberg_datamart.embedded import postgres

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.measurement import Measurement

GROWTH = (200_000, 10_000_000)
# The first run after a full load finds more to do than later ones.
_TIMES = 3
# Of a series of runs, from one: which are early; as many are late.
EARLY = slice(7, 12)
LATE = slice(-5, None)
LEAST_RUNS = 20


@dataclass
class Grown:
    """What 1,000 clustered changes cost at each number of rows."""

    sizes: dict[int, Measured] = field(default_factory=dict)
    equal: dict[str, bool] = field(default_factory=dict)

    def ratio(self, job: str, figure: str) -> float | None:
        """Return a figure with most rows as a multiple of that with fewest; None where one is missing."""
        few, many = (self.sizes[rows].median(job, figure) for rows in (min(self.sizes), max(self.sizes)))
        return many / few if many is not None and few else None


@dataclass
class Series:
    """Small runs of one contestant, one after another without maintenance."""

    runs: list[Measurement] = field(default_factory=list)

    def median(self, part: slice, figure: str) -> float:
        """Return the median of a figure over a part of the runs."""
        return median(getattr(each, figure) for each in self.runs[part])

    def ratio(self, figure: str) -> float:
        """Return the late runs' figure as a multiple of the early ones'."""
        return self.median(LATE, figure) / self.median(EARLY, figure)


def grow(directory: Path, names: Sequence[str], sizes: Sequence[int] = GROWTH) -> Grown:
    """Return what 1,000 clustered changes cost with each number of rows, each on a server of its own."""
    grown = Grown()
    for rows in sizes:
        folder = directory / f"{rows}-rows"
        folder.mkdir()
        measured = grown.sizes[rows] = Measured(str(CLUSTERED_1K))
        with postgres.running(folder / "postgres", durable=False) as server:
            warm_up(folder, server, names)
            url = seed(server, rows)
            entered = Field(contestants(names, folder / "jobs", url))
            entered.run(str(FULL_LOAD), lambda *_: None)
            with psycopg.connect(url, autocommit=True) as connection:
                for time in range(_TIMES):
                    CLUSTERED_1K.make(connection, 100 + time)
                    entered.run(f"{rows:,} rows, {CLUSTERED_1K}", measured.add)
            for name, equal in prove_all(entered).items():
                grown.equal[name] = grown.equal.get(name, True) and equal
        shutil.rmtree(folder)
    return grown


def repeat_runs(
    directory: Path, url: str, names: Sequence[str], runs: int
) -> tuple[dict[str, Series], dict[str, bool]]:
    """Return `runs` small runs of each contestant: each after 100 new rows and 10 changed accounts."""
    series = {name: Series() for name in names}
    entered = Field(contestants(names, directory / "jobs", url))
    entered.run(str(FULL_LOAD), lambda *_: None)
    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(1, runs + 1):
            clustered_change(connection, 100, number)
            scattered_change(connection, 10)
            entered.run(f"run {number}", lambda name, measurement: series[name].runs.append(measurement))
    complete = {name: each for name, each in series.items() if len(each.runs) == runs}
    return complete, prove_all(entered)
