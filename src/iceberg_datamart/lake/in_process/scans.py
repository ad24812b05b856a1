"""DuckDB's SQL for the live rows of a snapshot: Parquet files, their columns by field id, less the deletes.

https://duckdb.org/docs/stable/data/parquet/overview
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FixedType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    StringType,
    TimestampType,
    TimestamptzType,
    TimeType,
)

from iceberg_datamart.core.names import same_but_for_case
from iceberg_datamart.errors import NeedsSparkError
from iceberg_datamart.lake.in_process.file_systems import Located, exact, located
from iceberg_datamart.lake.in_process.live_files import FILE_PATH_ID, POS_ID, ROW_NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from iceberg_datamart.lake.in_process.live_files import DataFile, DeleteFile, Deletes, SnapshotFiles

FILE, POS = "_datamart_file", "_datamart_pos"
_TYPES: Mapping[type[IcebergType], str] = {
    BooleanType: "BOOLEAN",
    IntegerType: "INTEGER",
    LongType: "BIGINT",
    FloatType: "FLOAT",
    DoubleType: "DOUBLE",
    DateType: "DATE",
    TimeType: "TIME",
    TimestampType: "TIMESTAMP",
    TimestamptzType: "TIMESTAMP WITH TIME ZONE",
    StringType: "VARCHAR",
    BinaryType: "BLOB",
    FixedType: "BLOB",
}
_WITH_NAN = ("FLOAT", "DOUBLE")
# A file's columns are called `c` and their id, so that this is no name of theirs.
_PATH = "path"


class Selected(NamedTuple):
    """A column of a scan: its name, its DuckDB type, and its id in the files; None where it is NULL."""

    name: str
    type: str
    field_id: int | None


def duckdb_type(kind: IcebergType) -> str | None:
    """Return DuckDB's type for one of Iceberg's; None where this engine has none for it."""
    if isinstance(kind, DecimalType):
        return f"DECIMAL({kind.precision}, {kind.scale})"
    if isinstance(kind, ListType):
        element = duckdb_type(kind.element_type)
        return None if element is None else f"{element}[]"
    return _TYPES.get(type(kind))


def require_distinct_names(names: Iterable[str]) -> None:
    """Raise NeedsSparkError for names that differ by case alone, which DuckDB takes for one."""
    twins = same_but_for_case(names)
    if twins is not None:
        raise NeedsSparkError(f"columns '{twins[0]}' and '{twins[1]}' are one name in process")


def scan_sql(files: SnapshotFiles, columns: Sequence[Selected], *, placed: bool = False) -> str:
    """Return a relation of the live rows; `placed` adds where each row lies. Raises: NeedsSparkError."""
    require_distinct_names(column.name for column in columns)
    deletes = files.deletes
    arms = [
        *_arms(
            [file for file in files.data if file.path not in deletes.touched], columns, None, placed=placed
        ),
        *_arms(
            [file for file in files.data if file.path in deletes.touched], columns, deletes, placed=placed
        ),
    ]
    return f"({' UNION ALL '.join(arms)})" if arms else _nothing(columns, placed=placed)


def _arms(
    files: Sequence[DataFile], columns: Sequence[Selected], deletes: Deletes | None, *, placed: bool
) -> Iterable[str]:
    """Yield the SELECT of files whose paths begin alike; with `deletes`, less the rows that these name."""
    for scheme, group in _by_scheme(files).items():
        path = _PATH if not scheme else f"concat({text(scheme)}, {_PATH})"
        place = f", {path} AS {quoted(FILE)}, {ROW_NUMBER} AS {quoted(POS)}" if placed else ""
        told = f", filename = '{_PATH}', file_row_number = true" if placed or deletes is not None else ""
        there = {column.field_id: column.type for column in columns if column.field_id is not None}
        kinds = {field_id: (f"c{field_id}", kind) for field_id, kind in there.items()}
        rows = sum(file.rows for _, file in group)
        source = _read_parquet([found.path for found, _ in group], kinds, rows, told)
        if deletes is not None:
            gone = deletes_sql(deletes, [file for _, file in group])
            source += f" ANTI JOIN {gone} ON gone_path = {path} AND gone_pos = {ROW_NUMBER}"
        yield f"SELECT {', '.join(map(_value, columns))}{place} FROM {source}"


def _by_scheme(files: Sequence[DataFile]) -> dict[str, list[tuple[Located, DataFile]]]:
    found: dict[str, list[tuple[Located, DataFile]]] = {}
    for file in files:
        place = located(file.path)
        found.setdefault(place.scheme, []).append((place, file))
    return found


def _value(column: Selected) -> str:
    value = f"CAST(NULL AS {column.type})" if column.field_id is None else f"c{column.field_id}"
    if column.field_id is not None and column.type in _WITH_NAN:
        # Parquet's bounds leave NaN out, and DuckDB (1.5) passes rows over by them, to which NaN is the
        # greatest number: `> 5` would not find it. An expression has no bounds.
        value = f"CASE WHEN isnan({value}) THEN CAST('NaN' AS {column.type}) ELSE {value} END"
    return f"{value} AS {quoted(column.name)}"


def _nothing(columns: Sequence[Selected], *, placed: bool) -> str:
    """Return a relation of these columns without rows."""
    kinds = [(column.name, column.type) for column in columns]
    kinds += [(FILE, "VARCHAR"), (POS, "BIGINT")] if placed else []
    values = ", ".join(f"CAST(NULL AS {kind}) AS {quoted(name)}" for name, kind in kinds)
    return f"(SELECT {values} WHERE false)"


def _read_parquet(
    paths: Sequence[str], kinds: Mapping[int, tuple[str, str]], rows: int, options: str = ""
) -> str:
    """Return the rows of files, columns by field id as `kinds` names and types them.

    DuckDB wants one column at least; where all are NULL, it is one that no file has. It takes files that are
    read by a schema (1.5) for empty, unless it is told how many `rows` they have: it would hash the larger
    side of each join.
    """
    schema = ", ".join(
        f"{key}: {{name: {text(name)}, type: {text(kind)}, default_value: NULL}}"
        for key, (name, kind) in (kinds or {0: ("c0", "BOOLEAN")}).items()
    )
    listed = ", ".join(text(exact(path)) for path in paths)
    known = f"schema = MAP {{{schema}}}, explicit_cardinality = {rows}"
    return f"read_parquet([{listed}], {known}, hive_partitioning = false{options})"


def deletes_sql(deletes: Deletes, data: Sequence[DataFile]) -> str:
    """Return the places that delete files name, as a relation of `gone_path` and `gone_pos`.

    Of data files that are gone, or that these files do not hold for, there may be places in it, too.
    """
    kinds = {FILE_PATH_ID: ("gone_path", "VARCHAR"), POS_ID: ("gone_pos", "BIGINT")}
    paths = {located(file.path).path: file for file in deletes.files}
    rows = sum(file.rows for file in deletes.files)
    if not deletes.by_sequence:
        return f"(SELECT gone_path, gone_pos FROM {_read_parquet(list(paths), kinds, rows)})"
    by = _sequence_numbers(paths.items())
    of = _sequence_numbers((file.path, file) for file in data)
    source = _read_parquet(list(paths), kinds, rows, f", filename = '{_PATH}'")
    return (
        f"(SELECT gone_path, gone_pos FROM {source} "
        f"JOIN (VALUES {by}) AS deleting(by_path, by_number) ON by_path = {_PATH} "
        f"JOIN (VALUES {of}) AS deleted(of_path, of_number) ON of_path = gone_path "
        "WHERE by_number >= of_number)"
    )


def _sequence_numbers(files: Iterable[tuple[str, DataFile | DeleteFile]]) -> str:
    return ", ".join(f"({text(path)}, {file.sequence_number}::BIGINT)" for path, file in files)


def quoted(name: str) -> str:
    """Return an identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """Return a literal."""
    return "'" + value.replace("'", "''") + "'"
