"""The table of runs on a real catalog in a file: each run once, with a row for each table, by types."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.engines import EngineChoice
from iceberg_datamart.core.names import RUN_TABLE
from iceberg_datamart.core.report.record import RunRecord
from iceberg_datamart.core.report.run import FAILED, MERGED, Outcome, RunReport
from iceberg_datamart.core.settings.model import CatalogConfig
from iceberg_datamart.errors import CatalogUnreachableError, LakeError, SourceTableMissingError
from iceberg_datamart.lake.catalog import LakeCatalog
from iceberg_datamart.lake.run_table import RunTable
from support.fakes.ports import NOON
from support.oracles import athena

if TYPE_CHECKING:
    from pathlib import Path

BIG = 2**62
MERGE = Outcome(
    MERGED,
    rows_read=3,
    inserted=2,
    updated=1,
    snapshot_id=BIG,
    watermark="5",
    complete_through=NOON,
    seconds=0.5,
    engine=EngineChoice("in_process", "nothing of it needs Spark"),
)
GONE = Outcome(FAILED, error=SourceTableMissingError("there is no table queue", hint="Look."))
DONE = RunReport("run-1", {"account": MERGE, "queue": GONE}, {"mart": MERGE})
UNPLANNED = RunReport("run-2", {}, {}, error=CatalogUnreachableError("away", hint="Wait."))


def record(report: RunReport) -> RunRecord:
    return RunRecord(
        run_id=report.run_id,
        started=NOON,
        ended=NOON + timedelta(seconds=2),
        timestamp_file="last.csv",
        request={"load_type": "incremental", "tables": [], "accept_new_source": False, "snapshot_id": None},
        versions={"iceberg-datamart": "0.1.0"},
        plan=None,
        report=report.as_json(),
        exit_code=report.exit_code,
    )


@pytest.fixture
def catalog(tmp_path: Path) -> LakeCatalog:
    uri, warehouse = f"sqlite:///{tmp_path}/catalog.db", f"file://{tmp_path}/warehouse"
    settings = {"type": "sql", "uri": uri, "warehouse": warehouse}
    return LakeCatalog(CatalogConfig.model_validate(settings), "datamart")


def rows(catalog: LakeCatalog) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = catalog.load(RUN_TABLE).scan().to_arrow().to_pylist()
    return sorted(found, key=lambda row: (row["run_id"], row["kind"] or "", row["table_name"] or ""))


def test_a_run_has_a_row_for_each_table_and_one_of_none_for_an_error_of_its_own(catalog: LakeCatalog) -> None:
    for report in (DONE, UNPLANNED):
        RunTable(catalog).add(record(report))
    mart, account, queue, unplanned = rows(catalog)
    assert account == {**mart, "table_name": "account", "kind": "mirror"}
    assert (account["started"], account["ended"]) == (NOON, NOON + timedelta(seconds=2))
    assert (account["rows_read"], account["snapshot_id"], account["complete_through"]) == (3, BIG, NOON)
    assert (account["engine"], account["exit_code"], account["error"]) == ("in_process", 1, None)
    assert (queue["outcome"], queue["error_type"]) == ("failed", "SourceTableMissingError")
    assert (unplanned["table_name"], unplanned["error"], unplanned["hint"]) == (None, "away", "Wait.")
    assert unplanned["exit_code"] == 75
    assert athena.problems_at(catalog.load(RUN_TABLE).metadata_location) == []


def test_a_run_is_in_the_table_once_however_often_it_is_added(catalog: LakeCatalog) -> None:
    for report in (DONE, DONE, UNPLANNED, DONE):
        RunTable(catalog).add(record(report))
    assert [row["run_id"] for row in rows(catalog)] == ["run-1"] * 3 + ["run-2"]
    assert len(catalog.load(RUN_TABLE).snapshots()) == 2


def test_a_run_that_another_one_overtakes_is_added_after_it(
    catalog: LakeCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    RunTable(catalog).add(record(DONE))
    load, others = catalog.load, [record(replace(DONE, run_id="other"))]

    def overtaken(name: str) -> Any:
        """Return the table as it was before the other run committed to it."""
        found = load(name)
        if others:
            RunTable(catalog).add(others.pop())
        return found

    monkeypatch.setattr(catalog, "load", overtaken)
    RunTable(catalog).add(record(UNPLANNED))
    assert {row["run_id"] for row in rows(catalog)} == {"run-1", "run-2", "other"}


def test_a_table_of_other_columns_is_not_written_to(catalog: LakeCatalog) -> None:
    catalog.create(RUN_TABLE, [Column("run_id", "string")], (), {})
    with pytest.raises(LakeError, match="other columns"):
        RunTable(catalog).add(record(DONE))
    assert catalog.load(RUN_TABLE).snapshots() == []
