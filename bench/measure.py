"""The operations that are measured, one after another on one source, all contestants in turn."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from itertools import count
from statistics import median
from typing import TYPE_CHECKING, Any

import psycopg

from bench.contestants import contestant
from bench.deltas import DELTAS
from bench.measurement import RunFailedError, run
from iceberg_datamart.demo.seed import create_tables, load
from iceberg_datamart.demo.settings import DATABASE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from bench.contestants import Contestant
    from bench.deltas import Delta
    from bench.measurement import Measurement
    from iceberg_datamart.embedded.postgres import EmbeddedPostgres

    Connection = psycopg.Connection[Any]

SIZES = {"S": 200_000, "M": 2_000_000}


@dataclass
class Measured:
    """All runs of one operation, of each contestant in the order of the repetitions."""

    operation: str
    runs: dict[str, list[Measurement]] = field(default_factory=dict)

    def add(self, job: str, measurement: Measurement) -> None:
        """Take in one more run."""
        self.runs.setdefault(job, []).append(measurement)

    def median(self, job: str, figure: str) -> float | None:
        """Return the median of a figure, by its name; None where the contestant was not measured."""
        values = [getattr(each, figure) for each in self.runs.get(job, [])]
        return median(values) if values else None

    def ratio(self, job: str, other: str, figure: str = "seconds") -> float | None:
        """Return a contestant's figure as a part of another's; None where one of them has none."""
        own, others = self.median(job, figure), self.median(other, figure)
        return own / others if own is not None and others else None


@dataclass
class Field:
    """The contestants on one source: who goes on, and who failed."""

    jobs: list[Contestant]
    failed: dict[str, str] = field(default_factory=dict)
    turn: int = 0

    def run(self, operation: str, take: Callable[[str, Measurement], None]) -> None:
        """Let each run once, and take what was measured; who fails is out from then on.

        The first to read a change finds it less warm: each time another one begins.
        """
        for job in in_turn(self.jobs, self.turn):
            measurement = self._measurement(operation, job)
            if measurement is not None:
                take(job.name, measurement)
                _say(operation, job.name, measurement)
        self.turn += 1

    def _measurement(self, operation: str, job: Contestant) -> Measurement | None:
        try:
            return run(job)
        except RunFailedError as error:
            self.failed[job.name] = operation
            self.jobs = [each for each in self.jobs if each is not job]
            print(error, file=sys.stderr, flush=True)
            return None


def in_turn(jobs: Sequence[Contestant], turn: int) -> list[Contestant]:
    """Return the jobs, another one first each time."""
    first = turn % len(jobs) if jobs else 0
    return [*jobs[first:], *jobs[:first]]


def warm_up(directory: Path, server: EmbeddedPostgres, names: Sequence[str]) -> None:
    """Let each run once on few rows, unmeasured: that compiles what it imports, and shows that it can run.

    Raises: RunFailedError.
    """
    url = seed(server, 100, "warm_up")
    for job in contestants(names, directory / "warm-up", url):
        run(job)
    shutil.rmtree(directory / "warm-up")


def seed(server: EmbeddedPostgres, rows: int, database: str = DATABASE) -> str:
    """Fill a new database and return its url; vacuumed, so that no job pays for what the load left to do."""
    print(f"loading {rows:,} settlement transactions", file=sys.stderr, flush=True)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"create database {database}")
    url = server.url(database)
    with psycopg.connect(url, autocommit=True) as connection:
        create_tables(connection)
        load(connection, rows)
        connection.execute("vacuum analyze")
    return url


def contestants(names: Iterable[str], directory: Path, url: str) -> list[Contestant]:
    """Return the named jobs, each with a folder of its own in `directory`."""
    return [contestant(name, directory / name, url) for name in names]


def measure(
    directory: Path, url: str, names: Sequence[str], repeat: int, deltas: Sequence[Delta] = DELTAS
) -> tuple[list[Measured], Field]:
    """Return what was measured of every operation, and the contestants with what they wrote last.

    An operation for which the source has too few rows is left out.
    """
    measured = {delta: Measured(str(delta)) for delta in deltas}
    seeds, entered = count(100), Field([])
    with psycopg.connect(url, autocommit=True) as connection:
        for repetition in range(repeat):
            for job in entered.jobs:
                shutil.rmtree(job.folder)
            still = [name for name in names if name not in entered.failed]
            entered.jobs = contestants(still, directory / f"repetition-{repetition + 1}", url)
            for delta, result in measured.items():
                if delta.make(connection, next(seeds)):
                    entered.run(str(delta), result.add)
                else:
                    print(f"{delta}: left out, for there are too few rows", file=sys.stderr, flush=True)
    return [result for result in measured.values() if result.runs], entered


def prove_all(entered: Field) -> dict[str, bool]:
    """Say of each contestant whether its tables equal PostgreSQL's; a quick wrong answer is worth nothing."""
    return {**{job.name: _proven(job) for job in entered.jobs}, **dict.fromkeys(entered.failed, False)}


def _proven(job: Contestant) -> bool:
    proofs = list(job.proofs())
    for proof in proofs:
        if not proof.comparison.equal:
            print(f"{job.name}: '{proof.table}' differs from its source: {proof.comparison}")
    equal = all(proof.comparison.equal for proof in proofs)
    if equal:
        print(f"{job.name}: {len(proofs)} tables equal PostgreSQL's, row by row.")
    return equal


def _say(operation: str, job: str, measurement: Measurement) -> None:
    seconds, cpu = f"{measurement.seconds:6.1f} s", f"{measurement.cpu_seconds:6.1f} s CPU"
    memory = f"{measurement.peak_bytes / 1e6:6.0f} MB"
    print(f"{operation:22} {job:16} {seconds} {cpu} {memory}", file=sys.stderr, flush=True)
