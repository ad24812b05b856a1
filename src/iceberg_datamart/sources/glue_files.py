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
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from iceberg_datamart.errors import SourceError, SourceTableMissingError
from iceberg_datamart.reading import Column, FilesRead, IcebergRead, SourceTable
from iceberg_datamart.sources.aws import client, refusal
from iceberg_datamart.sources.glue_iceberg import iceberg_table
from iceberg_datamart.watermark import CursorKind, Horizon

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from iceberg_datamart.config import TableConfig
    from iceberg_datamart.errors import DatamartError
    from iceberg_datamart.reading import JdbcRead, LakeRead, RejectedRow
    from iceberg_datamart.slices import SliceDigest, Slices, Slicing
    from iceberg_datamart.sources.glue_catalog import GlueCatalog, GlueTable
    from iceberg_datamart.watermark import ReadWindow, Watermark

FORMATS = ("parquet", "csv", "json", "orc", "avro")
# What S3 and this machine may differ in, and more.
_LOOKBACK = timedelta(minutes=5)
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
class _Listed:
    """A described table, and the files that it had then; `digest` changes with any of them."""

    read: LakeRead
    digest: str


class GlueFiles:
    """The tables of files of one database, each as it was listed when it was described."""

    warnings = ()

    def __init__(self, catalog: GlueCatalog) -> None:
        """Read what `catalog` describes. Raises: SourceError where no region is known."""
        self._catalog, self._client = catalog, client("s3")
        self._listed: dict[str, _Listed] = {}
        self._since = datetime.now(timezone.utc)

    def describe(self, table: str, config: TableConfig) -> SourceTable:
        """Return columns and key, of an Iceberg table as its own metadata says. Raises: SourceError."""
        found = self._catalog.table(table, config.from_.table)
        if found.is_iceberg:
            source, read = iceberg_table(table, found, config, self._client)
            self._listed[table] = _Listed(read, "" if source.snapshots is None else source.snapshots.settings)
            return source
        if found.parameters.get("projection.enabled", "").lower() == "true":
            message = (
                f"Glue table '{found.name}' has its partitions projected, so the catalog does not know them"
            )
            raise SourceError(
                message, hint="Add its partitions to the catalog, and switch the projection off."
            )
        columns = _columns(table, found, config)
        self._listed[table] = self._list(found, columns, config)
        kinds = {column.name: column.type for column in columns}
        return SourceTable(
            identity=found.identity,
            columns=columns,
            primary_key=tuple(config.primary_key or ()),
            key_is_unique=False,
            cursor=_cursor(config.cursor, kinds),
            is_digested=False,
        )

    def lock(self, tables: Mapping[str, TableConfig]) -> Mapping[str, DatamartError]:
        """Return no table: files are not locked."""
        del tables
        return {}

    def fix_point(self) -> Horizon:
        """Return the time of the first listing, less what clocks may differ in."""
        return Horizon(self._since - _LOOKBACK, self._since, visible=False)

    def probe(self, table: str, window: ReadWindow) -> None:
        """Return None: what files hold is known to who reads them."""

    def fingerprint(self, table: str, window: ReadWindow) -> str:
        """Return the digest of the listing, whatever the window: it is read whole."""
        del window
        return self._listed[table].digest

    def read(self, table: str, window: ReadWindow) -> LakeRead:
        """Return how the files are to be read: all of them, or what was appended to an Iceberg table."""
        read = self._listed[table].read
        return replace(read, after=window.after) if isinstance(read, IcebergRead) else read

    def unfit_rows(self, table: str) -> int:
        """Return none: a file with such rows fails as a whole."""
        del table
        return 0

    def rejected(self, table: str, window: ReadWindow) -> Sequence[RejectedRow]:
        """Return nothing: a value that the mirror cannot hold fails the table."""
        del table, window
        return ()

    def digests(self, table: str) -> tuple[Slicing, Mapping[int, SliceDigest]]:
        """Raise SourceError."""
        self._refuse(table)

    def read_slices(self, table: str, slices: Slices, pending_from: Watermark | None = None) -> JdbcRead:
        """Raise SourceError."""
        del slices, pending_from
        self._refuse(table)

    def rejected_keys(self, table: str) -> JdbcRead:
        """Raise SourceError."""
        self._refuse(table)

    def close(self) -> None:
        """Do nothing: a listing holds nothing open."""

    @staticmethod
    def _refuse(table: str) -> NoReturn:
        message = f"the source of table '{table}' is files, which no server digests"
        raise SourceError(message, hint=f"Run with --load-type full --table {table}: it compares all rows.")

    def _list(self, found: GlueTable, columns: Sequence[Column], config: TableConfig) -> _Listed:
        """Return the files of all partitions; hidden and empty ones are none."""
        places = self._catalog.partitions(found.name) if found.partition_columns else (((), found.location),)
        digest, folders = hashlib.sha256(repr((columns, config.soft_delete, found.serde)).encode()), []
        for values, location in sorted(places):
            files = self._files(found.name, location)
            digest.update(repr((values, files)).encode())
            if files:
                known = tuple(None if value == _NO_VALUE else value for value in values)
                folders.append((known, tuple(path for path, _ in files)))
        read = FilesRead(
            format=found.classification,
            folders=tuple(folders),
            partition_columns=tuple(name for name, _ in found.partition_columns),
            columns=tuple(columns),
            stored=tuple(name for name, _ in found.columns),
            options=_options(found),
            soft_delete=config.soft_delete,
        )
        return _Listed(read, digest.hexdigest()[:32])

    def _files(self, name: str, location: str) -> list[tuple[str, str]]:
        """Return path and ETag of each file below `location`."""
        place = urlsplit(location)
        if place.scheme not in ("s3", "s3a", "s3n"):
            message = f"Glue table '{name}' is at '{location}', which is no address on S3"
            raise SourceError(message, hint="Only files on S3 are read.")
        bucket, folder = place.netloc, location.split("/", 3)[3:]
        prefix = folder[0].rstrip("/") + "/" if folder and folder[0] else ""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        try:
            objects = [each for page in pages for each in page.get("Contents", ())]
        except (ClientError, BotoCoreError) as error:
            needs = f"s3:ListBucket on {bucket} and s3:GetObject on {bucket}/{prefix}*"
            raise refusal(f"'{location}', where Glue table '{name}' is,", error, needs) from error
        return sorted(
            (f"{place.scheme}://{bucket}/{each['Key']}", each["ETag"])
            for each in objects
            if each["Size"] and not re.search(r"(^|/)[._]", each["Key"].removeprefix(prefix))
        )


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
    found = _simple(kind)
    inner = re.fullmatch(r"array<(.*)>", kind)
    if inner and _simple(inner[1]):
        found = f"list<{_simple(inner[1])}>"
    if found is None:
        message = f"column '{name}' of Glue table '{glue_table}' has type {kind}, which no mirror holds"
        raise SourceError(message, hint=f"Add it to tables.{table}.exclude, or set its type to string.")
    return found


def _simple(kind: str) -> str | None:
    decimal = re.fullmatch(r"decimal\((\d+),(\d+)\)", kind)
    if decimal:
        return f"decimal({decimal[1]}, {decimal[2]})"
    if re.fullmatch(r"(var)?char\(\d+\)", kind):
        return "string"
    return _TYPES.get(kind)


def _cursor(cursor: str | None, kinds: Mapping[str, str]) -> CursorKind | None:
    """Return the kind of cursor that a column makes. Raises: SourceError for a type that does not grow."""
    if cursor is None:
        return None
    if kinds[cursor] not in _CURSORS:
        message = f"cursor column '{cursor}' has type {kinds[cursor]}"
        raise SourceError(message, hint="Use a timestamp, date or integer column as cursor.")
    return _CURSORS[kinds[cursor]]


def _options(found: GlueTable) -> dict[str, str]:
    """Return the options of Spark's reader; what is malformed fails the read."""
    if found.classification in ("parquet", "orc"):
        return {"mergeSchema": "true"}
    if found.classification == "avro":
        return {}
    if found.classification == "json":
        return {"mode": "FAILFAST"}
    serde, lines = found.serde, found.parameters.get("skip.header.line.count", "0")
    if lines not in ("0", "1"):
        hint = "Spark skips one line of names, or none."
        raise SourceError(f"Glue table '{found.name}' skips {lines} lines of each file", hint=hint)
    separator = serde.get("separatorChar") or serde.get("field.delim") or found.parameters.get("delimiter")
    return {
        "mode": "FAILFAST",
        "header": "true" if lines == "1" else "false",
        "enforceSchema": "true",
        "sep": separator or ",",
        "quote": serde.get("quoteChar") or '"',
        "escape": serde.get("escapeChar") or '"',
    }
