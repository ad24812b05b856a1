"""What a run's report says in figures, for alarms and graphs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from iceberg_datamart.core.report.run import FAILED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from iceberg_datamart.core.report.run import Outcome, RunReport

_COUNTS = ("rows_read", "inserted", "updated", "deleted", "rejected")


@dataclass(frozen=True)
class Metric:
    """One figure of one instant; of the whole run where `table` is None."""

    name: str
    value: float
    unit: Literal["Count", "Seconds"]
    database: str
    at: datetime
    table: str | None = None


def run_metrics(report: RunReport, database: str, now: datetime) -> list[Metric]:
    """Return the figures of each table and mart, then those of the run, all of the instant `now`.

    Lag is how far a table's complete-through trails `now`; a table of which that is not known has none.
    """
    outcomes = {**report.tables, **report.marts}
    failed = sum(outcome.outcome == FAILED for outcome in outcomes.values())
    of_tables = [each for name, o in outcomes.items() for each in _table_metrics(name, o, database, now)]
    return [
        *of_tables,
        Metric("RunSeconds", report.seconds, "Seconds", database, now),
        Metric("FailedTables", failed, "Count", database, now),
    ]


def _table_metrics(table: str, outcome: Outcome, database: str, now: datetime) -> Iterator[Metric]:
    for count in _COUNTS:
        name = "Rows" + count.removeprefix("rows_").capitalize()
        yield Metric(name, getattr(outcome, count), "Count", database, now, table)
    if outcome.complete_through is not None:
        # The source's clock may be a little ahead of this one.
        lag = max(0.0, (now - outcome.complete_through).total_seconds())
        yield Metric("LagSeconds", lag, "Seconds", database, now, table)
