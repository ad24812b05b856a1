"""The runs of a lake as an Iceberg table, for SQL: a row for each run and table."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import schema_to_pyarrow

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.names import RUN_TABLE
from iceberg_datamart.core.state.commit import PREFIX
from iceberg_datamart.errors import CommitConflictError, LakeError
from iceberg_datamart.lake.appending import append, conflicts, opened
from iceberg_datamart.lake.catalog import writing_metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyiceberg.table import Table

    from iceberg_datamart.core.report.record import RunRecord
    from iceberg_datamart.lake.catalog import LakeCatalog

_OF_RUN = (
    Column("run_id", "string", nullable=False),
    Column("started", "timestamptz", nullable=False),
    Column("ended", "timestamptz", nullable=False),
    Column("load_type", "string", nullable=False),
    Column("exit_code", "int", nullable=False),
    Column("version", "string"),
)
_COUNTS = ("rows_read", "inserted", "updated", "deleted", "rejected", "dropped", "snapshot_id")
_OF_TABLE = (
    Column("table_name", "string"),
    Column("kind", "string"),
    Column("outcome", "string"),
    *(Column(name, "long") for name in _COUNTS),
    Column("watermark", "string"),
    Column("complete_through", "timestamptz"),
    Column("seconds", "double"),
    Column("engine", "string"),
    Column("error_type", "string"),
    Column("error", "string"),
    Column("hint", "string"),
)
COLUMNS = (*_OF_RUN, *_OF_TABLE)
_RUN_ID = PREFIX + "run-id"
# Each run is a commit: its metadata must not hold a file for each of them.
_PROPERTIES = {
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
}


class RunTable:
    """The table `_runs` of a lake's database."""

    def __init__(self, catalog: LakeCatalog) -> None:
        """Keep runs in a table of `catalog`, made when the first one comes."""
        self._catalog = catalog

    def add(self, record: RunRecord) -> None:
        """Append a run, unless a snapshot of the table says that it is there.

        Raises: CommitConflictError where others kept coming first, LakeError.
        """
        try:
            conflicts()(self._append, record)
        except CommitFailedException as error:
            message = f"other runs kept committing to {RUN_TABLE} first"
            raise CommitConflictError(message) from error

    def _append(self, record: RunRecord) -> None:
        target = opened(self._catalog, RUN_TABLE, COLUMNS, _PROPERTIES)
        if record.run_id in _runs_of(target):
            return
        if list(target.schema().column_names) != [column.name for column in COLUMNS]:
            message = f"the table {RUN_TABLE} has other columns than this version writes"
            raise LakeError(message, hint="Rename it; the next run makes a new one.")
        rows = pa.Table.from_pylist(rows_of(record), schema=schema_to_pyarrow(target.schema()))
        with writing_metadata(empty=False):
            append(target, rows, {_RUN_ID: record.run_id})


def _runs_of(target: Table) -> set[str | None]:
    return {each.summary.get(_RUN_ID) for each in target.snapshots() if each.summary is not None}


def rows_of(record: RunRecord) -> list[dict[str, Any]]:
    """Return the rows of a run: one for each table and mart, and one of no table for an error of its own."""
    run = {
        "run_id": record.run_id,
        "started": record.started,
        "ended": record.ended,
        "load_type": record.load_type,
        "exit_code": record.exit_code,
        "version": record.versions.get("iceberg-datamart"),
    }
    own = record.report["error"]
    outcomes = [
        {**run, "table_name": name, "kind": kind, **_cells(outcome)}
        for kind, part in (("mirror", "tables"), ("mart", "marts"))
        for name, outcome in record.report[part].items()
    ]
    return outcomes if own is None and outcomes else [{**run, **_error(own)}, *outcomes]


def _cells(outcome: Mapping[str, Any]) -> dict[str, Any]:
    complete, engine = outcome["complete_through"], outcome["engine"]
    return {
        **{name: outcome[name] for name in ("outcome", *_COUNTS, "watermark", "seconds")},
        "complete_through": None if complete is None else datetime.fromisoformat(complete),
        "engine": None if engine is None else engine["name"],
        **_error(outcome["error"]),
    }


def _error(error: Mapping[str, str] | None) -> dict[str, str]:
    return (
        {}
        if error is None
        else {"error_type": error["type"], "error": error["message"], "hint": error["hint"]}
    )
