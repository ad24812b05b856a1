"""The figures of a run: those of its report, and how far each table lags."""

from __future__ import annotations

from pathlib import Path

import pytest

from iceberg_datamart.core.report.metrics import run_metrics
from iceberg_datamart.core.report.run import FAILED, MERGED, UNCHANGED, Outcome, RunReport
from iceberg_datamart.errors import LakeError
from support.fakes.ports import MINUTE, NOON

REFERENCE = Path(__file__).parents[2] / "docs" / "metrics.md"
MERGE = Outcome(
    MERGED, rows_read=9, inserted=4, updated=3, deleted=2, rejected=1, complete_through=NOON - MINUTE
)
BROKEN = LakeError("no space left")


def figures(report: RunReport) -> dict[tuple[str | None, str], float]:
    """Return the value of each metric by table and name; there must be one of each."""
    found = run_metrics(report, "datamart", NOON)
    assert {(metric.database, metric.at) for metric in found} == {("datamart", NOON)}
    assert all(metric.unit == ("Seconds" if "Seconds" in metric.name else "Count") for metric in found)
    values = {(metric.table, metric.name): metric.value for metric in found}
    assert len(values) == len(found)
    return values


def test_a_tables_figures_are_those_of_the_report_and_its_lag() -> None:
    assert figures(RunReport("run-1", {"queue": MERGE}, {}, seconds=12.5)) == {
        ("queue", "RowsRead"): 9,
        ("queue", "RowsInserted"): 4,
        ("queue", "RowsUpdated"): 3,
        ("queue", "RowsDeleted"): 2,
        ("queue", "RowsRejected"): 1,
        ("queue", "LagSeconds"): 60,
        (None, "RunSeconds"): 12.5,
        (None, "FailedTables"): 0,
    }


def test_a_mart_has_figures_but_no_lag() -> None:
    found = figures(RunReport("run-1", {}, {"m": Outcome(MERGED, inserted=5)}))
    assert found["m", "RowsInserted"] == 5
    assert ("m", "LagSeconds") not in found


def test_a_failed_table_lags_as_far_as_what_was_recorded() -> None:
    failed = Outcome(FAILED, error=BROKEN, complete_through=NOON - 90 * MINUTE)
    found = figures(RunReport("run-1", {"queue": failed, "account": MERGE}, {}))
    assert (found["queue", "LagSeconds"], found["queue", "RowsRead"]) == (5400, 0)
    assert found[None, "FailedTables"] == 1


def test_a_table_of_which_nothing_is_known_has_no_lag() -> None:
    assert ("queue", "LagSeconds") not in figures(RunReport("run-1", {"queue": Outcome(FAILED)}, {}))


def test_failed_marts_count_as_failed_tables() -> None:
    outcomes = {"a": Outcome(FAILED), "b": Outcome(UNCHANGED)}
    found = figures(RunReport("run-1", outcomes, {"m": Outcome(FAILED), "n": Outcome(MERGED)}))
    assert found[None, "FailedTables"] == 2


@pytest.mark.parametrize("ahead", [MINUTE / 60, MINUTE])
def test_a_source_whose_clock_is_ahead_does_not_lag_less_than_nothing(ahead: object) -> None:
    early = Outcome(UNCHANGED, complete_through=NOON + ahead)  # type: ignore[operator]
    assert figures(RunReport("run-1", {"queue": early}, {}))["queue", "LagSeconds"] == 0


def test_the_reference_describes_exactly_the_metrics_that_there_are() -> None:
    found = run_metrics(RunReport("run-1", {"queue": MERGE}, {}), "datamart", NOON)
    dimensions = {True: "Database", False: "Database, Table"}
    rows = [f"| `{each.name}` | {each.unit} | {dimensions[each.table is None]} |" for each in found]
    lines = [line for line in REFERENCE.read_text("utf-8").splitlines() if line.startswith("| `")]
    assert [line[: line.index("|", line.index("Database")) + 1] for line in lines] == rows
