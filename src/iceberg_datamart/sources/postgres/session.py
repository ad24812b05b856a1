"""PostgreSQL as a source: one consistent point for all tables, windows pushed into the query."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from iceberg_datamart.core.report.progress import Board
from iceberg_datamart.sources.postgres.connection import translated
from iceberg_datamart.sources.postgres.describing import described
from iceberg_datamart.sources.postgres.locks import Locks
from iceberg_datamart.sources.postgres.point import Point
from iceberg_datamart.sources.postgres.table import PostgresTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iceberg_datamart.core.settings.model import PostgresSource, TableConfig
    from iceberg_datamart.core.state.watermark import Horizon
    from iceberg_datamart.errors import DatamartError
    from iceberg_datamart.sources.postgres.table_sql import TableSql


class PostgresSession:
    """One connection that holds one snapshot open; every read of a run imports it."""

    def __init__(self, name: str, config: PostgresSource, board: Board | None = None) -> None:
        """Connect. Raises: SourceUnreachableError, SourceRefusedError.

        Waits for locks are told on `board`.
        """
        self._name, self._point = name, Point(name, config)
        self._locks = Locks(name, self._point.connection, config.lock_wait_seconds, board or Board())
        self._described: dict[str, TableSql] = {}
        self.warnings: list[str] = []

    def lock(self, tables: Mapping[str, TableConfig]) -> dict[str, DatamartError]:
        """Lock the tables until `close`; return those that are not, with the reason (R16)."""
        try:
            return self._locks.take(tables)
        except psycopg.Error as error:
            raise translated(self._name, error) from error

    def describe(self, table: str, config: TableConfig) -> PostgresTable:
        """Return the table, with the columns, key and identity that the server's catalog says.

        Raises: SourceTableMissingError, UnfitValueError for a numeric that needs a type, SourceError.
        """
        with self._point.savepoint() as connection:
            self._described[table] = described(connection, table, config)
        return PostgresTable(self._point, self._described[table])

    def pin_snapshot(self) -> Horizon:
        """Take the horizon, then export the snapshot; return the horizon. Raises: SourceError."""
        horizon, blind = self._point.pin(self._locks)
        unseen = [] if blind is None else [f"source '{self._name}' {blind}"]
        self.warnings = [*unseen, *filter(None, (table.elsewhere for table in self._described.values()))]
        return horizon

    def close(self) -> None:
        """End the snapshot; no read can import it from here on."""
        self._point.close()
