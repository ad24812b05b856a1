"""The operations that are timed, one after another on one source, both jobs in turn."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from itertools import count
from statistics import median
from typing import TYPE_CHECKING, Any

import psycopg

from bench.contestants import DATAMART, HANDWRITTEN, Timing, contestant, timed
from iceberg_datamart.demo.changes import clustered_change, scattered_change
from iceberg_datamart.demo.seed import create_tables, load
from iceberg_datamart.demo.settings import DATABASE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.contestants import Contestant
    from iceberg_datamart.embedded.postgres import EmbeddedPostgres

    Connection = psycopg.Connection[Any]

SIZES = {"S": 200_000, "M": 2_000_000}
CHANGED_ROWS = 1000
FULL, QUIET, CLUSTERED, SCATTERED = (
    "full load",
    "nothing changed",
    "1k clustered changes",
    "1k scattered changes",
)


@dataclass
class Measured:
    """All timings of one operation, in the order of the repetitions."""

    operation: str
    timings: dict[str, list[Timing]] = field(default_factory=lambda: {DATAMART: [], HANDWRITTEN: []})

    def seconds(self, job: str) -> float:
        """Return the median."""
        return median(timing.seconds for timing in self.timings[job])

    @property
    def ratio(self) -> float:
        """Return the datamart's seconds as a part of the hand-written job's."""
        return self.seconds(DATAMART) / self.seconds(HANDWRITTEN)


def seed(server: EmbeddedPostgres, rows: int) -> None:
    """Fill a new database; vacuumed, so that neither job pays for what the load left to do."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"create database {DATABASE}")
    with psycopg.connect(server.url(DATABASE), autocommit=True) as connection:
        create_tables(connection)
        load(connection, rows)
        connection.execute("vacuum analyze")


def measure(directory: Path, url: str, repeat: int) -> tuple[list[Measured], list[Contestant]]:
    """Return the timings of every operation, and the jobs of the last repetition with what they wrote."""
    measured = {name: Measured(name) for name in (FULL, QUIET, CLUSTERED, SCATTERED)}
    jobs: list[Contestant] = []
    with psycopg.connect(url, autocommit=True) as connection:
        changes = _changes(connection)
        for repetition in range(repeat):
            for job in jobs:
                shutil.rmtree(job.config_file.parent)
            place = directory / f"repetition-{repetition + 1}"
            jobs = [contestant(name, place / name, url) for name in (DATAMART, HANDWRITTEN)]
            # The first to read a change finds it less warm: take turns.
            order = jobs if repetition % 2 == 0 else jobs[::-1]
            for name, result in measured.items():
                changes[name]()
                for job in order:
                    result.timings[job.name].append(_said(name, job, timed(job)))
    return list(measured.values()), jobs


def _changes(connection: Connection) -> dict[str, Callable[[], object]]:
    seeds: Iterator[int] = count(100)
    return {
        FULL: lambda: None,
        QUIET: lambda: None,
        CLUSTERED: lambda: clustered_change(connection, CHANGED_ROWS, next(seeds)),
        SCATTERED: lambda: scattered_change(connection, CHANGED_ROWS),
    }


def _said(name: str, job: Contestant, timing: Timing) -> Timing:
    print(f"{name:22} {job.name:12} {timing.seconds:6.1f} s", file=sys.stderr, flush=True)
    return timing
