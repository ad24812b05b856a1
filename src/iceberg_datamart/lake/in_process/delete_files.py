"""Position deletes: files that say which rows of which data file are gone, one for each data file."""

from __future__ import annotations

import struct
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from pyiceberg.manifest import DataFile, DataFileContent
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField, StringType

from iceberg_datamart.errors import LakeError
from iceberg_datamart.lake.engine import conflict
from iceberg_datamart.lake.in_process.data_files import FileNames, ParquetFile
from iceberg_datamart.lake.in_process.live_files import FILE_PATH_ID, POS_ID, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyiceberg.table import Table

    from iceberg_datamart.lake.in_process.live_files import DataFile as LiveFile
    from iceberg_datamart.lake.in_process.live_files import SnapshotFiles
    from iceberg_datamart.lake.in_process.written import Written

FILE_PATH, POS = "file_path", "pos"
_BEFORE_ALL = -(2**63)
# https://iceberg.apache.org/spec/#position-delete-files
_SCHEMA = Schema(
    NestedField(FILE_PATH_ID, FILE_PATH, StringType(), required=True),
    NestedField(POS_ID, POS, LongType(), required=True),
)
_ARROW = pa.schema(
    [
        pa.field(FILE_PATH, pa.string(), nullable=False, metadata={"PARQUET:field_id": str(FILE_PATH_ID)}),
        pa.field(POS, pa.int64(), nullable=False, metadata={"PARQUET:field_id": str(POS_ID)}),
    ]
)


def write_delete_files(
    table: Table, positions: pa.RecordBatchReader, live: SnapshotFiles, written: Written
) -> list[DataFile]:
    """Write which rows of live data files are deleted.

    `positions` has their `file_path` and `pos`, in this order; one that is there twice counts once.

    Raises: CommitConflictError where a file is not live, so that the positions are of another snapshot.
    """
    names, files = FileNames(table, "-deletes"), []
    for path, parts in groupby(_of_one_file(positions), key=itemgetter(0)):
        file = live.by_path.get(path)
        if file is None:
            raise conflict(name_of(table))
        known = (_within(table, file, pos) for _, pos in parts)
        files.append(_write(table, names.next(), path, known, written))
    return files


def _of_one_file(positions: pa.RecordBatchReader) -> Iterator[tuple[str, pa.Array]]:
    """Yield positions in their order, each once, in parts of which each is of one data file."""
    last: tuple[str, int] | None = None
    for batch in positions:
        told = pa.Table.from_batches([batch]).select([FILE_PATH, POS]).combine_chunks()
        if told[FILE_PATH].null_count or told[POS].null_count:
            raise LakeError("a row is to be deleted whose place is not known")
        start = 0
        for end in pc.run_end_encode(told[FILE_PATH].combine_chunks()).run_ends.to_pylist():
            path, pos = told[FILE_PATH][start].as_py(), told[POS].slice(start, end - start).combine_chunks()
            start, once = end, _each_once(pos.cast(pa.int64()), last[1] if last and last[0] == path else None)
            if len(once):
                last = (path, once[-1].as_py())
                yield path, once


def _each_once(pos: pa.Array, last: int | None) -> pa.Array:
    """Return rising positions, which begin at `last` at the earliest, each once and without that one."""
    earlier = pa.concat_arrays([pa.array([_BEFORE_ALL if last is None else last]), pos[:-1]])
    return pos.filter(pc.not_equal(pos, earlier))


def _within(table: Table, file: LiveFile, pos: pa.Array) -> pa.Array:
    """Return rising positions, which the file has. Raises: LakeError where it has not."""
    if pos[0].as_py() < 0 or pos[-1].as_py() >= file.rows:
        message = f"{name_of(table)}: {file.path} has {file.rows} rows; one at {pos[-1]} cannot be deleted"
        raise LakeError(message)
    return pos


def _write(table: Table, location: str, path: str, parts: Iterator[pa.Array], written: Written) -> DataFile:
    file, first, last = ParquetFile(table, location, _ARROW, written), None, 0
    try:
        for pos in parts:
            paths = pa.repeat(pa.scalar(path, pa.string()), len(pos))
            file.add(pa.Table.from_arrays([paths, pos], schema=_ARROW))
            first, last = pos[0].as_py() if first is None else first, pos[-1].as_py()
    except BaseException:
        file.abandon()
        raise
    # The path stands in both bounds whole: readers find a data file's deletes by it.
    return file.closed(
        _SCHEMA,
        DataFileContent.POSITION_DELETES,
        lower_bounds={FILE_PATH_ID: path.encode(), POS_ID: struct.pack("<q", first)},
        upper_bounds={FILE_PATH_ID: path.encode(), POS_ID: struct.pack("<q", last)},
    )
