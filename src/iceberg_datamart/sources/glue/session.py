"""The Glue Data Catalog as a source: it says where a table is, and the table is read there.

Tables that were crawled from PostgreSQL are read through their Glue connection by a session of
PostgreSQL itself: its windows are pushed down, and its horizon and its snapshot hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.errors import DatamartError, SourceError, SourceTableMissingError
from iceberg_datamart.sources.glue.catalog import GlueCatalog
from iceberg_datamart.sources.glue.connection import crawled_table, database_of, postgres_source
from iceberg_datamart.sources.glue.files import GlueFiles
from iceberg_datamart.sources.glue.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from iceberg_datamart.core.settings.model import GlueSource, PostgresSource, SourceName, TableConfig
    from iceberg_datamart.core.state.watermark import Horizon
    from iceberg_datamart.ports import DescribedTable, SourceSession
    from iceberg_datamart.sources.glue.catalog import GlueTable

_POSTGRES = "postgresql"


class GlueSession:
    """One database of the catalog; its tables in PostgreSQL are read at one consistent point."""

    def __init__(
        self, name: str, config: GlueSource, open_postgres: Callable[[str, PostgresSource], SourceSession]
    ) -> None:
        """Open the catalog; what it leads to is opened by the first table that is there.

        Raises: SourceError.
        """
        self._name, self._catalog = name, GlueCatalog(name, config.database)
        self._patience = config.lock_wait_seconds
        self._files: SourceSession = GlueFiles(self._catalog)
        self._open_postgres = open_postgres
        self._connection: str | None = None
        self._postgres: PostgresSource | None = None
        self._session: SourceSession | SourceError | None = None
        # The sessions that described a table, in their order.
        self._used: list[SourceSession] = []

    @property
    def warnings(self) -> Sequence[str]:
        """Return what is to be known of the consistent point."""
        return [text for session in self._used for text in session.warnings]

    def lock(self, tables: Mapping[str, TableConfig]) -> Mapping[str, DatamartError]:
        """Lock the tables that were crawled in PostgreSQL; return those that are not, with the reason."""
        failed: dict[str, DatamartError] = {}
        wanted: dict[SourceSession, dict[str, TableConfig]] = {}
        for table, config in tables.items():
            try:
                session, placed = self._placed(table, config)
            except DatamartError as error:
                failed[table] = error
                continue
            wanted.setdefault(session, {})[table] = placed
        for session, placed_tables in wanted.items():
            try:
                failed |= session.lock(placed_tables)
            except SourceError as error:  # noqa: PERF203  (a few sessions)
                failed |= dict.fromkeys(placed_tables, error)
        return failed

    def describe(self, table: str, config: TableConfig) -> DescribedTable:
        """Return the table as PostgreSQL describes it where it was crawled there, the catalog, or Iceberg.

        Raises: SourceTableMissingError, SourceError.
        """
        session, placed = self._placed(table, config)
        described = session.describe(table, placed)
        if session not in self._used:
            self._used.append(session)
        return described

    def _placed(self, table: str, config: TableConfig) -> tuple[SourceSession, TableConfig]:
        """Return the session that reads a table, and its settings there. Raises: SourceError."""
        found = self._catalog.table(table, config.from_.table)
        if found.is_iceberg or found.classification in FORMATS:
            return self._files, config
        session, place = self._crawled(found)
        return session, config.model_copy(update={"from_": place})

    def pin_snapshot(self) -> Horizon:
        """Take PostgreSQL's horizon, then its consistent point; return the horizon, the least of all.

        Raises: SourceError.
        """
        # Without any table nothing is read, and a horizon of the files' kind does no harm.
        found = [session.pin_snapshot() for session in self._used or [self._files]]
        return min(found, key=lambda horizon: horizon.instant)

    def close(self) -> None:
        """Give the consistent point up."""
        if isinstance(self._session, SourceError) or self._session is None:
            return
        self._session.close()

    def _crawled(self, found: GlueTable) -> tuple[SourceSession, SourceName]:
        """Return the session of PostgreSQL, and the table there that a crawler found. Raises: SourceError."""
        connection = crawled_through(found)
        if self._connection is None:
            found_source = postgres_source(self._name, connection, self._catalog.connection(connection))
            self._postgres = found_source.model_copy(update={"lock_wait_seconds": self._patience})
            self._connection = connection
        if self._connection != connection:
            message = (
                f"Glue table '{found.name}' was crawled through connection '{connection}', others of source "
                f"'{self._name}' through '{self._connection}': one source is one database"
            )
            hint = f"Give the tables of '{connection}' a source of their own, with the same Glue database."
            raise SourceError(message, hint=hint)
        assert self._postgres is not None  # noqa: S101  (set with the connection)
        place = crawled_table(f"Glue table '{found.name}'", found.location, database_of(self._postgres))
        return self._session_for(self._postgres), place

    def _session_for(self, postgres: PostgresSource) -> SourceSession:
        """Return the session of all tables; where it cannot be opened, that is tried once for all."""
        if self._session is None:
            try:
                self._session = self._open_postgres(self._name, postgres)
            except SourceError as error:
                self._session = error
        if isinstance(self._session, SourceError):
            raise self._session
        return self._session


def crawled_through(found: GlueTable) -> str:
    """Return the connection by which a table was crawled. Raises: SourceError for one that is not read."""
    what = f"Glue table '{found.name}'"
    if found.classification != _POSTGRES:
        kind = f"has classification '{found.classification}'" if found.classification else "has none"
        raise SourceError(
            f"{what} {kind}, which is not read",
            hint=f"Known are {_POSTGRES}, for tables crawled through a connection, {', '.join(FORMATS)}, "
            "and Iceberg tables.",
        )
    if found.connection is None:
        hint = "Crawl it through a Glue connection: the table's parameter connectionName then names it."
        raise SourceError(f"{what} does not say through which Glue connection it is read", hint=hint)
    return found.connection


def postgres_behind(
    name: str, config: GlueSource, tables: Mapping[str, TableConfig]
) -> PostgresSource | None:
    """Return the database that source `name` leads its `tables` to; None where they lead to none.

    Raises: SourceError.
    """
    catalog = GlueCatalog(name, config.database)
    for table, settings in tables.items():
        try:
            found = catalog.table(table, settings.from_.table)
        except SourceTableMissingError:
            continue
        if found.classification == _POSTGRES:
            connection = crawled_through(found)
            return postgres_source(name, connection, catalog.connection(connection))
    return None
