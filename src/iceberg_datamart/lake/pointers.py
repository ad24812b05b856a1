"""The catalog's own pointer to a table's metadata file: read, and moved by compare-and-swap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from sqlalchemy import select, update

from iceberg_datamart.errors import LakeError
from iceberg_datamart.lake.answering import answering

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from sqlalchemy import ColumnElement

_CURRENT, _PREVIOUS = "metadata_location", "previous_metadata_location"
# What GetTable returns and UpdateTable takes back:
# https://docs.aws.amazon.com/glue/latest/webapi/API_TableInput.html
_TABLE_INPUT = (
    *("Name", "Description", "Owner", "Retention", "StorageDescriptor", "PartitionKeys"),
    *("ViewOriginalText", "ViewExpandedText", "TableType", "Parameters", "TargetTable"),
)


@dataclass(frozen=True)
class Pointer:
    """The metadata file that a catalog names, the one before it, and the catalog's version of this."""

    current: str
    previous: str | None
    version: str | None = None


class Pointers(Protocol):
    """The pointers of one database."""

    def read(self, table: str) -> Pointer | None:
        """Return a table's pointer; None where there is no table. Raises: CatalogUnreachableError."""

    def move(self, table: str, known: Pointer, to: Pointer) -> bool:
        """Replace the pointer if it is as `known` still; return whether it was."""


def pointers_of(catalog: Catalog, database: str) -> Pointers:
    """Return the pointers of a catalog. Raises: LakeError for a type whose pointers are its server's."""
    if isinstance(catalog, SqlCatalog):
        return SqlPointers(catalog, database)
    from pyiceberg.catalog.glue import GlueCatalog  # noqa: PLC0415  (boto3 is slow to import)

    if isinstance(catalog, GlueCatalog):
        return GluePointers(catalog.glue, database)
    message = f"pointers of a {type(catalog).__name__} can be moved by its own server alone"
    hint = (
        f"By hand: let the table's {_CURRENT} name the newest file *.metadata.json that exists, mostly "
        f"the one in {_PREVIOUS}; then run again."
    )
    raise LakeError(message, hint=hint)


class SqlPointers:
    """The rows of a SQL catalog's own table."""

    def __init__(self, catalog: SqlCatalog, database: str) -> None:
        """Take the catalog as it is."""
        self._catalog, self._database = catalog, database

    def read(self, table: str) -> Pointer | None:
        """Return a table's pointer."""
        columns = IcebergTables.metadata_location, IcebergTables.previous_metadata_location
        with answering(table), self._catalog.engine.connect() as connection:
            row = connection.execute(select(*columns).where(*self._row_of(table))).first()
        return None if row is None or row[0] is None else Pointer(row[0], row[1])

    def move(self, table: str, known: Pointer, to: Pointer) -> bool:
        """Replace the pointer if it is as `known` still."""
        moved = (
            update(IcebergTables)
            .where(*self._row_of(table), IcebergTables.metadata_location == known.current)
            .values(metadata_location=to.current, previous_metadata_location=to.previous)
        )
        with answering(table), self._catalog.engine.begin() as connection:
            return connection.execute(moved).rowcount == 1

    def _row_of(self, table: str) -> tuple[ColumnElement[bool], ...]:
        return (
            IcebergTables.catalog_name == self._catalog.name,
            IcebergTables.table_namespace == self._database,
            IcebergTables.table_name == table,
        )


class GluePointers:
    """The parameters of tables in the Glue Data Catalog; a table's VersionId guards them."""

    def __init__(self, glue: Any, database: str) -> None:
        """Take PyIceberg's own client, which retries what may be retried."""
        self._glue, self._database = glue, database

    def read(self, table: str) -> Pointer | None:
        """Return a table's pointer; None also for a table that is no Iceberg table."""
        found = self._table(table)
        parameters = {} if found is None else found["Parameters"]
        if found is None or _CURRENT not in parameters:
            return None
        return Pointer(parameters[_CURRENT], parameters.get(_PREVIOUS), found.get("VersionId"))

    def move(self, table: str, known: Pointer, to: Pointer) -> bool:
        """Replace the pointer if it is as `known` still."""
        found = self._table(table)
        if found is None or found["Parameters"].get(_CURRENT) != known.current:
            return False
        parameters = {**found["Parameters"], _CURRENT: to.current}
        parameters.pop(_PREVIOUS, None)
        if to.previous is not None:
            parameters[_PREVIOUS] = to.previous
        kept = {name: found[name] for name in _TABLE_INPUT if name in found}
        try:
            self._glue.update_table(
                DatabaseName=self._database,
                TableInput={**kept, "Parameters": parameters},
                VersionId=found["VersionId"],
            )
        except self._glue.exceptions.ConcurrentModificationException:
            return False
        return True

    def _table(self, table: str) -> dict[str, Any] | None:
        try:
            found = self._glue.get_table(DatabaseName=self._database, Name=table)["Table"]
        except self._glue.exceptions.EntityNotFoundException:
            return None
        return {"Parameters": {}, **found}
