"""What Spark does for a run: mirrors merged and marts maintained, each by one staged commit."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.quality.audits import audits_of
from iceberg_datamart.core.quality.checks import checks_of
from iceberg_datamart.core.report.verification import Verified
from iceberg_datamart.core.source.reads import as_held
from iceberg_datamart.core.sql import (
    LINEAGE,
    LINEAGE_NAMES,
    OLD,
    Sides,
    changeset_sql,
    differences_sql,
    key_ranges,
    quoted,
    within,
)
from iceberg_datamart.core.state.history import CommitReceipt
from iceberg_datamart.errors import DeleteGuardError
from iceberg_datamart.lake.audited import Auditor
from iceberg_datamart.lake.batch import batch_of, probe_of, without_older
from iceberg_datamart.lake.changes import Changeset, Lineage, append, inserts, sorted_within_partitions
from iceberg_datamart.lake.checked import checked
from iceberg_datamart.lake.differences import REJECTED_ROW, counted
from iceberg_datamart.lake.digests import in_slices, slice_digests
from iceberg_datamart.lake.failures import translating
from iceberg_datamart.lake.jdbc import jdbc_frame
from iceberg_datamart.lake.marts import MartComparison
from iceberg_datamart.lake.session import activate, open_session
from iceberg_datamart.lake.staging import Staging
from iceberg_datamart.lake.views import Views
from iceberg_datamart.ports import Merged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyspark.sql import DataFrame

    from iceberg_datamart.core.report.verification import Differences
    from iceberg_datamart.core.settings.model import Config
    from iceberg_datamart.core.source.reads import LakeRead, Probe, SourceTable
    from iceberg_datamart.core.source.slices import SliceDigest, Slices, Slicing
    from iceberg_datamart.core.state.history import TableHistory
    from iceberg_datamart.lake.rejected import RejectedRows
    from iceberg_datamart.ports import Clock, MartMaintenance, MirrorComparison, MirrorMerge


class SparkEngine:
    """One Spark session, in which every write of a run is staged and then published."""

    def __init__(self, config: Config, run_id: str, clock: Clock, rejected: RejectedRows) -> None:
        """Start Spark, or join the session that is there; `rejected` takes what checks reject.

        Raises: MissingPartError.
        """
        self._rejected = rejected
        self._run_id, self._clock = run_id, clock
        self._session = open_session(config)
        self._staging = Staging(self._session, run_id)
        self._views = Views(self._session, config.catalog.name, config.database)

    @contextmanager
    def _at_work(self, table: str) -> Iterator[None]:
        """Work on a table in this thread; what the JVM raises becomes an error that names it."""
        activate(self._session)
        with translating(self._session, table):
            yield

    def release(self) -> None:
        """Give up held rows."""
        self._views.release()

    def probe(self, table: str, source: SourceTable, read: LakeRead, cursor: str | None) -> Probe:
        """Return what a read of a table's files holds: one pass over them."""
        with self._at_work(table):
            return probe_of(self._session, table, source, read, cursor, self._views)

    def merge(self, merge: MirrorMerge) -> Merged:
        """Commit one mirror's change and its state; the table is there, with the columns it needs."""
        current = None if merge.base is None else merge.base.current
        auditor = Auditor(self._session, self._views, merge.table, merge.audits)
        with self._at_work(merge.table):
            batch = batch_of(self._session, merge, self._views)
            if current is None and not merge.checks.look_at_rows:
                receipt = self._load(merge, batch, auditor)
                return Merged(merge.probe.rows, receipt, warnings=auditor.warnings)
            changes = (
                self._first(merge, batch)
                if current is None
                else self._compared(merge, batch, current.snapshot_id)
            )
        counts = bool(merge.checks.counts or (merge.full and changes.deletes))
        try:
            held = self._rows(merge.table, merge.base) if counts else 0
            _guard(merge, changes.deletes - changes.replaced, held)
            return self._committed(merge, changes, held, auditor)
        finally:
            changes.release()

    def _committed(self, merge: MirrorMerge, changes: Changeset, held: int, auditor: Auditor) -> Merged:
        """Commit what checks leave of a changeset to a mirror of `held` rows; keep what they reject first."""
        passed = checked(self._session, changes, merge.checks, self._views, held)
        rejected = self._rejected.add(merge.table, passed.rejected)
        summary = merge.state.summary()
        staging = self._staging_for(auditor)
        receipt = passed.changes.commit(self._session, staging, summary, self._lineage())
        if receipt is None and (merge.force_commit or rejected):
            receipt = passed.changes.receipt(self._staging.stamp(changes.target, changes.base, summary))
        warnings = (*passed.warnings, *auditor.warnings)
        return Merged(merge.probe.rows, receipt, rejected, warnings)

    def digests(
        self, table: str, mirror: TableHistory, columns: Sequence[str], slicing: Slicing
    ) -> dict[int, SliceDigest]:
        """Return what each slice of a mirror holds in `columns`: one scan."""
        current = mirror.current
        if current is None:
            return {}
        kinds = {name: mirror.columns[name] for name in columns}
        with self._at_work(table):
            relation = self._views.relation(table, current.snapshot_id)
            return slice_digests(self._session, relation, kinds, slicing)

    def mirror_differences(self, comparison: MirrorComparison) -> Differences:
        """Return which rows of a mirror's slices are not as the source has them."""
        source, read, current = comparison.source, comparison.read, comparison.base.current
        with self._at_work(comparison.table):
            batch = self._views.add(batch_of(self._session, comparison, self._views))
            kept = comparison.protected_keys
            text = differences_sql(
                Sides(
                    new=f"(SELECT *, {comparison.rejects} AS {REJECTED_ROW} FROM {batch})",
                    old=self._views.relation(
                        comparison.table, None if current is None else current.snapshot_id
                    ),
                    key=source.primary_key,
                    columns=[column.name for column in source.columns],
                    bounds=_slice_bounds(source, comparison.slices),
                    deleted=read.deleted,
                    protected=None
                    if kept is None
                    else self._views.add(jdbc_frame(self._session, as_held(kept, source))),
                ),
                pending=read.pending,
                rejected=REJECTED_ROW,
            )
            return counted(self._session.sql(text), source.primary_key)

    def mart_differences(self, maintenance: MartMaintenance) -> Verified:
        """Return how a mart compares with its join, both counted and then row by row."""
        with self._at_work(maintenance.shape.name):
            comparison = MartComparison(self._session, maintenance, self._views)
            expected, held = comparison.counts()
            return Verified(expected, held, counted(comparison.differences(), maintenance.shape.key))

    def snapshot_differences(self, table: str, history: TableHistory, snapshot_id: int) -> Differences:
        """Return which rows of a table are not as an earlier snapshot has them, in its present columns."""
        current = history.current
        with self._at_work(table):
            text = differences_sql(
                Sides(
                    new=self._views.relation(table, snapshot_id),
                    old=self._views.relation(table, None if current is None else current.snapshot_id),
                    key=history.key,
                    columns=[name for name in history.columns if name not in LINEAGE_NAMES],
                    null_safe=True,
                )
            )
            return counted(self._session.sql(text), history.key)

    def mart_columns(self, maintenance: MartMaintenance) -> tuple[Column, ...]:
        """Return the mart's columns with the types that Spark finds for its join. Raises: ConfigError."""
        with self._at_work(maintenance.shape.name):
            comparison = MartComparison(self._session, maintenance, self._views)
            # A repetition is joined whole, and once.
            if not maintenance.as_it_was:
                comparison.require_row_local()
            return comparison.columns()

    def maintain(self, maintenance: MartMaintenance, columns: tuple[Column, ...]) -> Merged:
        """Commit the mart's change, or its state alone where no row of it changes."""
        shape, summary = maintenance.shape, maintenance.state.summary()
        with self._at_work(shape.name):
            comparison = MartComparison(self._session, maintenance, self._views)
            comparison.require_one_row_a_key()
            checks = checks_of(f"marts.{shape.name}", maintenance.checks, columns)
            auditor = self._mart_auditor(maintenance, columns)
            current = None if maintenance.base is None else maintenance.base.current
            if current is None and not checks.look_at_rows:
                first = self._append(shape.name, comparison.rows(), summary, auditor)
                return Merged(first.inserted, first, warnings=auditor.warnings)
            changes = comparison.first(columns) if current is None else comparison.changeset(columns)
        try:
            held = self._rows(shape.name, maintenance.base) if checks.counts else 0
            passed = checked(self._session, changes, checks, self._views, held)
            staging = self._staging_for(auditor)
            receipt = passed.changes.commit(self._session, staging, summary, self._lineage())
        finally:
            changes.release()
        if receipt is None:
            receipt = changes.receipt(self._staging.stamp(changes.target, changes.base, summary))
        return Merged(changes.rows, receipt, warnings=(*passed.warnings, *auditor.warnings))

    def _mart_auditor(self, maintenance: MartMaintenance, columns: tuple[Column, ...]) -> Auditor:
        """Return what audits a mart beside the snapshots of the mirrors that it is the join of."""
        shape = maintenance.shape
        audits = audits_of(f"marts.{shape.name}", maintenance.audits, columns, shape.key)
        pinned = {mirror.table: mirror.now for mirror in maintenance.mirrors}
        return Auditor(self._session, self._views, shape.name, audits, pinned)

    def _staging_for(self, auditor: Auditor) -> Staging:
        """Return what publishes a commit that passes; where nothing is audited, nothing more is read."""
        return self._staging.audited_by(auditor) if auditor.audits else self._staging

    def _rows(self, table: str, base: TableHistory | None) -> int:
        """Return the rows of a table's current snapshot, counted where its summary may be wrong."""
        if base is None or base.current is None:
            return 0
        known = base.rows_of(base.current)
        if known is not None:
            return known
        with translating(self._session, table):
            relation = self._views.relation(table, base.current.snapshot_id)
            return int(self._session.sql(f"SELECT count(*) FROM {relation}").collect()[0][0])

    def _lineage(self) -> Lineage:
        return Lineage(self._run_id, self._clock.now())

    def _load(self, merge: MirrorMerge, batch: DataFrame, auditor: Auditor) -> CommitReceipt:
        """Fill an empty mirror: the rows stream from the source into files."""
        rows, summary = _new_rows(merge, batch), merge.state.summary()
        return self._append(merge.table, rows, summary, auditor, _absent(merge))

    def _first(self, merge: MirrorMerge, batch: DataFrame) -> Changeset:
        """Return all rows of an empty mirror's source as a changeset."""
        source = merge.source
        return Changeset.materialised(
            table=merge.table,
            target=self._views.relation(merge.table),
            base=None,
            key=tuple(column for column in source.columns if column.name in source.primary_key),
            columns=[column.name for column in source.columns],
            frame=inserts(_new_rows(merge, batch)),
            absent=_absent(merge),
        )

    def _append(
        self,
        table: str,
        rows: DataFrame,
        summary: Mapping[str, str],
        auditor: Auditor,
        absent: Sequence[Column] = (),
    ) -> CommitReceipt:
        """Commit `rows` as the first of an empty table."""
        target, staging = self._views.relation(table), self._staging_for(auditor)
        snapshot_id = append(rows, target, None, staging, summary, self._lineage(), absent)
        return CommitReceipt(table, snapshot_id, self._staging.added_records(target, snapshot_id))

    def _compared(self, merge: MirrorMerge, batch: DataFrame, base: int) -> Changeset:
        source, names = merge.source, [column.name for column in merge.source.columns]
        first = source.columns[names.index(source.primary_key[0])]
        bounds = within(first.name, key_ranges(first, [values[0] for values in merge.probe.keys or ()]))
        if merge.slices is not None:
            bounds = _slice_bounds(source, merge.slices)
        newer = without_older(self._session, merge, batch, base, self._views)
        text = changeset_sql(
            Sides(
                new=self._views.add(newer),
                old=self._views.relation(merge.table, base),
                key=source.primary_key,
                columns=names,
                bounds=bounds,
                deleted=merge.read.deleted,
                protected=None
                if merge.protected_keys is None
                else self._views.add(jdbc_frame(self._session, as_held(merge.protected_keys, source))),
            ),
            full=merge.full,
        )
        return Changeset.materialised(
            table=merge.table,
            target=self._views.relation(merge.table),
            base=base,
            key=tuple(column for column in source.columns if column.name in source.primary_key),
            columns=names,
            frame=self._session.sql(text),
            absent=_absent(merge),
            known_bounds=None if merge.probe.keys is None else bounds,
        )


def _slice_bounds(source: SourceTable, slices: Slices) -> str:
    """Return the predicate that a mirror's row lies in one of `slices`; literal ranges prune files."""
    first = source.primary_key[0]
    ranges = within(first, slices.key_ranges())
    return f"({ranges} OR {OLD}.{quoted(first)} IS NULL) AND {in_slices(slices)}"


def _new_rows(merge: MirrorMerge, batch: DataFrame) -> DataFrame:
    deleted = merge.read.deleted
    kept = batch if deleted is None else batch.where(f"NOT {quoted(deleted)}").drop(deleted)
    return sorted_within_partitions(kept, merge.source.primary_key)


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
