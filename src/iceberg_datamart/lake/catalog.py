"""The catalog without a JVM: histories, new tables, schema changes, by PyIceberg."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import count
from typing import TYPE_CHECKING

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import NoSuchTableError, TableAlreadyExistsError
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from iceberg_datamart.errors import ConfigError
from iceberg_datamart.lake.types import iceberg_schema, iceberg_type
from iceberg_datamart.receipt import Snapshot, TableHistory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot

    from iceberg_datamart.config import CatalogConfig
    from iceberg_datamart.reading import Column
    from iceberg_datamart.schema import SchemaChange


SQLITE = "sqlite:///"


def open_catalog(config: CatalogConfig) -> Catalog:
    """Return the configured catalog. Raises: ConfigError where it cannot be opened."""
    properties = {"type": config.type, "warehouse": config.warehouse, **config.properties}
    if config.uri is not None:
        properties["uri"] = config.uri
    if config.uri is not None and config.uri.startswith(SQLITE):
        # SQLAlchemy 2.1 decodes %-signs in the path and 2.0 does not: let it undo its own quoting.
        path = URL.create("sqlite", database=config.uri.removeprefix(SQLITE))
        properties["uri"] = path.render_as_string(hide_password=False)
    try:
        return load_catalog(config.name, **properties)
    except SQLAlchemyError as error:
        message = f"catalog.uri: {config.uri} cannot be opened: {str(error).splitlines()[0]}"
        raise ConfigError(message, hint="Create its folder, or correct the address.") from error


class LakeCatalog:
    """One namespace of one Iceberg catalog."""

    def __init__(self, config: CatalogConfig, database: str) -> None:
        """Open the catalog; a SQL catalog's own tables are created where they are missing."""
        self._catalog = open_catalog(config)
        self._database = database

    def history(self, table: str) -> TableHistory | None:
        """Return the table's columns and its current snapshot's ancestors; None where there is no table."""
        try:
            found = self._load(table)
        except NoSuchTableError:
            return None
        columns = {field.name: str(field.field_type) for field in found.schema().fields}
        identifiers = found.schema().identifier_field_names()
        key = tuple(name for name in columns if name in identifiers)
        return TableHistory(columns, key, tuple(_ancestors(found)))

    def create(
        self, table: str, columns: Sequence[Column], key: Sequence[str], properties: Mapping[str, str]
    ) -> None:
        """Create an empty table with identifier fields; one that another run just created stays."""
        self._create_namespace()
        schema = iceberg_schema(columns, key)
        try:
            self._catalog.create_table((self._database, table), schema=schema, properties=dict(properties))
        except TableAlreadyExistsError:
            return

    def _create_namespace(self) -> None:
        """Create the database. PyIceberg 0.12 looks, then inserts: another run may come between."""
        try:
            self._catalog.create_namespace_if_not_exists(self._database)
        except Exception:
            if not self._catalog.namespace_exists(self._database):
                raise

    def evolve(self, table: str, change: SchemaChange) -> None:
        """Add, widen and drop columns: one metadata commit, no snapshot."""
        if not (change.added or change.widened or change.dropped):
            return
        with self._load(table).update_schema() as update:
            for column in change.added:
                update.add_column((column.name,), iceberg_type(column.type, count(1)))
            for name in change.dropped:
                update.delete_column((name,))
            for column in change.widened:
                update.update_column((column.name,), iceberg_type(column.type, count(1)))

    def _load(self, table: str) -> Table:
        return self._catalog.load_table((self._database, table))


def _ancestors(table: Table) -> list[Snapshot]:
    found = []
    current = table.current_snapshot()
    while current is not None:
        found.append(_snapshot(current))
        parent = current.parent_snapshot_id
        current = None if parent is None else table.snapshot_by_id(parent)
    return found


def _snapshot(snapshot: IcebergSnapshot) -> Snapshot:
    summary = snapshot.summary
    return Snapshot(
        snapshot_id=snapshot.snapshot_id,
        parent_id=snapshot.parent_snapshot_id,
        committed_at=datetime.fromtimestamp(snapshot.timestamp_ms / 1000, tz=timezone.utc),
        operation="" if summary is None else summary.operation.value,
        summary={} if summary is None else dict(summary.additional_properties),
    )
