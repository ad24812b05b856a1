"""The lake of one run: PyIceberg describes and alters its tables, an engine writes them."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

from iceberg_datamart.core.engines import IN_PROCESS, SPARK
from iceberg_datamart.core.plan.schema import held_columns, incompatible_columns, schema_change
from iceberg_datamart.core.report.progress import STARTING, Board
from iceberg_datamart.core.sql.changeset import Sides, differences_sql
from iceberg_datamart.core.sql.reserved import LINEAGE, LINEAGE_NAMES
from iceberg_datamart.core.state.history import DEFINITION
from iceberg_datamart.crash_points import crash_point
from iceberg_datamart.lake.batch import probe_of
from iceberg_datamart.lake.catalog import LakeCatalog
from iceberg_datamart.lake.differences import counted
from iceberg_datamart.lake.marts import maintain_mart, mart_differences, planned_join
from iceberg_datamart.lake.mirrors import Writer, merge_mirror, mirror_differences
from iceberg_datamart.lake.rejected import RejectedRows
from iceberg_datamart.lake.runtime import readers_runtime
from iceberg_datamart.underway.stopping import effect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.core.report.verification import Differences, Verified
    from iceberg_datamart.core.settings.model import Config
    from iceberg_datamart.core.source.reads import LakeRead, Probe, RejectedRow, SourceTable
    from iceberg_datamart.core.source.slices import SliceDigest, Slicing
    from iceberg_datamart.core.state.history import TableHistory
    from iceberg_datamart.lake.engine import Engine
    from iceberg_datamart.ports import Clock, MartMaintenance, Merged, MirrorComparison, MirrorMerge

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
    # About 100,000 rows: of a file with one group, as Spark else writes, each reader reads all to find a few.
    "write.parquet.row-group-size-bytes": str(8 * 1024 * 1024),
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "100",
}


class IcebergLake:
    """The Iceberg tables of one run. An engine starts with the first change: a quiet run needs none."""

    def __init__(self, config: Config, run_id: str, clock: Clock, board: Board | None = None) -> None:
        """Open the catalog; every row this lake writes carries `run_id`. Raises: ConfigError.

        What it is doing it tells on `board`.
        """
        self._board = board or Board()
        self._config, self._run_id, self._clock = config, run_id, clock
        self._catalog = LakeCatalog(config.catalog, config.database)
        self._rejected = RejectedRows(self._catalog, run_id, clock)
        self._engines: dict[str, Engine] = {}
        self._starting = Lock()
        self._chosen = SPARK

    def using(self, engine: str) -> IcebergLake:
        """Return the same lake, worked on by one engine, which starts when something needs it."""
        other = copy(self)
        other._chosen = engine  # noqa: SLF001  (another of its kind)
        return other

    def history(self, table: str) -> TableHistory | None:
        """Return a table's columns and ancestors, or None where there is no table."""
        return self._catalog.history(table)

    def held_columns(
        self, table: str, columns: Sequence[Column], mirror: TableHistory | None
    ) -> tuple[Column, ...]:
        """Return a source's columns as the mirror holds them. Raises: SchemaChangeError."""
        present = {} if mirror is None else mirror.columns
        return held_columns(table, columns, present, zoneless=readers_runtime().zoneless_timestamps)

    def close(self) -> None:
        """Release held rows; the JVM stays for other runs of this process."""
        for engine in self._engines.values():
            engine.release()

    def probe(self, table: str, source: SourceTable, read: LakeRead, cursor: str | None) -> Probe:
        """Return what a read of a table's files holds. Raises: see `ports.Lake`."""
        engine = self._started()
        with engine.at_work(table):
            return probe_of(engine, source, read, f"tables.{table}", cursor)

    def create_mirror(self, merge: MirrorMerge) -> None:
        """Create the mirror where it is missing, and follow its source's columns."""
        self._prepare_mirror(merge)

    def digests(
        self, table: str, mirror: TableHistory, columns: Sequence[str], slicing: Slicing
    ) -> Mapping[int, SliceDigest]:
        """Return what each slice of a mirror holds in `columns` at its current snapshot: one scan."""
        if mirror.current is None:
            return {}
        engine, types = self._started(), {name: mirror.columns[name] for name in columns}
        with engine.at_work(table):
            relation = engine.table(table, mirror.current.snapshot_id)
            return engine.slice_digests(relation, types, slicing)

    def mirror_differences(self, comparison: MirrorComparison) -> Differences:
        """Return which rows of a mirror's slices are not as the source has them."""
        return mirror_differences(self._started(), comparison)

    def mart_differences(self, maintenance: MartMaintenance) -> Verified:
        """Return how a mart compares with its join, both counted and then row by row."""
        return mart_differences(self._started(), maintenance)

    def snapshot_differences(self, table: str, history: TableHistory, snapshot_id: int) -> Differences:
        """Return which rows of a table are not as an earlier snapshot has them, in its present columns."""
        engine, current = self._started(), history.current
        with engine.at_work(table):
            sides = Sides(
                new=engine.table(table, snapshot_id),
                old=engine.table(table, None if current is None else current.snapshot_id),
                key=history.key,
                columns=[name for name in history.columns if name not in LINEAGE_NAMES],
                null_safe=True,
            )
            return counted(engine, differences_sql(engine.dialect, sides), history.key)

    def reject(self, table: str, rows: Sequence[RejectedRow]) -> Sequence[RejectedRow]:
        """Keep rejected rows of a mirror for good, each once; return those that this run brought.

        Raises: see `ports.Lake`.
        """
        return self._rejected.add(table, rows)

    def merge(self, merge: MirrorMerge) -> Merged:
        """Commit one mirror's change and its state in one snapshot (R1). Raises: see `ports.Lake`."""
        return merge_mirror(self._writer(self._prepare_mirror(merge)), merge)

    def maintain(self, maintenance: MartMaintenance) -> Merged:
        """Commit what makes the mart equal its join again. Raises: see `ports.Lake`."""
        shape = maintenance.shape
        join = planned_join(self._started(), maintenance)
        text = {DEFINITION + maintenance.state.definition: maintenance.definition}
        properties = {**maintenance.properties, **(text if maintenance.definition else {})}
        with effect():
            schema_id = self._prepare(
                shape.name, join.columns, shape.key, maintenance.base, properties, exact=True
            )
        return maintain_mart(self._writer(schema_id), join)

    def _prepare_mirror(self, merge: MirrorMerge) -> int | None:
        source = merge.source
        with effect():
            return self._prepare(
                merge.table, source.columns, source.primary_key, merge.base, merge.properties
            )

    def _prepare(  # noqa: PLR0913  (what a table is made of)
        self,
        table: str,
        columns: Sequence[Column],
        key: Sequence[str],
        base: TableHistory | None,
        properties: Mapping[str, str],
        *,
        exact: bool = False,
    ) -> int | None:
        """Bring the table's columns to what its rows need, and its properties to the settings.

        `exact` drops all others, and recreates what cannot be widened. Return the id of its columns.

        Raises: SchemaChangeError; CommitConflictError where another tool changed the columns meanwhile.
        """
        optional = not readers_runtime().required_columns
        if base is None:
            columns = [replace(column, nullable=optional or column.nullable) for column in columns]
            return self._catalog.create(table, (*columns, *LINEAGE), key, {**TABLE_PROPERTIES, **properties})
        schema_id = base.schema_id
        others = {name: text for name, text in properties.items() if base.properties.get(name) != text}
        # The format's version is none of the table's own properties, and stays.
        others.pop("format-version", None)
        if others:
            self._catalog.set_properties(table, others)
        # A join that was inner and is left now makes NULL of the other side's key.
        null_keys = any(column.nullable for column in columns if column.name in key)
        if base.has_required and (optional or null_keys):
            schema_id = self._catalog.make_optional(table, schema_id)
        present = {name: kind for name, kind in base.columns.items() if name not in LINEAGE_NAMES}
        # What is computed again need not be followed.
        unlike = incompatible_columns(columns, present, key) if exact else ()
        present = {name: kind for name, kind in present.items() if name not in unlike}
        change = schema_change(table, columns, present, key)
        if exact:
            change = replace(change, dropped=(*change.absent, *unlike))
        return self._catalog.evolve(table, change, schema_id)

    def _writer(self, schema_id: int | None) -> Writer:
        return Writer(self._started(), self._rejected, self._run_id, self._clock, schema_id)

    def _started(self) -> Engine:
        with self._starting:
            if self._chosen not in self._engines:
                self._engines[self._chosen] = opened(self._chosen, self._config, self._run_id, self._board)
                crash_point("engine-started")
            return self._engines[self._chosen]


def opened(engine: str, config: Config, run_id: str, board: Board) -> Engine:
    """Return an engine, started; what it stands on is not imported before. Raises: MissingPartError."""
    if engine == IN_PROCESS:
        from iceberg_datamart.lake.in_process.engine import InProcessEngine  # noqa: PLC0415

        return InProcessEngine(config, run_id, board)
    with board.work("Spark", STARTING):
        from iceberg_datamart.lake.spark.engine import SparkEngine  # noqa: PLC0415

        return SparkEngine(config, run_id, board)
