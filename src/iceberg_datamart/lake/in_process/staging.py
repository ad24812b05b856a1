"""Snapshots that this engine stages: invisible until they are published, and told apart by the run's id."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table.snapshots import (
    Operation,
    Snapshot,
    SnapshotSummaryCollector,
    Summary,
    update_snapshot_summaries,
)

from iceberg_datamart.core.quality.touched import SUMMARY_FIELDS
from iceberg_datamart.errors import CommitConflictError, LakeError
from iceberg_datamart.lake.engine import Staged, conflict
from iceberg_datamart.lake.in_process.commits import add_snapshot, is_malformed, require_clock, set_current
from iceberg_datamart.lake.in_process.data_files import write_data_files
from iceberg_datamart.lake.in_process.delete_files import write_delete_files
from iceberg_datamart.lake.in_process.live_files import name_of
from iceberg_datamart.lake.in_process.manifests import Manifests
from iceberg_datamart.lake.in_process.written import Written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa  # type: ignore[import-untyped]
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

    from iceberg_datamart.core.report.progress import Board
    from iceberg_datamart.lake.in_process.tables import Tables

# As Iceberg calls it in Java: https://iceberg.apache.org/docs/1.10.0/branching/#audit-branch
WAP_ID = "wap.id"
# Other runs may add staged snapshots of their own meanwhile, and take the number.
_ATTEMPTS = 8


class Staging:
    """Stages and publishes the snapshots of one run."""

    def __init__(self, tables: Tables, run_id: str, board: Board) -> None:
        """Write tables of `tables` in the name of a run, and count written rows on its board."""
        self._tables, self._run_id, self._board = tables, run_id, board

    def change(
        self,
        table: Table,
        rows: pa.RecordBatchReader | None,
        positions: pa.RecordBatchReader | None,
        summary: Mapping[str, str],
    ) -> Staged:
        """Stage rows to add, all of the table's columns, and places of rows to delete.

        They are staged on what was current when the table was loaded; `summary` goes into the snapshot's own.
        `positions` has `file_path` and `pos`, as `Tables.placed` tells them, in this order. A DuckDB
        connection ends a stream without a word when it is asked for anything else: let each have its own.

        Raises: CommitConflictError where the table changed meanwhile, or the places are of another
        snapshot; LakeError for rows that do not fit; NeedsSparkError; CatalogUnreachableError.
        """
        require_clock(table)
        name, parent = name_of(table), table.current_snapshot()
        live = self._tables.files(table, parent)
        written = Written(table.io)
        with written.removed_on_failure():
            data = [] if rows is None else write_data_files(table, rows, written, self.counting(name))
            deletes = [] if positions is None else write_delete_files(table, positions, live, written)
            staged_id = table.metadata.new_snapshot_id()
            draft = Draft(table, staged_id, Manifests(table, staged_id, written), data, deletes)
            draft.write_manifests()
            told = draft.summary(self.signed(summary))
        return self.add(name, draft, told, written)

    def counting(self, name: str) -> Callable[[int], None]:
        """Return what is to be told of written rows of a table."""
        return partial(self._board.count, name)

    def stamp(self, name: str, summary: Mapping[str, str]) -> Staged:
        """Stage a snapshot without new files. Raises: as `change`."""
        return self.change(self._tables.load(name), None, None, summary)

    def publish(self, staged: Staged) -> None:
        """Make a snapshot the current one.

        Raises: CommitConflictError where its parent is not current; CatalogUnreachableError where whether
        it is published is not known.
        """
        table = self._tables.load(staged.table)
        if table.snapshot_by_id(staged.snapshot_id) is None:
            raise CommitConflictError("the staged snapshot is gone before it was published")
        if table.metadata.current_snapshot_id != staged.parent:
            raise conflict(staged.table)
        require_clock(table)
        set_current(self._tables.catalog, table, staged.snapshot_id, staged.parent)

    def ancestors(self, name: str) -> set[int]:
        """Return the ids of the current snapshot and its ancestors as the catalog now has them."""
        table, found = self._tables.load(name), set[int]()
        current = table.current_snapshot()
        while current is not None:
            found.add(current.snapshot_id)
            parent = current.parent_snapshot_id
            current = None if parent is None else table.snapshot_by_id(parent)
        return found

    def signed(self, summary: Mapping[str, str]) -> dict[str, str]:
        """Return the properties with those by which a run's staged snapshots are told apart."""
        return {WAP_ID: self._run_id, **summary}

    def add(self, name: str, draft: Draft, summary: Summary, written: Written) -> Staged:
        """Return the snapshot, added to the table's metadata under the next number that nobody takes.

        Files are removed where it is certain that no metadata names them, and only there.
        """
        table = draft.table
        for _ in range(_ATTEMPTS):
            try:
                snapshot = draft.snapshot(table, summary)
            except BaseException:
                written.remove_all()
                raise
            try:
                add_snapshot(self._tables.catalog, table, snapshot)
            except CommitFailedException as error:
                # What is refused cannot come true later: it names the metadata that it replaces.
                table = self._tables.load(name)
                if table.snapshot_by_id(draft.snapshot_id) is not None:
                    return draft.staged(name, summary)
                if is_malformed(error) and snapshot.sequence_number == table.metadata.next_sequence_number():
                    written.remove_all()
                    raise LakeError(f"{name}: the catalog refuses the snapshot: {error}") from error
            else:
                return draft.staged(name, summary)
            written.remove(snapshot.manifest_list)
            if not draft.fits(table):
                break
        written.remove_all()
        raise conflict(name)


class Draft:
    """A snapshot to be: its files are written, its sequence number and manifest list are not."""

    def __init__(
        self,
        table: Table,
        snapshot_id: int,
        manifests: Manifests,
        data: Sequence[DataFile],
        deletes: Sequence[DataFile],
    ) -> None:
        """Take what writes manifests, and the files that are new."""
        self.table, self.snapshot_id = table, snapshot_id
        self._parent = table.current_snapshot()
        self._writer, self._data, self._deletes = manifests, data, deletes

    def write_manifests(self) -> None:
        """Write all but the list of them."""
        self._manifests = self._writer.write(self._parent, self._data, self._deletes)

    def staged(self, name: str, summary: Summary) -> Staged:
        """Return what the snapshot is, once it is added."""
        parent = None if self._parent is None else self._parent.snapshot_id
        figures = {field: summary[field] for field in SUMMARY_FIELDS}
        return Staged(name, self.snapshot_id, parent, self.table.metadata.current_schema_id, figures)

    def fits(self, table: Table) -> bool:
        """Return whether a table, loaded again, is still what this was written on."""
        return _state(table) == _state(self.table)

    def snapshot(self, table: Table, summary: Summary) -> Snapshot:
        """Write the manifest list under the table's next sequence number; return the snapshot."""
        number = table.metadata.next_sequence_number()
        told: dict[str, Any] = {
            "snapshot-id": self.snapshot_id,
            "parent-snapshot-id": None if self._parent is None else self._parent.snapshot_id,
            "manifest-list": self._writer.write_list(self._parent, self._manifests, number),
            "sequence-number": number,
            "schema-id": table.metadata.current_schema_id,
        }
        return Snapshot(**told, summary=summary)

    def summary(self, properties: Mapping[str, str]) -> Summary:
        """Return the snapshot's summary: what it adds, the totals after it, and `properties`."""
        collector = SnapshotSummaryCollector()
        for file in (*self._data, *self._deletes):
            collector.add_file(file, self.table.schema())
        before = None if self._parent is None else self._parent.summary
        return update_snapshot_summaries(
            Summary(operation=self._operation, **{**collector.build(), **properties}), before
        )

    @property
    def _operation(self) -> Operation:
        """Return what Iceberg calls the change, as it does in Java."""
        if not self._deletes:
            return Operation.APPEND
        return Operation.OVERWRITE if self._data else Operation.DELETE


def _state(table: Table) -> tuple[object, ...]:
    """Return what a snapshot is written on."""
    metadata = table.metadata
    return metadata.table_uuid, metadata.current_snapshot_id, metadata.current_schema_id
