"""The connection through which a source's tables are looked at, and the snapshot that every read imports."""

from __future__ import annotations

from contextlib import closing, contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any

import psycopg

from iceberg_datamart.core.source.reads import QueryRead
from iceberg_datamart.sources.postgres.connection import (
    awaited,
    awaited_with_options,
    connection_parameters,
    export_snapshot,
    importing,
    transaction,
    translated,
)
from iceberg_datamart.sources.postgres.horizon import look_at
from iceberg_datamart.sources.postgres.jdbc import credentials_of, jdbc_text, jdbc_url
from iceberg_datamart.sources.postgres.settings import settings_for
from iceberg_datamart.sources.postgres.storage import at_point

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import sql

    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.core.settings.model import PostgresSource
    from iceberg_datamart.core.state.watermark import Horizon
    from iceberg_datamart.sources.postgres.locks import Locks


class Point:
    """A source's connection; from `pin` on, another one that holds the snapshot open."""

    def __init__(self, name: str, config: PostgresSource) -> None:
        """Connect. Raises: SourceUnreachableError, SourceRefusedError."""
        self._name, self._config = name, config
        self._url = jdbc_url(config)
        self._lock = RLock()
        self.connection = awaited(name, config)
        self._credentials = credentials_of(config, self.connection.info.password)
        self._parameters = connection_parameters(config) | self._credentials
        self._recipe = settings_for(self.connection)
        self._snapshot: str | None = None
        self.horizon: Horizon | None = None

    def pin(self, locks: Locks) -> tuple[Horizon, str | None]:
        """Take the horizon, then export the snapshot, in this order (R7).

        Return the horizon, and what cannot be seen, as `Look.blind` says it. The locks stand before both, and
        the snapshot's connection takes them over. The look at other sessions is another connection's: it must
        not take the snapshot before it has looked. Raises: SourceError.
        """
        guard = self.connection
        self.connection, options = awaited_with_options(self._name, self._config, guard)
        self._url = jdbc_url(self._config, options)
        try:
            with closing(guard):
                with transaction(guard):
                    look = look_at(guard)
                self._snapshot = export_snapshot(self.connection, self._name)
                locks.hand_over(self.connection)
        except psycopg.Error as error:
            raise translated(self._name, error) from error
        with self.savepoint():
            self.horizon = at_point(self.connection, look.horizon)
        return self.horizon, look.blind

    @contextmanager
    def savepoint(self) -> Iterator[psycopg.Connection[Any]]:
        """Keep the snapshot usable for the other tables when a statement of one table fails (R9)."""
        try:
            with self._lock, transaction(self.connection):
                yield self.connection
        except psycopg.Error as error:
            raise translated(self._name, error) from error

    def fetched(self, query: sql.Composed) -> list[tuple[Any, ...]]:
        """Return the rows of a query. Raises: SourceError."""
        with self.savepoint() as connection:
            return connection.execute(query).fetchall()

    def read(
        self,
        query: sql.Composed,
        columns: tuple[Column, ...],
        predicates: tuple[str, ...] = ("true",),
        deleted: str | None = None,
    ) -> QueryRead:
        """Return how the rows of a derived table are to be read at this point."""
        text = query.as_string(None)
        return QueryRead(
            url=self._url,
            relation=jdbc_text(text),
            predicates=predicates,
            session=importing(self._snapshot, self._recipe),
            columns=columns,
            deleted=deleted,
            credentials=self._credentials,
            query=text,
            parameters=self._parameters,
        )

    def close(self) -> None:
        """End the snapshot; no read can import it from here on."""
        self.connection.close()
