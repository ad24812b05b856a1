"""Tables whose pointer names a metadata file that is gone are set back to the file before it.

So a table is left where a catalog client took its own commit for a failed one and cleaned up after it:
https://github.com/apache/iceberg/issues/7151, https://github.com/apache/iceberg/issues/9411
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyiceberg.serializers import FromInputFile

from iceberg_datamart.core.report.repair import ABSENT, BROKEN, REPAIRED, SOUND, Finding
from iceberg_datamart.errors import CommitConflictError, MetadataMissingError
from iceberg_datamart.lake.answering import while_unreachable
from iceberg_datamart.lake.opening import open_catalog
from iceberg_datamart.lake.pointers import Pointer, pointers_of

if TYPE_CHECKING:
    from pyiceberg.io import FileIO

    from iceberg_datamart.core.settings.model import CatalogConfig


class PointerRepair:
    """The pointers of one database, set right."""

    def __init__(self, config: CatalogConfig, database: str) -> None:
        """Open the catalog. Raises: LakeError for a type whose pointers its server alone can move."""
        self._catalog = open_catalog(config)
        self._pointers = pointers_of(self._catalog, database)

    def repaired(self, table: str, *, dry_run: bool) -> Finding:
        """Return what was found of a table, corrected unless `dry_run`.

        The next run reads from the watermark that the older state records (R4), so nothing is lost.
        Raises: MetadataMissingError where the file before it is gone as well, CommitConflictError where
        the pointer moved meanwhile, CatalogUnreachableError.
        """
        found = while_unreachable(self._pointers.read, table)
        if found is None:
            return Finding(ABSENT)
        io = self._catalog._load_file_io(location=found.current)  # noqa: SLF001  (as its load_table does)
        if io.new_input(found.current).exists():
            return Finding(SOUND)
        if found.previous is None or not io.new_input(found.previous).exists():
            raise _beyond_repair(table, found.current, found.previous)
        if dry_run:
            return Finding(BROKEN, found.current, found.previous)
        if not self._pointers.move(table, found, Pointer(found.previous, _before(io, found.previous))):
            message = f"{table}: the pointer moved while it was repaired"
            raise CommitConflictError(message, hint="Look at it again: `iceberg-datamart status`.")
        return Finding(REPAIRED, found.current, found.previous)


def _before(io: FileIO, metadata_file: str) -> str | None:
    """Return the file that a metadata file says it replaced."""
    log = FromInputFile.table_metadata(io.new_input(metadata_file)).metadata_log
    return log[-1].metadata_file if log else None


def _beyond_repair(table: str, current: str, previous: str | None) -> MetadataMissingError:
    also = "no file before it is known" if previous is None else f"so is the one before it, {previous}"
    message = f"{table}: the metadata file {current} is gone, and {also}"
    hint = (
        f"Restore one of them (S3: an older version of the object). Else drop the table from the catalog, "
        f"keeping its files, and run with --load-type full: '{table}' is filled again."
    )
    return MetadataMissingError(message, hint=hint)
