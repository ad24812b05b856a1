"""Rows of a stream, written into the Parquet files that an Iceberg table is made of."""

from __future__ import annotations

import uuid
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import TableProperties
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER_ID
from pyiceberg.typedef import Record

from iceberg_datamart.errors import LakeError, NeedsSparkError
from iceberg_datamart.lake.in_process.ahead import ahead
from iceberg_datamart.lake.in_process.file_statistics import statistics_of
from iceberg_datamart.lake.in_process.live_files import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

    from iceberg_datamart.lake.in_process.written import Written

# Of so many rows a reader skips most by their bounds; Spark writes one group for each file.
ROW_GROUP_ROWS = 100_000
ROW_GROUP_BYTES = 64 * 1024 * 1024
# By Iceberg's names: PyArrow's, and whether it has levels. All of Iceberg's readers know these.
_CODECS = {
    "zstd": ("zstd", True),
    "gzip": ("gzip", True),
    "snappy": ("snappy", False),
    "uncompressed": ("none", False),
}


def write_data_files(
    table: Table, rows: pa.RecordBatchReader, written: Written, count: Callable[[int], None]
) -> list[DataFile]:
    """Write all rows, in their order, into files of the table's target size; none where there are no rows.

    `count` is told of rows that are written.

    Raises: LakeError where the rows are not as the table's columns want them.
    """
    schema = schema_to_pyarrow(table.schema(), include_field_ids=True)
    target = int(
        table.properties.get(
            TableProperties.WRITE_TARGET_FILE_SIZE_BYTES, TableProperties.WRITE_TARGET_FILE_SIZE_BYTES_DEFAULT
        )
    )
    names, files, open_file = FileNames(table), [], None
    with closing(ahead(_groups(name_of(table), schema, rows))) as groups:
        try:
            for group in groups:
                if open_file is None:
                    open_file = ParquetFile(table, names.next(), schema, written)
                open_file.add(group)
                count(group.num_rows)
                if open_file.size >= target:
                    files.append(open_file.closed(table.schema(), DataFileContent.DATA))
                    open_file = None
            if open_file is not None:
                files.append(open_file.closed(table.schema(), DataFileContent.DATA))
                open_file = None
        finally:
            if open_file is not None:
                open_file.abandon()
    return files


class FileNames:
    """New names in a table's data folder, as other writers make them."""

    def __init__(self, table: Table, ending: str = "") -> None:
        """Begin with a new random part; `ending` comes before the file's extension."""
        self._places, self._ending = table.location_provider(), ending
        self._id, self._numbers = uuid.uuid4(), count()

    def next(self) -> str:
        """Return a location where no file is."""
        name = f"00000-{next(self._numbers)}-{self._id}{self._ending}.parquet"
        return self._places.new_data_location(name)


class ParquetFile:
    """One Parquet file that is being written."""

    def __init__(self, table: Table, location: str, schema: pa.Schema, written: Written) -> None:
        """Open the file; from now on `written` knows it."""
        self._table, self._location = table, location
        written.add(location)
        self._output = table.io.new_output(location)
        self._stream: Any = self._output.create()
        try:
            self._writer = pq.ParquetWriter(
                self._stream, schema, store_decimal_as_integer=True, **_compression(table.properties)
            )
        except BaseException:
            self._stream.close()
            raise

    @property
    def size(self) -> int:
        """Return the bytes that are written so far."""
        return int(self._stream.tell())

    def add(self, group: pa.Table) -> None:
        """Write a row group."""
        self._writer.write_table(group, row_group_size=max(1, group.num_rows))

    def abandon(self) -> None:
        """Close the file as it is."""
        try:
            self._writer.close()
        finally:
            self._stream.close()

    def closed(self, schema: Schema, content: DataFileContent, **told: Any) -> DataFile:
        """Complete the file; return what a manifest tells of it, `told` instead of its own statistics."""
        self._writer.close()
        size = self.size
        self._stream.close()
        found = statistics_of(self._writer.writer.metadata, schema, self._table.properties)
        file = DataFile.from_args(
            content=content,
            file_path=self._location,
            file_format=FileFormat.PARQUET,
            partition=Record(),
            file_size_in_bytes=size,
            # Trino fails for a data file that does not say; of deletes the format asks that they do not.
            sort_order_id=UNSORTED_SORT_ORDER_ID if content == DataFileContent.DATA else None,
            equality_ids=None,
            key_metadata=None,
            **{**found, **told},
        )
        file.spec_id = self._table.metadata.default_spec_id
        return file


def _compression(properties: Mapping[str, str]) -> dict[str, Any]:
    """Return how PyArrow is to compress. Raises: NeedsSparkError for what not every reader can undo."""
    codec = properties.get(
        TableProperties.PARQUET_COMPRESSION, TableProperties.PARQUET_COMPRESSION_DEFAULT
    ).lower()
    if codec not in _CODECS:
        raise NeedsSparkError(f"files compressed by {codec} cannot be written in process")
    name, has_levels = _CODECS[codec]
    level = properties.get(TableProperties.PARQUET_COMPRESSION_LEVEL) if has_levels else None
    return {"compression": name, "compression_level": None if level is None else int(level)}


def _groups(table: str, schema: pa.Schema, rows: pa.RecordBatchReader) -> Generator[pa.Table]:
    """Yield the rows in row groups, in the schema's types."""
    _require_alike(table, schema, rows.schema)
    kept: list[pa.RecordBatch] = []
    for whole in rows:
        start = 0
        while start < whole.num_rows:
            batch = whole.slice(start, ROW_GROUP_ROWS - sum(each.num_rows for each in kept))
            start += batch.num_rows
            kept.append(_fitted(table, schema, batch))
            if _is_full(kept):
                yield pa.Table.from_batches(kept, schema)
                kept = []
    if kept:
        yield pa.Table.from_batches(kept, schema)


def _is_full(batches: list[pa.RecordBatch]) -> bool:
    rows, size = sum(batch.num_rows for batch in batches), sum(batch.nbytes for batch in batches)
    return bool(rows >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES)


def _require_alike(table: str, schema: pa.Schema, given: pa.Schema) -> None:
    """Raise LakeError where other columns are given, or of types that cannot be taken as they are."""
    if sorted(given.names) != sorted(schema.names):
        message = f"{table}: rows with columns {sorted(given.names)} for a table of {sorted(schema.names)}"
        raise LakeError(message)
    for field in schema:
        kind = given.field(field.name).type
        if not _is_alike(kind, field.type):
            raise LakeError(f"{table}: column {field.name!r} is {field.type}, and its rows have {kind}")


def _is_alike(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Return whether values keep their meaning; what does not fit fails later, when it is cast."""
    if pa.types.is_null(given):
        return True
    if pa.types.is_timestamp(given) and pa.types.is_timestamp(wanted):
        return bool((given.tz is None) == (wanted.tz is None))
    if _is_list(given) and _is_list(wanted):
        return _is_alike(given.value_type, wanted.value_type)
    return bool(given.equals(wanted)) or any(of_kind(given) and of_kind(wanted) for of_kind in _KINDS)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    )


_KINDS = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_time,
    pa.types.is_date,
    _is_text,
    _is_binary,
)


def _fitted(table: str, schema: pa.Schema, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch in the schema's order and types. Raises: LakeError for a value that has no place."""
    arrays = []
    for field in schema:
        values = batch.column(field.name)
        if not field.nullable and values.null_count:
            raise LakeError(f"{table}: column {field.name!r} cannot be NULL, and a row's is")
        try:
            arrays.append(values if values.type.equals(field.type) else values.cast(field.type))
        except pa.ArrowInvalid as error:
            raise LakeError(
                f"{table}: a value of column {field.name!r} has no place in it: {error}"
            ) from error
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
