"""Spark and Iceberg's Java library as the lake's engine."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from iceberg_datamart.core import engines
from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.report.progress import Board
from iceberg_datamart.core.source.reads import IcebergRead, QueryRead, as_held
from iceberg_datamart.core.sql.spark import SPARK
from iceberg_datamart.lake.spark.analysis import require_row_local
from iceberg_datamart.lake.spark.csv_lines import require_whole_lines
from iceberg_datamart.lake.spark.digests import in_slices, slice_digests
from iceberg_datamart.lake.spark.failures import translating
from iceberg_datamart.lake.spark.files import file_patterns, files_frame
from iceberg_datamart.lake.spark.iceberg_source import iceberg_frame
from iceberg_datamart.lake.spark.jdbc import jdbc_frame
from iceberg_datamart.lake.spark.relations import Relations
from iceberg_datamart.lake.spark.session import activate, open_session
from iceberg_datamart.lake.spark.staging import Staging
from iceberg_datamart.lake.spark.types import iceberg_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyspark.sql import DataFrame

    from iceberg_datamart.core.changes import Change
    from iceberg_datamart.core.settings.model import Config
    from iceberg_datamart.core.source.reads import FilesRead, Read, SourceTable
    from iceberg_datamart.core.source.slices import SliceDigest, Slices, Slicing
    from iceberg_datamart.core.upkeep.layout import Rewrite
    from iceberg_datamart.lake.engine import Staged


class SparkEngine:
    """One Spark session; see `lake.engine.Engine` for what each method does."""

    name = engines.SPARK
    reads_later = True
    dialect = SPARK

    def __init__(self, config: Config, run_id: str, board: Board | None = None) -> None:
        """Start Spark, or join the session that is there. Raises: MissingPartError."""
        self.board = board or Board()
        self._session = open_session(config)
        self._staging = Staging(self._session, run_id)
        self._relations = Relations(self._session, config.catalog.name, config.database)

    @contextmanager
    def at_work(self, table: str) -> Iterator[None]:  # noqa: D102  (as in the protocol, and so below)
        activate(self._session)
        with translating(self._session, table):
            yield

    def table(self, name: str, snapshot_id: int | None = None) -> str:  # noqa: D102
        return self._relations.table(name, snapshot_id)

    def spelled(self, name: str) -> str:  # noqa: D102
        return self._relations.table(name)

    def present(self, name: str) -> str | None:  # noqa: D102
        return self._relations.present(name)

    def as_it_was(self, name: str, snapshot_id: int) -> str:  # noqa: D102
        return self._relations.as_it_was(name, snapshot_id)

    def read(self, read: Read, source: SourceTable) -> str:  # noqa: D102
        return self._relations.add(self._frame(read, source))

    def _frame(self, read: Read, source: SourceTable) -> DataFrame:
        if isinstance(read, QueryRead):
            return jdbc_frame(self._session, as_held(read, source))
        if isinstance(read, IcebergRead):
            return iceberg_frame(self._session, as_held(read, source))
        return files_frame(self._session, as_held(read, source))

    def require_whole_lines(self, read: FilesRead) -> None:  # noqa: D102
        require_whole_lines(self._session, read, file_patterns(read))

    def define(self, select: str) -> str:  # noqa: D102
        return self._relations.add(self._session.sql(select))

    def hold(self, select: str) -> str:  # noqa: D102
        return self._relations.hold(self._session.sql(select))

    def settle(self, select: str) -> str:  # noqa: D102
        # Persisted rows are computed again where an executor is lost, and their plan stays in later ones.
        return self._relations.add(self._session.sql(select).localCheckpoint())

    def give_up(self, relation: str) -> None:  # noqa: D102
        self._relations.give_up(relation)

    def release(self) -> None:  # noqa: D102
        self._relations.release()

    def columns(self, select: str) -> tuple[Column, ...]:  # noqa: D102
        fields = self._session.sql(select).schema
        return tuple(Column(field.name, iceberg_type(field.dataType.simpleString())) for field in fields)

    def require_row_local(  # noqa: D102
        self, select: str, text: str, place: str, *, is_filter: bool = False
    ) -> None:
        require_row_local(self._session.sql(select), text, place, is_filter=is_filter)

    def fetch(self, select: str) -> list[tuple[Any, ...]]:  # noqa: D102
        # As tuples: `in` asks a Row for its columns' names.
        return [tuple(row) for row in self._session.sql(select).collect()]

    def slice_digests(  # noqa: D102
        self, relation: str, columns: Mapping[str, str], slicing: Slicing
    ) -> dict[int, SliceDigest]:
        return slice_digests(self._session, relation, columns, slicing)

    def in_slices(self, slices: Slices) -> str:  # noqa: D102
        return in_slices(slices)

    def stage(self, change: Change, summary: Mapping[str, str]) -> Staged:  # noqa: D102
        return self._staging.stage(change, self.table(change.table), summary)

    def stamp(self, table: str, summary: Mapping[str, str]) -> Staged:  # noqa: D102
        return self._staging.stamp(table, self.table(table), summary)

    def rewrite(self, rewrite: Rewrite, summary: Mapping[str, str]) -> Staged:  # noqa: D102
        return self._staging.rewrite(rewrite, self.table(rewrite.table), summary)

    def publish(self, staged: Staged) -> None:  # noqa: D102
        self._staging.publish(staged, self.table(staged.table))

    def ancestors(self, table: str) -> set[int]:  # noqa: D102
        return self._staging.ancestors(self.table(table))
