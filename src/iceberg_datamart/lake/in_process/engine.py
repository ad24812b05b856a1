"""DuckDB, Arrow and PyIceberg as the lake's engine: all of it within this process."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from threading import local
from typing import TYPE_CHECKING, Any

from iceberg_datamart.core.changes import Append
from iceberg_datamart.core.columns import Column, types_of
from iceberg_datamart.core.engines import IN_PROCESS
from iceberg_datamart.core.report.progress import Board
from iceberg_datamart.core.source.reads import QueryRead
from iceberg_datamart.core.sql.duckdb import DUCKDB
from iceberg_datamart.core.sql.spark import SPARK
from iceberg_datamart.core.sql.whitelist import reason_outside
from iceberg_datamart.errors import NeedsSparkError
from iceberg_datamart.lake.in_process.digests import digest_of, digests_sql, in_slices
from iceberg_datamart.lake.in_process.failures import translating
from iceberg_datamart.lake.in_process.query_read import read_into_table
from iceberg_datamart.lake.in_process.rewriting import Rewriting
from iceberg_datamart.lake.in_process.scans import require_distinct_names
from iceberg_datamart.lake.in_process.session import Session
from iceberg_datamart.lake.in_process.staging import Staging
from iceberg_datamart.lake.in_process.tables import Tables
from iceberg_datamart.lake.in_process.types import iceberg_type
from iceberg_datamart.lake.in_process.writing import Writing
from iceberg_datamart.lake.opening import open_catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from iceberg_datamart.core.changes import Change
    from iceberg_datamart.core.settings.model import Config
    from iceberg_datamart.core.source.reads import FilesRead, Read, SourceTable
    from iceberg_datamart.core.source.slices import SliceDigest, Slices, Slicing
    from iceberg_datamart.core.upkeep.layout import Rewrite
    from iceberg_datamart.lake.engine import Staged


class InProcessEngine:
    """One DuckDB for one run; see `lake.engine.Engine` for what each method does.

    NeedsSparkError is raised for all that it is not known to do as Spark does.
    """

    name = IN_PROCESS
    reads_later = False
    dialect = DUCKDB

    def __init__(self, config: Config, run_id: str, board: Board | None = None) -> None:
        """Open the catalog, and DuckDB."""
        self.board, self._here = board or Board(), local()
        self._names = (config.catalog.name, config.database)
        self._tables = Tables(open_catalog(config.catalog), config.database)
        self._staging = Staging(self._tables, run_id, self.board)
        self._session = Session(config.run.memory)
        self._tables.attach(self._session.database)
        self._writing = Writing(self._session, self._tables, self._staging)
        self._rewriting = Rewriting(self._session, self._tables, self._staging)

    @contextmanager
    def at_work(self, table: str) -> Iterator[None]:  # noqa: D102  (as in the protocol, and so below)
        self._here.table = table
        with translating(table):
            yield

    def table(self, name: str, snapshot_id: int | None = None) -> str:  # noqa: D102
        return self._tables.relation(name, snapshot_id)

    def spelled(self, name: str) -> str:  # noqa: D102
        return SPARK.quoted(*self._names, name)

    def present(self, name: str) -> str | None:  # noqa: D102
        return self._tables.present(name)

    def as_it_was(self, name: str, snapshot_id: int) -> str:  # noqa: D102
        return self._tables.as_it_was(name, snapshot_id)

    def read(self, read: Read, source: SourceTable) -> str:  # noqa: D102
        if not isinstance(read, QueryRead):
            raise NeedsSparkError("files and Iceberg sources are not read in process")
        return read_into_table(self._session, read, source, self._counting())

    def _counting(self) -> Callable[[int], None]:
        """Return what counts rows of the table that this thread is at work on."""
        return partial(self.board.count, getattr(self._here, "table", ""))

    def require_whole_lines(self, read: FilesRead) -> None:  # noqa: ARG002, D102
        raise NeedsSparkError("files are not read in process")

    def define(self, select: str) -> str:  # noqa: D102
        return f"({select})"

    def hold(self, select: str) -> str:  # noqa: D102
        return self._session.kept(select)

    def settle(self, select: str) -> str:  # noqa: D102
        return self._session.kept(select)

    def give_up(self, relation: str) -> None:  # noqa: D102
        self._session.give_up(relation)

    def release(self) -> None:  # noqa: D102
        self._session.close()

    def columns(self, select: str) -> tuple[Column, ...]:  # noqa: D102
        found = self._session.described(select)
        require_distinct_names(name for name, _ in found)
        return tuple(Column(name, iceberg_type(kind)) for name, kind in found)

    def require_row_local(  # noqa: D102
        self, select: str, text: str, place: str, *, is_filter: bool = False
    ) -> None:
        # Nothing else is on the whitelist.
        types = types_of(self.columns(select))
        reason = reason_outside(text, types, is_predicate=is_filter)
        if reason is not None:
            raise NeedsSparkError(f"{place}: {reason}")

    def fetch(self, select: str) -> list[tuple[Any, ...]]:  # noqa: D102
        return self._session.fetched(select)

    def slice_digests(  # noqa: D102
        self, relation: str, columns: Mapping[str, str], slicing: Slicing
    ) -> dict[int, SliceDigest]:
        found = self._session.fetched(digests_sql(relation, columns, slicing))
        return {row[0]: digest_of(row) for row in found}

    def in_slices(self, slices: Slices) -> str:  # noqa: D102
        return in_slices(slices)

    def stage(self, change: Change, summary: Mapping[str, str]) -> Staged:  # noqa: D102
        if isinstance(change, Append):
            return self._writing.append(change, summary)
        return self._writing.merge(change, summary)

    def stamp(self, table: str, summary: Mapping[str, str]) -> Staged:  # noqa: D102
        return self._staging.stamp(table, summary)

    def rewrite(self, rewrite: Rewrite, summary: Mapping[str, str]) -> Staged:  # noqa: D102
        return self._rewriting.rewrite(rewrite, summary)

    def publish(self, staged: Staged) -> None:  # noqa: D102
        self._staging.publish(staged)

    def ancestors(self, table: str) -> set[int]:  # noqa: D102
        return self._staging.ancestors(table)
