"""Which files one reader reads: all of a format, where they have columns and types of one kind.

Their own schemas are asked for where Spark merges none, or would take one file's for all.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from py4j.protocol import Py4JError
from pyspark.sql.utils import CapturedException

from iceberg_datamart.core.sql.spark import quoted
from iceberg_datamart.errors import SourceError, SourceTableMissingError
from iceberg_datamart.lake.spark.java_classes import java

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType

    from iceberg_datamart.core.source.reads import FilesRead

_INT96, _VECTORS = "spark.sql.parquet.int96AsTimestamp", "spark.sql.parquet.enableVectorizedReader"
# What Spark says where the schemas of two files do not make one; its words differ between versions.
_UNMERGED = re.compile(r"merg", re.IGNORECASE)
_UTC = "UTC"


def groups(session: SparkSession, read: FilesRead, paths: Sequence[str]) -> list[list[str]]:
    """Return the paths by which files are read together. Raises: SourceError."""
    if read.format in ("csv", "json"):
        return [list(paths)]
    if read.format != "avro":
        merged = _merged(session, read, paths)
        if merged is not None:
            _require_exact_times(session, read, merged)
            return [list(paths)]
    found: dict[str, list[str]] = {}
    for path in paths:
        schema = _schema(session, read, [path])
        _require_exact_times(session, read, schema)
        found.setdefault(schema.json(), []).append(path)
    return list(found.values())


def own_name(columns: Sequence[str], name: str) -> str | None:
    """Return the files' own spelling of a column, which the catalog has in lower case; None for none.

    Raises: SourceTableMissingError for two spellings: to take one would lose the other's values.
    """
    alike = [column for column in columns if column.lower() == name.lower()]
    if len(alike) > 1:
        message = f"the files spell column '{name}' in {len(alike)} ways: {', '.join(alike)}"
        raise SourceTableMissingError(message, hint="Write them with one spelling, or exclude the column.")
    return alike[0] if alike else None


def _merged(session: SparkSession, read: FilesRead, paths: Sequence[str]) -> StructType | None:
    """Return the schema of all files; None where they do not have one, or spell a column in two ways."""
    try:
        schema = _schema(session, read, paths)
    except (Py4JError, CapturedException) as error:
        if len(paths) > 1 and _UNMERGED.search(str(error)):
            return None
        raise
    names = [field.name.lower() for field in schema]
    return schema if len(set(names)) == len(names) else None


def _schema(session: SparkSession, read: FilesRead, paths: Sequence[str]) -> StructType:
    """Return the files' schema. Raises: SourceError for timestamps that Spark would cut."""
    reader = session.read.format(read.format).options(**read.options)
    if read.format != "parquet":
        return reader.load(list(paths)).schema
    with _set(session, _INT96, "false"):  # Those of Spark itself are told by its own schema in the file.
        try:
            return reader.load(list(paths)).schema
        except (Py4JError, CapturedException) as error:
            if "INT96" not in str(error):
                raise
    schema = reader.load(list(paths)).schema
    names = _times(read, schema)
    if names and not _are_microseconds(session, paths, names):
        shown = ", ".join(names)
        message = f"files hold timestamps as INT96, whose nanoseconds would be cut (columns {shown})"
        hint = "Write them as TIMESTAMP_MICROS, or exclude these columns. Nothing was written."
        raise SourceError(message, hint=hint)
    return schema


def _are_microseconds(session: SparkSession, paths: Sequence[str], names: Sequence[str]) -> bool:
    """Return whether timestamps in 12 bytes are whole microseconds: one pass over these columns.

    The first eight bytes are nanoseconds of the day, the least first. False also where other files hold
    other timestamps in the same columns, which are not read as bytes.
    """
    columns = ", ".join(f"{quoted(name)} binary" for name in names)
    cut = " OR ".join(f"{_nanoseconds(quoted(name))} % 1000 <> 0" for name in names)
    try:
        with _set(session, _VECTORS, "false"):
            raw = session.read.format("parquet").schema(columns).load(list(paths))
            return not raw.selectExpr(f"count_if({cut})").collect()[0][0]
    except (Py4JError, CapturedException):
        return False


def _nanoseconds(value: str) -> str:
    pairs = ", ".join(f"substring(hex({value}), {place}, 2)" for place in range(15, 0, -2))
    return f"CAST(conv(concat({pairs}), 16, 10) AS bigint)"


def _times(read: FilesRead, schema: StructType) -> list[str]:
    """Return the columns that are read, and are timestamps in the files or hold some."""
    wanted = {column.name.lower() for column in read.columns}
    times = [field.name for field in schema if "timestamp" in field.dataType.simpleString()]
    return [name for name in times if name.lower() in wanted]


@contextmanager
def _set(session: SparkSession, name: str, value: str) -> Iterator[None]:
    """Have one of Spark's settings meanwhile."""
    before = session.conf.get(name)
    session.conf.set(name, value)
    try:
        yield
    finally:
        session.conf.set(name, before)


def _require_exact_times(session: SparkSession, read: FilesRead, schema: StructType) -> None:
    """Have ORC's timestamps read in UTC, or refuse them: its reader shifts them by the JVM's own zone."""
    times = _times(read, schema)
    if read.format != "orc" or not times:
        return
    zones = java(session).java.util.TimeZone
    if session.sparkContext.master.startswith("local"):
        # This process's own JVM, all of whose work is in UTC anyway.
        zones.setDefault(zones.getTimeZone(_UTC))
        return
    asked = session.range(1).selectExpr("java_method('java.time.ZoneId', 'systemDefault')").collect()
    for zone in (zones.getDefault().getID(), asked[0][0]):
        if zone not in (_UTC, "GMT", "Z", "Etc/UTC"):
            message = (
                f"files hold timestamps of ORC (columns {', '.join(times)}), and Spark's Java runs in {zone}"
            )
            hint = "Add -Duser.timezone=UTC to spark.driver.extraJavaOptions and that of executors."
            raise SourceError(message, hint=hint)
