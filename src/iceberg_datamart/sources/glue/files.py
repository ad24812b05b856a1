"""Tables of files on S3 that the Glue Data Catalog describes: a log of versions of rows, or Iceberg's own.

There is no clock and no horizon in a bucket: a file may come late, with old rows in it. So the table is
read whole whenever any of its files changed, which the listing tells, and not at all while none did.
Types: https://docs.aws.amazon.com/athena/latest/ug/data-types.html
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, NoReturn

from iceberg_datamart.core.columns import Column, decimal_size, element_of, list_of
from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.source.reads import FilesRead, IcebergRead, SourceTable
from iceberg_datamart.core.state.watermark import Horizon
from iceberg_datamart.errors import SourceError, SourceTableMissingError
from iceberg_datamart.sources.aws import client
from iceberg_datamart.sources.glue.formats import file_form
from iceberg_datamart.sources.glue.iceberg import iceberg_table, no_cursor
from iceberg_datamart.sources.glue.objects import GlueObjects, require_objects
from iceberg_datamart.sources.glue.recipe import recipe_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from iceberg_datamart.core.settings.model import TableConfig
    from iceberg_datamart.core.source.reads import LakeRead, QueryRead, RejectedRow
    from iceberg_datamart.core.source.slices import SliceDigest, Slices, Slicing
    from iceberg_datamart.core.state.watermark import ReadWindow, Watermark
    from iceberg_datamart.errors import DatamartError
    from iceberg_datamart.sources.glue.catalog import GlueCatalog, GluePartition, GlueTable
    from iceberg_datamart.sources.glue.formats import FileForm

# More than the clocks of S3 and of this machine differ by.
_CLOCK_SKEW = timedelta(minutes=5)
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_TYPES = {
    **dict.fromkeys(("tinyint", "smallint", "int", "integer"), "int"),
    **{same: same for same in ("boolean", "float", "double", "date", "binary", "string")},
    "bigint": "long",
    "timestamp": "timestamptz",
}
_CURSORS = {
    "timestamptz": CursorKind.TIMESTAMPTZ,
    "date": CursorKind.DATE,
    "int": CursorKind.INTEGER,
    "long": CursorKind.INTEGER,
}


@dataclass(frozen=True)
class FilesTable:
    """A table of files, or of Iceberg, as it was when it was described; see `ports.DescribedTable`.

    `whole` reads all that was there then, and `digest` changes with any of it.
    """

    label: str
    facts: SourceTable
    whole: LakeRead
    digest: str

    def probe(self, window: ReadWindow) -> None:
        """Return None: what files hold is known to who reads them."""

    def rows_in(self, window: ReadWindow) -> None:
        """Return None, as `probe` does."""

    def fingerprint(self, window: ReadWindow) -> str:
        """Return the digest of the listing, whatever the window: it is read whole."""
        del window
        return self.digest

    def read(self, window: ReadWindow) -> LakeRead:
        """Return how the files are to be read: all of them, or what was appended to an Iceberg table."""
        if isinstance(self.whole, IcebergRead):
            return replace(self.whole, after=window.after)
        return self.whole

    def unfit_rows(self) -> int:
        """Return none: a file with such rows fails as a whole."""
        return 0

    def rejected(self, window: ReadWindow) -> Sequence[RejectedRow]:
        """Return nothing: a value that the mirror cannot hold fails the table."""
        del window
        return ()

    def digests(self) -> tuple[Slicing, Mapping[int, SliceDigest]]:
        """Raise SourceError."""
        self._refuse()

    def read_slices(self, slices: Slices, pending_from: Watermark | None = None) -> QueryRead:
        """Raise SourceError."""
        del slices, pending_from
        self._refuse()

    def rejected_keys(self) -> QueryRead:
        """Raise SourceError."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        message = f"the source of table '{self.label}' is files, which no server digests"
        hint = f"Run with --load-type full --table {self.label}: it compares all rows."
        raise SourceError(message, hint=hint)


class GlueFiles:
    """The tables of files of one database, each as it was listed when it was described."""

    warnings = ()

    def __init__(self, catalog: GlueCatalog) -> None:
        """Read what `catalog` describes. Raises: SourceError where no region is known."""
        self._catalog, self._client = catalog, client("s3")
        self._since = datetime.now(timezone.utc)

    def describe(self, table: str, config: TableConfig) -> FilesTable:
        """Return the table and its files; of Iceberg, as its own metadata says. Raises: SourceError."""
        found = self._catalog.table(table, config.from_.table)
        if found.is_iceberg:
            facts, whole = iceberg_table(table, found, config, self._client)
            settings = "" if facts.snapshots is None else facts.snapshots.settings
            return FilesTable(table, facts, whole, settings)
        if found.parameters.get("projection.enabled", "").lower() == "true":
            message = (
                f"Glue table '{found.name}' has its partitions projected, so the catalog does not know them"
            )
            raise SourceError(
                message, hint="Add its partitions to the catalog, and switch the projection off."
            )
        columns, form = _columns(table, found, config), file_form(found)
        kinds = {column.name: column.type for column in columns}
        cursor = _cursor(table, config, kinds)
        read, digest = self._listed(found, form, columns, config)
        facts = SourceTable(
            identity=found.identity,
            columns=columns,
            primary_key=tuple(config.primary_key or ()),
            key_is_unique=False,
            cursor=cursor,
            is_digested=False,
            recipe=recipe_of(found, form),
        )
        return FilesTable(table, facts, read, digest)

    def lock(self, tables: Mapping[str, TableConfig]) -> Mapping[str, DatamartError]:
        """Return no table: files are not locked."""
        del tables
        return {}

    def pin_snapshot(self) -> Horizon:
        """Return the time of the first listing, less what clocks may differ in."""
        return Horizon(self._since - _CLOCK_SKEW, self._since, visible=False)

    def close(self) -> None:
        """Do nothing: a listing holds nothing open."""

    def _listed(
        self, found: GlueTable, form: FileForm, columns: Sequence[Column], config: TableConfig
    ) -> tuple[FilesRead, str]:
        """Return how the files of all partitions are read, and their digest; hidden, empty ones are none."""
        recipe = sorted(recipe_of(found, form).items())
        digest, folders = hashlib.sha256(repr((columns, config.soft_delete, recipe)).encode()), []
        objects, any_at_all = GlueObjects(self._client), False
        for values, location in self._places(found, form):
            files, is_there = objects.files(found.name, location)
            any_at_all |= is_there
            digest.update(repr((values, files)).encode())
            if files:
                known = tuple(None if value == _NO_VALUE else value for value in values)
                folders.append((known, tuple(path for path, _ in files)))
        partitioned = bool(found.partition_columns)
        require_objects(found.name, found.location, found=any_at_all, partitioned=partitioned)
        read = FilesRead(
            format=found.classification,
            folders=tuple(folders),
            partition_columns=tuple(name for name, _ in found.partition_columns),
            columns=tuple(columns),
            stored=tuple(name for name, _ in found.columns),
            options=form.options,
            encoding=form.encoding,
            null=form.null,
            escape=form.escape,
            soft_delete=config.soft_delete,
        )
        return read, digest.hexdigest()[:32]

    def _places(self, found: GlueTable, form: FileForm) -> Sequence[tuple[tuple[str, ...], str]]:
        """Return the values and the location of each partition, which are read as the table is."""
        if not found.partition_columns:
            return [((), found.location)]
        # Only in CSV a column is known by its position.
        parts = self._catalog.partitions(found.name, columns=found.classification == "csv")
        for part in parts:
            _require_alike(found, form, part)
        return [(part.values, part.location) for part in sorted(parts)]


def _require_alike(found: GlueTable, form: FileForm, part: GluePartition) -> None:
    """Raise SourceError for a partition that has its own way of being read."""
    where = f"partition ({', '.join(part.values)}) of Glue table '{found.name}'"
    hint = "Let its crawler update partitions with the table's metadata. Nothing was written."
    if part.columns is not None and part.columns != tuple(name for name, _ in found.columns):
        message = f"{where} has the columns {', '.join(part.columns)}, which are not the table's"
        raise SourceError(message, hint=hint)
    if part.serde is None:
        return
    if file_form(replace(found, library=part.serde[0], serde=part.serde[1])) != form:
        raise SourceError(f"{where} has a SerDe that reads it otherwise than the table's", hint=hint)


def _columns(table: str, found: GlueTable, config: TableConfig) -> tuple[Column, ...]:
    """Return the columns that are read, those of partitions last. Raises: SourceError."""
    kinds = dict((*found.columns, *found.partition_columns))
    if not config.primary_key:
        message = f"Glue table '{found.name}' is files, which have no primary key"
        raise SourceError(message, hint=f"Set tables.{table}.primary_key to columns that identify a row.")
    named = (*config.primary_key, config.cursor, *config.exclude, *config.columns)
    for name in named:
        if name is not None and name not in kinds:
            message = f"Glue table '{found.name}' has no column '{name}'"
            raise SourceTableMissingError(
                message, hint=f"Correct tables.{table}; the catalog's names are small."
            )
    return tuple(
        Column(name, _type(table, found.name, name, kind, config), nullable=name not in config.primary_key)
        for name, kind in kinds.items()
        if name not in config.exclude
    )


def _type(table: str, glue_table: str, name: str, kind: str, config: TableConfig) -> str:
    """Return the Iceberg type of one of Hive's. Raises: SourceError."""
    if name in config.columns:
        return config.columns[name].type.replace(",", ", ")
    inner = element_of(kind)
    element = None if inner is None else _simple(inner)
    found = _simple(kind) if element is None else list_of(element)
    if found is None:
        message = f"column '{name}' of Glue table '{glue_table}' has type {kind}, which no mirror holds"
        raise SourceError(message, hint=f"Add it to tables.{table}.exclude, or set its type to string.")
    return found


def _simple(kind: str) -> str | None:
    decimal = decimal_size(kind)
    if decimal is not None:
        return str(decimal)
    if re.fullmatch(r"(var)?char\(\d+\)", kind):
        return "string"
    return _TYPES.get(kind)


def _cursor(table: str, config: TableConfig, kinds: Mapping[str, str]) -> CursorKind | None:
    """Return the kind of cursor that a column makes. Raises: SourceError for a type that does not grow."""
    if config.cursor is None:
        return None
    kind = _CURSORS.get(kinds[config.cursor])
    if kind is None:
        raise no_cursor(table, config.cursor, kinds[config.cursor])
    if kind is CursorKind.TIMESTAMPTZ and config.cursor_timezone != "UTC":
        message = (
            f"tables.{table}.cursor_timezone is {config.cursor_timezone}, "
            f"but '{config.cursor}' is in files, whose timestamps without a zone are UTC"
        )
        raise SourceError(message, hint="Write the files in UTC, and remove cursor_timezone.")
    return kind
