"""Tables whose pointer names a metadata file that is gone are set back to the file before it.

So a table is left where a catalog client took its own commit for a failed one and cleaned up after it:
https://github.com/apache/iceberg/issues/7151, https://github.com/apache/iceberg/issues/9411
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.serializers import FromInputFile
from sqlalchemy import select, update

from iceberg_datamart.errors import CommitConflictError, LakeError, MetadataMissingError
from iceberg_datamart.lake.catalog import answering, open_catalog, while_unreachable

if TYPE_CHECKING:
    from pyiceberg.io import FileIO
    from sqlalchemy import ColumnElement

    from iceberg_datamart.config import CatalogConfig

ABSENT, SOUND, BROKEN, REPAIRED = "absent", "sound", "broken", "repaired"


@dataclass(frozen=True)
class Finding:
    """What was found of one table, and done: `absent`, `sound`, `broken` (left so), or `repaired`.

    `missing` is the file that the pointer named, `previous` the one that it is set back to.
    """

    outcome: str
    missing: str | None = None
    previous: str | None = None


class PointerRepair:
    """The pointers of one database in a SQL catalog."""

    def __init__(self, config: CatalogConfig, database: str) -> None:
        """Open the catalog. Raises: LakeError for a catalog of another type."""
        catalog = open_catalog(config)
        if not isinstance(catalog, SqlCatalog):
            message = f"this version repairs tables in catalogs of type sql, not {config.type}"
            hint = (
                "By hand: let the table's metadata_location name the newest file *.metadata.json that "
                "exists, mostly the one in previous_metadata_location; then run again."
            )
            raise LakeError(message, hint=hint)
        self._catalog, self._database = catalog, database

    def repaired(self, table: str, *, dry_run: bool) -> Finding:
        """Return what was found of a table, mended unless `dry_run`.

        The next run reads from the watermark that the older state records (R4), so nothing is lost.
        Raises: MetadataMissingError where the file before it is gone as well, CommitConflictError where
        the pointer moved meanwhile, CatalogUnreachableError.
        """
        current, previous = while_unreachable(self._pointer, table)
        if current is None:
            return Finding(ABSENT)
        io = self._catalog._load_file_io(location=current)  # noqa: SLF001  (as its load_table does)
        if io.new_input(current).exists():
            return Finding(SOUND)
        if previous is None or not io.new_input(previous).exists():
            raise _beyond_repair(table, current, previous)
        if dry_run:
            return Finding(BROKEN, current, previous)
        self._set_back(table, current, previous, _before(io, previous))
        return Finding(REPAIRED, current, previous)

    def _pointer(self, table: str) -> tuple[str | None, str | None]:
        """Return the current and the previous metadata file, None for what there is not."""
        columns = IcebergTables.metadata_location, IcebergTables.previous_metadata_location
        with answering(table), self._catalog.engine.connect() as connection:
            row = connection.execute(select(*columns).where(*self._row_of(table))).first()
        return (None, None) if row is None else (row[0], row[1])

    def _set_back(self, table: str, broken: str, previous: str, before: str | None) -> None:
        """Let the pointer name `previous` if it still names `broken`."""
        moved = (
            update(IcebergTables)
            .where(*self._row_of(table), IcebergTables.metadata_location == broken)
            .values(metadata_location=previous, previous_metadata_location=before)
        )
        with answering(table), self._catalog.engine.begin() as connection:
            if connection.execute(moved).rowcount != 1:
                message = f"{table}: the pointer moved while it was repaired"
                raise CommitConflictError(message, hint="Look at it again: `iceberg-datamart status`.")

    def _row_of(self, table: str) -> tuple[ColumnElement[bool], ...]:
        return (
            IcebergTables.catalog_name == self._catalog.name,
            IcebergTables.table_namespace == self._database,
            IcebergTables.table_name == table,
        )


def _before(io: FileIO, metadata_file: str) -> str | None:
    """Return the file that a metadata file says it replaced."""
    log = FromInputFile.table_metadata(io.new_input(metadata_file)).metadata_log
    return log[-1].metadata_file if log else None


def _beyond_repair(table: str, current: str, previous: str | None) -> MetadataMissingError:
    also = "no file before it is known" if previous is None else f"so is the one before it, {previous}"
    message = f"{table}: the metadata file {current} is gone, and {also}"
    hint = (
        f"Restore one of them (S3: an older version of the object). Else drop the table from the catalog, "
        f"keeping its files, and run with --load-type full: '{table}' is filled anew."
    )
    return MetadataMissingError(message, hint=hint)
