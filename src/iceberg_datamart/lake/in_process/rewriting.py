"""The same rows in other files: small files and deletes written together, as a snapshot that changes none."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from pyiceberg.manifest import DataFileContent
from pyiceberg.table.snapshots import Operation, SnapshotSummaryCollector, Summary

from iceberg_datamart.core.sql.dialect import listed
from iceberg_datamart.core.sql.duckdb import DUCKDB
from iceberg_datamart.lake.engine import Staged, conflict
from iceberg_datamart.lake.in_process.commits import require_clock
from iceberg_datamart.lake.in_process.data_files import write_data_files
from iceberg_datamart.lake.in_process.delete_files import write_delete_files
from iceberg_datamart.lake.in_process.live_files import SnapshotFiles, name_of
from iceberg_datamart.lake.in_process.manifests import Manifests, Rewritten
from iceberg_datamart.lake.in_process.scans import deletes_sql, scan_sql, text
from iceberg_datamart.lake.in_process.staging import Draft
from iceberg_datamart.lake.in_process.tables import columns_of
from iceberg_datamart.lake.in_process.writing import require_room
from iceberg_datamart.lake.in_process.written import Written

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

    from iceberg_datamart.core.upkeep.layout import Rewrite
    from iceberg_datamart.lake.in_process.session import Session
    from iceberg_datamart.lake.in_process.staging import Staging
    from iceberg_datamart.lake.in_process.tables import Tables


class Rewriting:
    """Computes with DuckDB what is written anew."""

    def __init__(self, session: Session, tables: Tables, staging: Staging) -> None:
        """Read by `session`, stage by `staging`."""
        self._session, self._tables, self._staging = session, tables, staging

    def rewrite(self, rewrite: Rewrite, summary: Mapping[str, str]) -> Staged:
        """Stage the table's rows in other files.

        Raises: CommitConflictError where the table is not at the rewrite's base; NeedsSparkError.
        """
        table = self._tables.load(rewrite.table)
        require_clock(table)
        parent = table.current_snapshot()
        if parent is None or parent.snapshot_id != rewrite.base:
            raise conflict(rewrite.table)
        live = self._tables.files(table, parent)
        written = Written(table.io)
        with written.removed_on_failure():
            rows = self._rows_sql(table, parent, _part(live, data=rewrite.data), rewrite.order)
            data = [] if rows is None else self._data(table, rows, written)
            deletes = self._deletes(table, live, rewrite, written)
            staged_id = table.metadata.new_snapshot_id()
            manifests = Manifests(table, staged_id, written)
            draft = _Replacement(table, staged_id, manifests, data, deletes)
            draft.removed = rewrite.data | rewrite.deletes
            draft.write_manifests()
            told = draft.summary(self._staging.signed(summary))
        return self._staging.add(rewrite.table, draft, told, written)

    @staticmethod
    def _rows_sql(table: Table, parent: Snapshot, files: SnapshotFiles, order: Sequence[str]) -> str | None:
        """Return the SELECT of the live rows of some files; None where there is no file."""
        if not files.data:
            return None
        by = f" ORDER BY {listed(DUCKDB, order)}" if order else ""
        return f"FROM {scan_sql(files, columns_of(table, parent))}{by}"

    def _data(self, table: Table, rows: str, written: Written) -> Sequence[DataFile]:
        require_room(self._session, table)
        with closing(self._session.streamed(rows)) as stream:
            return write_data_files(table, stream, written, self._staging.counting(name_of(table)))

    def _deletes(
        self, table: Table, live: SnapshotFiles, rewrite: Rewrite, written: Written
    ) -> Sequence[DataFile]:
        """Return new delete files with what the old ones say of data files that stay."""
        stay = frozenset(live.by_path) - rewrite.data
        files = _part(live, data=stay, deletes=rewrite.deletes)
        if not files.deletes.files:
            return []
        touched = [file for file in files.data if file.path in files.deletes.touched]
        paths = ", ".join(f"({text(file.path)})" for file in touched)
        places = (
            f"SELECT gone_path AS file_path, gone_pos AS pos FROM {deletes_sql(files.deletes, touched)} "
            f"WHERE gone_path IN (VALUES {paths}) ORDER BY ALL"
        )
        with closing(self._session.streamed(places)) as positions:
            return write_delete_files(table, positions, live, written)


class _Replacement(Draft):
    """A snapshot that holds the rows of its parent."""

    removed: AbstractSet[str] = frozenset()
    _files: Rewritten

    def write_manifests(self) -> None:
        """Write all but the list of them."""
        assert self._parent is not None  # noqa: S101  (it is the rewrite's base)
        self._files = self._writer.rewritten(self._parent, self._data, self._deletes, self.removed)
        self._manifests = self._files.manifests

    def summary(self, properties: Mapping[str, str]) -> Summary:
        """Return what it adds and removes, and totals that are counted anew: those before may be wrong."""
        schema, collector = self.table.schema(), SnapshotSummaryCollector()
        for file in (*self._data, *self._deletes):
            collector.add_file(file, schema)
        for file in self._files.gone:
            collector.remove_file(file, schema)
        told = {**collector.build(), **_totals(self._files.live), **properties}
        return Summary(operation=Operation.REPLACE, **told)


def _totals(files: Sequence[DataFile]) -> dict[str, str]:
    data = [file for file in files if file.content == DataFileContent.DATA]
    deletes = [file for file in files if file.content != DataFileContent.DATA]
    totals = {
        "total-data-files": len(data),
        "total-delete-files": len(deletes),
        "total-records": sum(file.record_count for file in data),
        "total-files-size": sum(file.file_size_in_bytes for file in files),
        "total-position-deletes": sum(file.record_count for file in deletes),
        "total-equality-deletes": 0,
    }
    return {name: str(value) for name, value in totals.items()}


def _part(
    files: SnapshotFiles, *, data: AbstractSet[str], deletes: AbstractSet[str] | None = None
) -> SnapshotFiles:
    """Return some of a snapshot's files; all of its delete files, where none are named."""
    return SnapshotFiles(
        tuple(file for file in files.data if file.path in data),
        tuple(file for file in files.delete_files if deletes is None or file.path in deletes),
    )
