"""What becomes of one mirror: its change committed, and its rows compared with the source's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceberg_datamart.core.changes import Append, Lineage
from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.report.progress import COMPARING, READING, WRITING
from iceberg_datamart.core.sql.bounds import has_ranges, key_ranges, within
from iceberg_datamart.core.sql.changeset import Sides, changeset_sql, differences_sql
from iceberg_datamart.core.sql.dialect import listed
from iceberg_datamart.core.sql.reserved import LINEAGE, OLD
from iceberg_datamart.core.state.commit import CommitReceipt
from iceberg_datamart.errors import DeleteGuardError
from iceberg_datamart.lake.auditing import Auditor
from iceberg_datamart.lake.batch import batch_of, without_older
from iceberg_datamart.lake.changeset import Target, computed, inserts_sql
from iceberg_datamart.lake.checking import checked
from iceberg_datamart.lake.differences import REJECTED_ROW, counted
from iceberg_datamart.lake.publishing import Publishing
from iceberg_datamart.ports import Merged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iceberg_datamart.core.report.verification import Differences
    from iceberg_datamart.core.source.reads import SourceTable
    from iceberg_datamart.core.source.slices import Slices
    from iceberg_datamart.core.state.history import TableHistory
    from iceberg_datamart.lake.changeset import Changeset
    from iceberg_datamart.lake.engine import Engine
    from iceberg_datamart.lake.rejected import RejectedRows
    from iceberg_datamart.ports import Clock, MirrorComparison, MirrorMerge


@dataclass(frozen=True)
class Writer:
    """What commits to one table need: an engine, a place for rejected rows, and what every row carries.

    `schema_id` is of the columns that the table was given for these rows.
    """

    engine: Engine
    rejected: RejectedRows
    run_id: str
    clock: Clock
    schema_id: int | None

    def lineage(self) -> Lineage:
        """Return what the rows of a commit carry that is made now."""
        return Lineage(self.run_id, self.clock.now())

    def publishing(self, auditor: Auditor) -> Publishing:
        """Return what publishes a commit that passes; where nothing is audited, nothing more is read."""
        return Publishing(self.engine, self.schema_id, auditor if auditor.audits else None)

    def stamp(self, table: str, base: int | None, summary: Mapping[str, str]) -> int:
        """Commit a state alone, in a snapshot without files; return its id."""
        return Publishing(self.engine, self.schema_id).stamp(table, base, summary).snapshot_id

    def append(self, append: Append, auditor: Auditor, summary: dict[str, str]) -> CommitReceipt:
        """Commit rows as the first of an empty table."""
        staged = self.publishing(auditor).commit(append, None, summary)
        added = int(staged.summary["added-records"] or 0)
        return CommitReceipt(append.table, staged.snapshot_id, added)

    def rows_of(self, table: str, base: TableHistory | None) -> int:
        """Return the rows of a table's current snapshot, counted where its summary may be wrong."""
        if base is None or base.current is None:
            return 0
        known = base.rows_of(base.current)
        if known is not None:
            return known
        with self.engine.at_work(table):
            relation = self.engine.table(table, base.current.snapshot_id)
            return int(self.engine.fetch(f"SELECT count(*) FROM {relation}")[0][0])


def merge_mirror(writer: Writer, merge: MirrorMerge) -> Merged:
    """Commit one mirror's change and its state; the table is there, with the columns it needs.

    Raises: see `ports.Lake.merge`.
    """
    engine = writer.engine
    current = None if merge.base is None else merge.base.current
    auditor = Auditor(engine, merge.table, merge.audits)
    with engine.at_work(merge.table):
        later = f"{READING} and " if engine.reads_later else ""
        engine.board.tell(merge.table, READING, total=merge.probe.rows)
        batch = batch_of(engine, merge)
        if current is None and not merge.checks.look_at_rows:
            engine.board.tell(merge.table, later + WRITING, total=merge.probe.rows)
            # The rows stream from the source into files.
            columns, rows = _names(merge.source), engine.define(_new_rows_sql(engine, merge, batch))
            change = Append(
                merge.table,
                rows,
                columns,
                writer.lineage(),
                absent=_absent(merge),
                order=merge.source.primary_key,
            )
            receipt = writer.append(change, auditor, merge.state.summary())
            return Merged(merge.probe.rows, receipt, warnings=auditor.warnings)
        engine.board.tell(merge.table, later + COMPARING)
        changes = (
            _first(engine, merge, batch)
            if current is None
            else _compared(engine, merge, batch, current.snapshot_id)
        )
    counts = bool(merge.checks.counts or (merge.full and changes.deletes))
    try:
        held = writer.rows_of(merge.table, merge.base) if counts else 0
        _guard(merge, changes.deletes - changes.replaced, held)
        return _committed(writer, merge, changes, held, auditor)
    finally:
        changes.release(engine)


def _committed(writer: Writer, merge: MirrorMerge, changes: Changeset, held: int, auditor: Auditor) -> Merged:
    """Commit what checks leave of a changeset to a mirror of `held` rows; keep what they reject first."""
    passed = checked(writer.engine, changes, merge.checks, held)
    rejected = writer.rejected.add(merge.table, passed.rejected)
    summary, publishing = merge.state.summary(), writer.publishing(auditor)
    receipt = passed.changes.commit(writer.engine, publishing, summary, writer.lineage())
    if receipt is None and (merge.force_commit or rejected):
        receipt = passed.changes.receipt(writer.stamp(changes.table, changes.target.base, summary))
    warnings = (*passed.warnings, *auditor.warnings)
    return Merged(merge.probe.rows, receipt, rejected, warnings)


def mirror_differences(engine: Engine, comparison: MirrorComparison) -> Differences:
    """Return which rows of a mirror's slices are not as the source has them."""
    source, read, current = comparison.source, comparison.read, comparison.base.current
    protected = comparison.protected_keys
    with engine.at_work(comparison.table):
        rejects = comparison.checks.rejects(engine.dialect)
        judged = f"(SELECT *, {rejects} AS {REJECTED_ROW} FROM {engine.read(read, source)})"
        sides = Sides(
            new=judged,
            old=engine.table(comparison.table, None if current is None else current.snapshot_id),
            key=source.primary_key,
            columns=_names(source),
            bounds=_slice_bounds(engine, comparison.slices),
            deleted=read.deleted,
            protected=None if protected is None else engine.read(protected, source),
        )
        text = differences_sql(engine.dialect, sides, pending=read.pending, rejected=REJECTED_ROW)
        return counted(engine, text, source.primary_key)


def _first(engine: Engine, merge: MirrorMerge, batch: str) -> Changeset:
    """Return all rows of an empty mirror's source as a changeset."""
    source = merge.source
    target = Target(
        merge.table,
        base=None,
        key=_key(source),
        columns=_names(source),
        absent=_absent(merge),
        order=source.primary_key,
    )
    rows = f"({_new_rows_sql(engine, merge, batch)})"
    return computed(engine, target, inserts_sql(engine.dialect, rows, target.columns))


def _compared(engine: Engine, merge: MirrorMerge, batch: str, base: int) -> Changeset:
    source, protected = merge.source, merge.protected_keys
    first = next(column for column in source.columns if column.name == source.primary_key[0])
    bounds = within(
        engine.dialect, first, key_ranges(first, [values[0] for values in merge.probe.keys or ()])
    )
    if merge.slices is not None:
        bounds = _slice_bounds(engine, merge.slices)
    sides = Sides(
        new=without_older(engine, merge, batch, base),
        old=engine.table(merge.table, base),
        key=source.primary_key,
        columns=_names(source),
        bounds=bounds,
        deleted=merge.read.deleted,
        protected=None if protected is None else engine.read(protected, source),
    )
    target = Target(
        merge.table,
        base=base,
        key=_key(source),
        columns=_names(source),
        absent=_absent(merge),
        known_bounds=None if merge.probe.keys is None else bounds,
    )
    return computed(engine, target, changeset_sql(engine.dialect, sides, full=merge.full))


def _names(source: SourceTable) -> list[str]:
    return [column.name for column in source.columns]


def _key(source: SourceTable) -> tuple[Column, ...]:
    return tuple(column for column in source.columns if column.name in source.primary_key)


def _slice_bounds(engine: Engine, slices: Slices) -> str:
    """Return the predicate that a mirror's row lies in one of `slices`; literal ranges prune files."""
    first, dialect = slices.slicing.column, engine.dialect
    ranges = within(dialect, first, slices.ranges() if has_ranges(first) else ())
    return f"({ranges} OR {OLD}.{dialect.quoted(first.name)} IS NULL) AND {engine.in_slices(slices)}"


def _new_rows_sql(engine: Engine, merge: MirrorMerge, batch: str) -> str:
    deleted = merge.read.deleted
    where = "" if deleted is None else f" WHERE NOT {engine.dialect.quoted(deleted)}"
    return f"SELECT {listed(engine.dialect, _names(merge.source))} FROM {batch}{where}"


def _absent(merge: MirrorMerge) -> list[Column]:
    """Return the columns that only the mirror still has."""
    if merge.base is None:
        return []
    known = {column.name for column in (*merge.source.columns, *LINEAGE)}
    return [Column(name, kind) for name, kind in merge.base.columns.items() if name not in known]


def _guard(merge: MirrorMerge, deletes: int, held: int) -> None:
    """Raise DeleteGuardError where a run would remove too much: mostly the source is at fault."""
    if not merge.full or deletes <= merge.max_delete_fraction * held:
        return
    message = (
        f"this {merge.state.load_type} run ({merge.reason}) would delete {deletes} of {held} rows, "
        f"more than max_delete_fraction {merge.max_delete_fraction} allows"
    )
    hint = f"If the source is right, set tables.{merge.table}.max_delete_fraction: 1.0 for one run."
    raise DeleteGuardError(message, hint=hint)
