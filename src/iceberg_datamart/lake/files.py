"""Tables of files read by Spark, each column with the type that the catalog gives it.

Values that are not of that type fail the read: Spark's casts are ANSI's here, and readers fail fast.
https://spark.apache.org/docs/3.5.6/sql-data-sources.html
"""

from __future__ import annotations

import re
from functools import reduce
from typing import TYPE_CHECKING

from iceberg_datamart.errors import SourceError, SourceTableMissingError
from iceberg_datamart.lake.analysis import require_row_local
from iceberg_datamart.lake.types import spark_type
from iceberg_datamart.sql import literal, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, DataFrameReader, SparkSession

    from iceberg_datamart.reading import Column, FilesRead, LakeRead

# A name of a file may hold what Hadoop takes for a pattern.
_PATTERN = re.compile(r"([{}\[\]*?\\])")
_WHOLE = ("tinyint", "smallint", "int", "bigint")
_WIDER = {("float", "double"), ("timestamp_ntz", "timestamp")}
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")


def files_frame(session: SparkSession, read: FilesRead) -> DataFrame:
    """Return all rows of the files, whatever their number for each key; read when Spark gets to it."""
    folders = read.folders
    if read.format == "avro":
        # Spark takes the schema of one file for all: what others have beside it would be lost.
        folders = tuple((values, (file,)) for values, files in folders for file in files)
    parts = [_folder(session, read, values, files) for values, files in folders]
    if not parts:
        nothing = [f"CAST(NULL AS {spark_type(c.type)}) AS {quoted(c.name)}" for c in read.columns]
        mark = [] if read.deleted is None else [f"false AS {read.deleted}"]
        return session.range(0).selectExpr(*nothing, *mark)
    return reduce(lambda one, other: one.unionAll(other), parts)


def _folder(
    session: SparkSession, read: FilesRead, values: Sequence[str | None], files: Sequence[str]
) -> DataFrame:
    """Return the rows of one partition's files."""
    paths = [_PATTERN.sub(r"\\\1", path) for path in files]
    raw = _reader(session, read, paths).load(paths)
    outside = dict(zip(read.partition_columns, values, strict=True))
    held = {name: _found(raw.columns, name) for name in read.stored if name not in outside}
    kinds = dict(raw.dtypes)
    columns = []
    for column in read.columns:
        own = held.get(column.name)
        value = _literal(outside.get(column.name)) if own is None else quoted(own)
        columns.append(
            f"{exact_cast(value, kinds.get(own or '', 'string'), column)} AS {quoted(column.name)}"
        )
    return marked(raw.selectExpr(*columns), read)


def marked(typed: DataFrame, read: LakeRead) -> DataFrame:
    """Return the rows with the mark of those to delete, where there is a predicate for it."""
    if read.soft_delete is None or read.deleted is None:
        return typed
    require_row_local(typed, f"({read.soft_delete})", "soft_delete")
    return typed.selectExpr("*", f"coalesce(CAST(({read.soft_delete}) AS boolean), false) AS {read.deleted}")


def _reader(session: SparkSession, read: FilesRead, paths: Sequence[str]) -> DataFrameReader:
    """Return a reader that takes text for text: only the catalog says what it means."""
    reader = session.read.format(read.format).options(**read.options)
    if read.format == "csv":
        return reader.schema(", ".join(f"{quoted(name)} string" for name in read.stored))
    if read.format == "json":
        lists = {column.name.lower() for column in read.columns if column.type.startswith("list<")}
        names = reader.option("primitivesAsString", "true").load(paths).columns
        kinds = ((name, "array<string>" if name.lower() in lists else "string") for name in names)
        return reader.schema(", ".join(f"{quoted(name)} {kind}" for name, kind in kinds))
    return reader


def _literal(value: str | None) -> str:
    return "CAST(NULL AS string)" if value is None else literal(value)


def _found(columns: Sequence[str], name: str) -> str | None:
    """Return the files' own spelling of a column, which the catalog has in lower case; None for none.

    Raises: SourceTableMissingError for two spellings: to take one would lose the other's values.
    """
    alike = [column for column in columns if column.lower() == name.lower()]
    if len(alike) > 1:
        message = f"the files spell column '{name}' in {len(alike)} ways: {', '.join(alike)}"
        raise SourceTableMissingError(message, hint="Write them with one spelling, or exclude the column.")
    return alike[0] if alike else None


def exact_cast(value: str, have: str, column: Column) -> str:
    """Return the expression of a value with its column's type. Raises: SourceError where that rounds."""
    want = spark_type(column.type)
    if have == "string" and column.type.startswith("decimal"):
        # Spark rounds text that has more digits.
        exact = literal(
            rf"^\s*[-+]?\d*(\.\d{{0,{column.type.rstrip(')').rpartition(',')[2].strip()}}}0*)?\s*$"
        )
        said = literal(f"{column.name} does not fit {column.type}: ")
        refused = f"CAST(raise_error(concat({said}, {value})) AS {want})"
        fits = f"{value} IS NULL OR {value} RLIKE {exact}"
        return f"CASE WHEN {fits} THEN CAST({value} AS {want}) ELSE {refused} END"
    if have != "string" and not _holds(want, have):
        message = f"the source has column '{column.name}' as {have}, which {want} may not hold exactly"
        raise SourceError(message, hint="Run its crawler again, or set the column's type in `columns`.")
    return f"CAST({value} AS {want})"


def _holds(want: str, have: str) -> bool:
    """Return whether every value of one of Spark's types is one of the other's."""
    want, have = want.replace(" ", ""), have.replace(" ", "")
    if want in (have, "string") or (have, want) in _WIDER:
        return True
    if want.startswith("array<") and have.startswith("array<"):
        return _holds(want[6:-1], have[6:-1])
    if want in _WHOLE and have in _WHOLE:
        return _WHOLE.index(have) <= _WHOLE.index(want)
    sizes = [_DECIMAL.fullmatch(kind) for kind in (want, have)]
    (p, s), (q, t) = ([int(part) for part in size.groups()] if size else [0, 0] for size in sizes)
    return all(sizes) and s >= t and p - s >= q - t
