"""The lake of one run: mirrors merged and marts maintained by Spark, described by PyIceberg."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from iceberg_datamart.errors import DeleteGuardError
from iceberg_datamart.lake.catalog import LakeCatalog
from iceberg_datamart.lake.changes import Changeset, Lineage, append, sorted_within_partitions
from iceberg_datamart.lake.views import Views
from iceberg_datamart.ports import Merged
from iceberg_datamart.reading import Column
from iceberg_datamart.receipt import CommitReceipt
from iceberg_datamart.schema import schema_change
from iceberg_datamart.sql import LINEAGE, changeset_sql, key_ranges, quoted, within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import DataFrame, SparkSession

    from iceberg_datamart.config import Config
    from iceberg_datamart.lake.jdbc import Batch
    from iceberg_datamart.lake.staging import Staging
    from iceberg_datamart.ports import Clock, MartMaintenance, MirrorMerge
    from iceberg_datamart.receipt import TableHistory

# Merge-on-read: a small change writes its rows and their positions, not the files they lie in.
TABLE_PROPERTIES = {
    "format-version": "2",
    "write.wap.enabled": "true",
    "write.merge.mode": "merge-on-read",
    "write.update.mode": "merge-on-read",
    "write.delete.mode": "merge-on-read",
    "write.distribution-mode": "none",
    "write.merge.distribution-mode": "none",
    "write.parquet.compression-codec": "zstd",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "100",
}
_LINEAGE_NAMES = {column.name for column in LINEAGE}


class SparkLake:
    """The Iceberg tables of one run. Spark starts with the first change, so that a quiet run needs none."""

    def __init__(self, config: Config, run_id: str, clock: Clock) -> None:
        """Open the catalog; every row this lake writes carries `run_id`."""
        self._config, self._run_id, self._clock = config, run_id, clock
        self._catalog = LakeCatalog(config.catalog, config.database)
        self._views = Views(config.catalog.name, config.database)
        self._engine: tuple[SparkSession, Staging] | None = None
        self._starting = Lock()

    def history(self, table: str) -> TableHistory | None:
        """Return a table's columns and ancestors, or None where there is no table."""
        return self._catalog.history(table)

    def close(self) -> None:
        """Release cached rows; the JVM stays for other runs of this process."""
        self._views.release()

    def create_mirror(self, merge: MirrorMerge) -> None:
        """Create the mirror where it is missing, and follow its source's columns."""
        source = merge.source
        self._prepare(merge.table, source.columns, source.primary_key, merge.base, merge.properties)

    def merge(self, merge: MirrorMerge) -> Merged:
        """Commit one mirror's change and its state in one snapshot (R1). Raises: see `ports.Lake`."""
        from iceberg_datamart.lake.failures import translating  # noqa: PLC0415  (a quiet run starts no JVM)
        from iceberg_datamart.lake.jdbc import batch_of  # noqa: PLC0415  (a quiet run starts no JVM)

        self.create_mirror(merge)
        session, staging = self._spark()
        with translating(merge.table):
            batch = batch_of(session, merge, self._views)
            if merge.base is None or merge.base.current is None:
                return self._load(merge, batch, staging)
            changes = self._compared(merge, session, batch.frame, merge.base.current.snapshot_id)
        try:
            _guard(merge, changes)
            lineage = Lineage(self._run_id, self._clock.now())
            receipt = changes.commit(session, staging, merge.state.summary(), lineage)
        finally:
            changes.release()
        return Merged(batch.rows(), receipt)

    def maintain(self, maintenance: MartMaintenance) -> Merged:
        """Commit what makes the mart equal its join again. Raises: see `ports.Lake`."""
        from iceberg_datamart.lake.failures import translating  # noqa: PLC0415  (a quiet run starts no JVM)
        from iceberg_datamart.lake.marts import MartComparison  # noqa: PLC0415  (a quiet run starts no JVM)

        shape, summary = maintenance.shape, maintenance.state.summary()
        session, staging = self._spark()
        with translating(shape.name):
            comparison = MartComparison(session, maintenance, self._views)
            columns = comparison.columns()
        self._prepare(shape.name, columns, shape.key, maintenance.base, maintenance.properties)
        with translating(shape.name):
            changes = comparison.changeset(columns)
        try:
            lineage = Lineage(self._run_id, self._clock.now())
            receipt = changes.commit(session, staging, summary, lineage)
        finally:
            changes.release()
        if receipt is None:
            receipt = changes.receipt(staging.stamp(changes.target, changes.base, summary))
        return Merged(changes.rows, receipt)

    def _load(self, merge: MirrorMerge, batch: Batch, staging: Staging) -> Merged:
        """Fill an empty mirror: the rows stream from the source into files."""
        frame = batch.frame
        if merge.read.deleted is not None:
            frame = frame.where(f"NOT {quoted(merge.read.deleted)}").drop(merge.read.deleted)
        rows = sorted_within_partitions(frame, merge.source.primary_key)
        lineage = Lineage(self._run_id, self._clock.now())
        summary = merge.state.summary()
        target = self._views.relation(merge.table)
        snapshot_id = append(rows, target, None, staging, summary, lineage, _absent(merge))
        inserted = staging.added_records(target, snapshot_id)
        return Merged(batch.rows(), CommitReceipt(merge.table, snapshot_id, inserted=inserted))

    def _compared(self, merge: MirrorMerge, session: SparkSession, batch: DataFrame, base: int) -> Changeset:
        key = tuple(column for column in merge.source.columns if column.name in merge.source.primary_key)
        first = next(column for column in key if column.name == merge.source.primary_key[0])
        keys = [values[0] for values in merge.probe.keys or ()]
        text = changeset_sql(
            new=self._views.add(batch),
            old=self._views.relation(merge.table, base),
            key=merge.source.primary_key,
            columns=[column.name for column in merge.source.columns],
            bounds=within(first.name, key_ranges(first, keys)),
            full=merge.full,
            deleted=merge.read.deleted,
        )
        return Changeset.materialised(
            table=merge.table,
            target=self._views.relation(merge.table),
            base=base,
            key=key,
            columns=[column.name for column in merge.source.columns],
            frame=session.sql(text),
            absent=_absent(merge),
        )

    def _prepare(
        self,
        table: str,
        columns: Sequence[Column],
        key: Sequence[str],
        base: TableHistory | None,
        properties: Mapping[str, str],
    ) -> None:
        """Bring the table's columns to what its rows need, by metadata alone. Raises: SchemaChangeError."""
        if base is None:
            self._catalog.create(table, (*columns, *LINEAGE), key, {**TABLE_PROPERTIES, **properties})
            return
        present = {name: kind for name, kind in base.columns.items() if name not in _LINEAGE_NAMES}
        self._catalog.evolve(table, schema_change(table, columns, present, key))

    def _spark(self) -> tuple[SparkSession, Staging]:
        from iceberg_datamart.lake.session import open_session  # noqa: PLC0415  (a quiet run starts no JVM)
        from iceberg_datamart.lake.staging import Staging  # noqa: PLC0415  (a quiet run starts no JVM)

        with self._starting:
            if self._engine is None:
                session = open_session(self._config)
                self._engine = session, Staging(session, self._run_id)
            return self._engine


def _absent(merge: MirrorMerge) -> list[Column]:
    """Return the columns that only the mirror still has."""
    if merge.base is None:
        return []
    known = {column.name for column in merge.source.columns} | _LINEAGE_NAMES
    return [Column(name, kind) for name, kind in merge.base.columns.items() if name not in known]


def _guard(merge: MirrorMerge, changes: Changeset) -> None:
    """Raise DeleteGuardError where a full load would remove too much: mostly the source is at fault."""
    current = None if merge.base is None else merge.base.current
    held = 0 if current is None else current.rows
    if merge.full and changes.deletes > merge.max_delete_fraction * held:
        message = (
            f"this full load would delete {changes.deletes} of {held} rows, "
            f"more than max_delete_fraction {merge.max_delete_fraction} allows"
        )
        hint = f"If the source is right, set tables.{merge.table}.max_delete_fraction: 1.0 for one run."
        raise DeleteGuardError(message, hint=hint)
