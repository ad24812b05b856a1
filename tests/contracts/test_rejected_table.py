"""The table of rejected rows, on a real catalog in a file: what other engines need in it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pytest

from iceberg_datamart.core.settings.model import CatalogConfig
from iceberg_datamart.core.source.reads import RejectedRow
from iceberg_datamart.lake.catalog import LakeCatalog
from iceberg_datamart.lake.rejected import SUFFIX, RejectedRows
from support.fakes.ports import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

    from pyiceberg.table import Table

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
FEW = (RejectedRow("too long", '{"id": 1}'), RejectedRow("too long", '{"id": 1}'))
MORE = (*FEW, RejectedRow("no date", '{"id": "größe"}'))


@pytest.fixture
def catalog(tmp_path: Path) -> LakeCatalog:
    uri, warehouse = f"sqlite:///{tmp_path}/catalog.db", f"file://{tmp_path}/warehouse"
    settings = {"type": "sql", "uri": uri, "warehouse": warehouse}
    return LakeCatalog(CatalogConfig.model_validate(settings), "datamart")


@pytest.fixture
def table(catalog: LakeCatalog) -> Table:
    """Return the table to which two runs have added rows."""
    for run, rows in (("run-1", FEW), ("run-2", MORE)):
        RejectedRows(catalog, run, FakeClock(NOON)).add("item", rows)
    return catalog.load("item" + SUFFIX)


def test_every_data_file_says_that_it_is_not_sorted(table: Table) -> None:
    snapshot = table.current_snapshot()
    assert snapshot is not None
    entries = [
        entry
        for manifest in snapshot.manifests(table.io)
        for entry in manifest.fetch_manifest_entry(table.io)
    ]
    assert [entry.data_file.sort_order_id for entry in entries] == [0, 0]
    assert sorted(entry.data_file.record_count for entry in entries) == [1, 2]


def test_each_row_is_kept_once_and_counted_in_the_summary(table: Table) -> None:
    kept = table.scan().to_arrow().to_pylist()
    assert sorted((row["reason"], row["row"], row["_run_id"]) for row in kept) == [
        ("no date", '{"id": "größe"}', "run-2"),
        ("too long", '{"id": 1}', "run-1"),
        ("too long", '{"id": 1}', "run-1"),
    ]
    assert {row["_rejected_at"] for row in kept} == {NOON}
    assert [snapshot.summary["total-records"] for snapshot in table.snapshots() if snapshot.summary] == [
        "2",
        "3",
    ]
