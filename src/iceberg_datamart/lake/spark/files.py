"""Tables of files read by Spark, each column with the type that the catalog gives it.

Values that are not of that type fail the read: all text is taken for text, and then cast exactly.
https://spark.apache.org/docs/3.5.6/sql-data-sources.html
"""

from __future__ import annotations

import re
from functools import reduce
from typing import TYPE_CHECKING, Any

from pyspark.sql.functions import broadcast, col, explode, expr, udf

from iceberg_datamart.core.columns import element_of
from iceberg_datamart.core.source.reads import wire_name
from iceberg_datamart.core.sql.spark import literal, quoted
from iceberg_datamart.lake.spark.analysis import require_row_local
from iceberg_datamart.lake.spark.exact import exact_cast
from iceberg_datamart.lake.spark.file_groups import groups, own_name
from iceberg_datamart.lake.spark.java_classes import java
from iceberg_datamart.lake.spark.json_lines import rows_in
from iceberg_datamart.lake.spark.types import spark_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import DataFrame, SparkSession

    from iceberg_datamart.core.source.reads import FilesRead, LakeRead

# A name of a file may hold what Hadoop takes for a pattern.
_PATTERN = re.compile(r"([{}\[\]*?\\])")
_FILE, _PLACE, _ROW = "_datamart_file", "_datamart_place", "_datamart_row"
# Of `s3://bucket/key` and `file:///folder` what a file system may not spell otherwise.
_SCHEME = re.compile(r"^[A-Za-z0-9]+:/*")
_MARK = "\ufeff"
_LINE_END = r"\r\z"


def files_frame(session: SparkSession, read: FilesRead) -> DataFrame:
    """Return all rows of the files, whatever their number for each key; read when Spark gets to it."""
    paths = file_patterns(read)
    if not paths:
        nothing = [f"CAST(NULL AS {spark_type(c.type)}) AS {quoted(c.name)}" for c in read.columns]
        mark = [] if read.deleted is None else [f"false AS {read.deleted}"]
        return session.range(0).selectExpr(*nothing, *mark)
    parts = [_typed(session, read, group) for group in groups(session, read, paths)]
    return marked(reduce(lambda one, other: one.unionAll(other), parts), read)


def file_patterns(read: FilesRead) -> list[str]:
    """Return the paths of all files as Spark takes them, none for a pattern."""
    return [_PATTERN.sub(r"\\\1", path) for _, files in read.folders for path in files]


def _typed(session: SparkSession, read: FilesRead, paths: Sequence[str]) -> DataFrame:
    """Return the rows of files that are read together, each value in its type."""
    raw = _raw(session, read, paths)
    found = _values(dict(raw.dtypes), read)
    if read.partition_columns:
        raw = raw.join(broadcast(_places(session, read)), expr(f"{_FILE} = {_PLACE}"), "left")
    plain = raw.selectExpr(
        *(f"{found[column.name][0]} AS {wire_name(at)}" for at, column in enumerate(read.columns))
    )
    return plain.selectExpr(
        *(
            f"{exact_cast(wire_name(at), found[column.name][1], column)} AS {quoted(column.name)}"
            for at, column in enumerate(read.columns)
        )
    )


def _values(kinds: Mapping[str, str], read: FilesRead) -> dict[str, tuple[str, str]]:
    """Return for each column the expression of its value as it is read, and the type of that."""
    found = {}
    for column in read.columns:
        if column.name in read.partition_columns:
            known = f"{_PLACE}_{read.partition_columns.index(column.name)}"
            lost = literal("a file was read that is in no partition: ")
            checked = f"CAST(raise_error(concat({lost}, {_FILE})) AS string)"
            found[column.name] = (f"CASE WHEN {_PLACE} IS NULL THEN {checked} ELSE {known} END", "string")
            continue
        own = own_name(list(kinds), column.name) if column.name in read.stored else None
        if own is None:
            want = spark_type(column.type)
            found[column.name] = (f"CAST(NULL AS {want})", want)
        else:
            found[column.name] = (_csv_value(own, read) if read.format == "csv" else quoted(own), kinds[own])
    return found


def _csv_value(name: str, read: FilesRead) -> str:
    """Return a value of CSV: without what is not its own, and NULL where it is empty or says so."""
    value = quoted(name)
    if name == read.stored[-1]:
        # Lines end by \n or \r\n; within quotes both stand for themselves.
        value = f"regexp_replace({value}, {literal(_LINE_END)}, '')"
    if name == read.stored[0] and read.encoding == "UTF-8":
        behind = f"substring({value}, 2)"
        refused = (
            f"raise_error({literal('a file begins with a byte order mark and a quote: remove the mark')})"
        )
        quote = f"instr({behind}, {literal(read.options['quote'])}) = 1"
        bare = f"CASE WHEN {quote} THEN CAST({refused} AS string) ELSE {behind} END"
        value = f"CASE WHEN instr({value}, {literal(_MARK)}) = 1 THEN {bare} ELSE {value} END"
    return f"nullif(nullif({value}, ''), {literal(read.null)})"


def _places(session: SparkSession, read: FilesRead) -> DataFrame:
    """Return the values of each file's partition, by the file's name as Spark tells it."""
    path = java(session).org.apache.hadoop.fs.Path
    rows = [
        (_SCHEME.sub("", str(path(file).toUri().toString())), *values)
        for values, files in read.folders
        for file in files
    ]
    names = [_PLACE, *(f"{_PLACE}_{at}" for at in range(len(read.partition_columns)))]
    return session.createDataFrame(rows, ", ".join(f"{name} string" for name in names))


def marked(typed: DataFrame, read: LakeRead) -> DataFrame:
    """Return the rows with the mark of those to delete, where there is a predicate for it."""
    if read.soft_delete is None or read.deleted is None:
        return typed
    require_row_local(typed, f"({read.soft_delete})", "soft_delete")
    return typed.selectExpr("*", f"coalesce(CAST(({read.soft_delete}) AS boolean), false) AS {read.deleted}")


def _raw(session: SparkSession, read: FilesRead, paths: Sequence[str]) -> DataFrame:
    """Return the files' rows as they are there, text as text, with the file's name where that is needed."""
    file = f"regexp_replace(input_file_name(), {literal(_SCHEME.pattern)}, '') AS {_FILE}"
    also = [file] if read.partition_columns else []
    if read.format == "json":
        lines = (
            session.read.format("text").load(list(paths)).selectExpr("CAST(value AS binary) AS value", *also)
        )
        return lines.select(
            explode(_parser(read)(col("value"))).alias(_ROW), *(_FILE for _ in also)
        ).selectExpr(f"{_ROW}.*", *(_FILE for _ in also))
    reader = session.read.format(read.format).options(**read.options)
    if read.format == "csv":
        reader = reader.schema(", ".join(f"{quoted(name)} string" for name in read.stored))
    return reader.load(list(paths)).selectExpr("*", *also)


def _parser(read: FilesRead) -> Any:
    """Return the function that turns a line of JSON into rows, with the columns that are read."""
    lists = {column.name for column in read.columns if element_of(column.type)}
    columns = [(column.name, column.name in lists) for column in read.columns if column.name in read.stored]
    encoding = read.encoding
    kinds = ", ".join(
        f"{quoted(name)}: {'array<string>' if is_list else 'string'}" for name, is_list in columns
    )
    return udf(lambda line: rows_in(line, columns, encoding), f"array<struct<{kinds}>>")
