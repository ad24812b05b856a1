"""Iceberg tables of the Glue Data Catalog: columns, key and snapshots as their metadata file says, no JVM.

The catalog's own columns are a copy, which Iceberg's writers need not keep up to date.
https://iceberg.apache.org/spec/#table-metadata-fields
"""

from __future__ import annotations

import hashlib
import io
import re
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from pyiceberg.exceptions import ValidationError
from pyiceberg.serializers import Compressor, FromByteStream

from iceberg_datamart.core.columns import Column, element_of
from iceberg_datamart.core.settings.s3_address import parsed_s3
from iceberg_datamart.core.source.reads import IcebergRead, SourceTable
from iceberg_datamart.core.source.recipe import column_entry, with_hidden
from iceberg_datamart.core.source.snapshots import SourceSnapshots
from iceberg_datamart.errors import SourceError, SourceTableMissingError
from iceberg_datamart.sources.aws import refusal

if TYPE_CHECKING:
    from pyiceberg.schema import Schema
    from pyiceberg.table.metadata import TableMetadata

    from iceberg_datamart.core.settings.model import TableConfig
    from iceberg_datamart.sources.glue.catalog import GlueTable

_METADATA = "metadata_location"
# What a mirror holds as it is; the others are read by Spark as another type, or not at all.
_SAME = re.compile(
    r"boolean|int|long|float|double|date|timestamp|timestamptz|string|binary|decimal\(\d+, \d+\)"
)
_OTHERS = {"uuid": "string"}
# https://github.com/apache/iceberg/blob/apache-iceberg-1.10.0/spark/v3.5/spark/src/main/java/org/apache/iceberg/spark/TypeToSparkType.java
_CURSORS = ("int", "long", "date", "timestamp", "timestamptz")
_UNREAD = ("time", "timestamp_ns", "timestamptz_ns")


def iceberg_table(
    table: str, found: GlueTable, config: TableConfig, s3: object
) -> tuple[SourceTable, IcebergRead]:
    """Return what the metadata of an Iceberg table says, and how it is read whole. Raises: SourceError."""
    place = found.parameters.get(_METADATA, "")
    metadata = _metadata(found.name, place, s3)
    schema = metadata.schema()
    key = tuple(config.primary_key or _identifiers(schema))
    if not key:
        message = f"Iceberg table '{found.name}' has no identifier fields"
        raise SourceError(message, hint=f"Set tables.{table}.primary_key to columns that identify a row.")
    columns = _columns(table, found.name, schema, key, config)
    _require_cursor(table, schema, config)
    source = SourceTable(
        identity=f"{found.identity}/{metadata.table_uuid}",
        columns=columns,
        primary_key=key,
        # Iceberg does not enforce identifier fields.
        key_is_unique=False,
        is_digested=False,
        snapshots=SourceSnapshots(_ancestors(metadata), _digest(schema, columns, config)),
        recipe=_recipe(schema, columns),
    )
    return source, IcebergRead(place, columns, config.soft_delete)


def _metadata(name: str, place: str, s3: object) -> TableMetadata:
    """Return the content of the metadata file. Raises: SourceError."""
    address = parsed_s3(place)
    if address is None or not address.key:
        message = f"Iceberg table '{name}' has {_METADATA} '{place}', which is no address on S3"
        raise SourceError(message, hint="Only tables on S3 are read, by this parameter of Glue's table.")
    bucket, key = address.bucket, address.key
    try:
        content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()  # type: ignore[attr-defined]
    except (ClientError, BotoCoreError) as error:
        needs = f"s3:GetObject on the table's files in {bucket}"
        raise refusal(f"'{place}', the metadata of Iceberg table '{name}',", error, needs) from error
    try:
        return FromByteStream.table_metadata(
            io.BytesIO(content), compression=Compressor.get_compressor(place)
        )
    except (ValidationError, OSError, ValueError) as error:
        message = f"'{place}', the metadata of Iceberg table '{name}', is not understood: {error}"
        raise SourceError(message, hint="Known are tables of format versions 1, 2 and 3.") from error


def _identifiers(schema: Schema) -> list[str]:
    """Return the identifier fields in the order of the columns."""
    return [field.name for field in schema.fields if field.field_id in schema.identifier_field_ids]


def _ancestors(metadata: TableMetadata) -> tuple[tuple[int, str], ...]:
    """Return the current snapshot and its ancestors that have not expired, with their operations."""
    found = []
    current = metadata.current_snapshot()
    while current is not None:
        # Before format version 2 a snapshot need not say what it did: then anything may have happened.
        operation = "" if current.summary is None else current.summary.operation.value
        found.append((current.snapshot_id, operation))
        parent = current.parent_snapshot_id
        current = None if parent is None else metadata.snapshot_by_id(parent)
    return tuple(found)


def _columns(
    table: str, name: str, schema: Schema, key: tuple[str, ...], config: TableConfig
) -> tuple[Column, ...]:
    """Return the columns that are read. Raises: SourceError."""
    kinds = {field.name: str(field.field_type) for field in schema.fields}
    for column in (*key, config.cursor, *config.exclude, *config.columns):
        if column is not None and column not in kinds:
            message = f"Iceberg table '{name}' has no column '{column}'"
            raise SourceTableMissingError(message, hint=f"Correct tables.{table}; case counts.")
    unread = next((column for column, kind in kinds.items() if kind in _UNREAD), None)
    if unread is not None:
        message = f"column '{unread}' of Iceberg table '{name}' has type {kinds[unread]}"
        raise SourceError(message, hint="Spark reads no table that has such a column: give it another type.")
    return tuple(
        Column(column, _type(table, name, column, kind, config), nullable=column not in key)
        for column, kind in kinds.items()
        if column not in config.exclude
    )


def _type(table: str, name: str, column: str, kind: str, config: TableConfig) -> str:
    """Return the type in which a mirror holds a column. Raises: SourceError."""
    if column in config.columns:
        return config.columns[column].type.replace(",", ", ")
    if _SAME.fullmatch(element_of(kind) or kind):
        return kind
    if kind.startswith("fixed["):
        return "binary"
    if kind in _OTHERS:
        return _OTHERS[kind]
    message = f"column '{column}' of Iceberg table '{name}' has type {kind}, which no mirror holds"
    raise SourceError(message, hint=f"Add it to tables.{table}.exclude.")


def _require_cursor(table: str, schema: Schema, config: TableConfig) -> None:
    """Raise SourceError for a cursor whose order is not that of its versions: of texts, 9 is after 10."""
    if config.cursor is None:
        return
    kind = str(schema.find_field(config.cursor).field_type)
    if kind not in _CURSORS:
        raise no_cursor(table, config.cursor, kind)
    if config.cursor_timezone != "UTC":
        message = (
            f"tables.{table}.cursor_timezone is {config.cursor_timezone}, and no zone is asked of Iceberg"
        )
        raise SourceError(message, hint="Remove cursor_timezone: versions are compared as they are.")


def no_cursor(table: str, column: str, kind: str) -> SourceError:
    """Return what to raise for a cursor column whose type has no order of versions."""
    message = f"cursor column '{column}' of table '{table}' has type {kind}"
    return SourceError(message, hint="Use a timestamp, date or integer column as cursor.")


def _recipe(schema: Schema, columns: tuple[Column, ...]) -> dict[str, str]:
    """Return what decides which values the rows have (R19): a column is known by its id."""
    ids = {field.name: field.field_id for field in schema.fields}
    return {column_entry(each.name): with_hidden(each.type, ids[each.name]) for each in columns}


def _digest(schema: Schema, columns: tuple[Column, ...], config: TableConfig) -> str:
    """Return what changes with columns and settings, which make no snapshot.

    A column's id tells one that was renamed, or dropped and recreated: its old rows have other values then.
    """
    ids = {field.name: field.field_id for field in schema.fields}
    read = [(ids[column.name], column.name, column.type) for column in columns]
    return hashlib.sha256(repr((sorted(read), config.soft_delete)).encode()).hexdigest()[:16]
