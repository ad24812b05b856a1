"""Position deletes: files that say which rows of which data file are gone, one for each data file."""

from __future__ import annotations

import struct
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

    from iceberg_datamart.lake.in_process.live_files import SnapshotFiles
    from iceberg_datamart.lake.in_process.written import Written

FILE_PATH, POS = "file_path", "pos"
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
ROW_GROUP_ROWS = 1_000_000


def write_delete_files(
    table: Table, positions: pa.Table, live: SnapshotFiles, written: Written
) -> list[DataFile]:
    """Write which rows of live data files are deleted; `positions` has their `file_path` and `pos`.

    Raises: CommitConflictError where a file is not live, so that the positions are of another snapshot.
    """
    names = FileNames(table, "-deletes")
    files = []
    for path, pos in _of_each_file(positions):
        _require_live(table, live, path, pos)
        files.append(_write(table, names.next(), path, pos, written))
    return files


def _of_each_file(positions: pa.Table) -> Iterator[tuple[str, pa.Array]]:
    """Yield each data file's positions, in their order, each once."""
    told = positions.select([FILE_PATH, POS]).cast(pa.schema([(FILE_PATH, pa.string()), (POS, pa.int64())]))
    if told[FILE_PATH].null_count or told[POS].null_count:
        raise LakeError("a row is to be deleted whose place is not known")
    once = told.group_by([FILE_PATH, POS]).aggregate([])
    ordered = once.sort_by([(FILE_PATH, "ascending"), (POS, "ascending")]).combine_chunks()
    if ordered.num_rows == 0:
        return
    start = 0
    for run in pc.run_end_encode(ordered[FILE_PATH].combine_chunks()).run_ends.to_pylist():
        yield ordered[FILE_PATH][start].as_py(), ordered[POS].slice(start, run - start).combine_chunks()
        start = run


def _require_live(table: Table, live: SnapshotFiles, path: str, pos: pa.Array) -> None:
    file = live.by_path.get(path)
    if file is None:
        raise conflict(name_of(table))
    if pos[0].as_py() < 0 or pos[-1].as_py() >= file.rows:
        message = f"{name_of(table)}: {path} has {file.rows} rows; one at {pos[-1]} cannot be deleted"
        raise LakeError(message)


def _write(table: Table, location: str, path: str, pos: pa.Array, written: Written) -> DataFile:
    file = ParquetFile(table, location, _ARROW, written)
    try:
        for start in range(0, len(pos), ROW_GROUP_ROWS):
            part = pos.slice(start, ROW_GROUP_ROWS)
            paths = pa.repeat(pa.scalar(path, pa.string()), len(part))
            file.add(pa.Table.from_arrays([paths, part], schema=_ARROW))
    except BaseException:
        file.abandon()
        raise
    # The path stands in both bounds whole: readers find a data file's deletes by it.
    return file.closed(
        _SCHEMA,
        DataFileContent.POSITION_DELETES,
        lower_bounds={FILE_PATH_ID: path.encode(), POS_ID: struct.pack("<q", pos[0].as_py())},
        upper_bounds={FILE_PATH_ID: path.encode(), POS_ID: struct.pack("<q", pos[-1].as_py())},
    )
