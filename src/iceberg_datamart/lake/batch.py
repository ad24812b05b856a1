"""The rows of a window, one for each key, from wherever they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.errors import UnfitValueError
from iceberg_datamart.lake.files import files_frame
from iceberg_datamart.lake.iceberg_source import iceberg_frame
from iceberg_datamart.lake.jdbc import jdbc_frame
from iceberg_datamart.reading import IcebergRead, JdbcRead, Probe, as_held
from iceberg_datamart.sql import PLACE, deduplicated_sql, quoted, without_older_sql
from iceberg_datamart.watermark import CursorKind, Watermark

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from iceberg_datamart.lake.views import Views
    from iceberg_datamart.ports import MirrorComparison, MirrorMerge
    from iceberg_datamart.reading import LakeRead, Read, SourceTable

_NUMBERS = {
    CursorKind.TIMESTAMPTZ: "unix_micros({})",
    CursorKind.DATE: "unix_date({})",
    CursorKind.INTEGER: "CAST({} AS bigint)",
}


def batch_of(session: SparkSession, merge: MirrorMerge | MirrorComparison, views: Views) -> DataFrame:
    """Return the rows to merge or to compare, one for each key; not read yet."""
    frame = _frame(session, merge.read, merge.source)
    if merge.source.key_is_unique:
        return frame
    columns = [column.name for column in merge.source.columns]
    cursor = merge.cursor if merge.cursor in columns else None
    text = deduplicated_sql(views.add(frame), merge.source.primary_key, columns, cursor)
    return session.sql(text).drop(PLACE)


def probe_of(
    session: SparkSession, table: str, source: SourceTable, read: LakeRead, cursor: str | None
) -> Probe:
    """Return the number of rows and the greatest cursor. Raises: UnfitValueError for a NULL in a key."""
    keys = " OR ".join(f"{quoted(name)} IS NULL" for name in source.primary_key)
    greatest = "CAST(NULL AS bigint)"
    if cursor is not None and source.cursor is not None:
        greatest = f"max({_NUMBERS[source.cursor].format(quoted(cursor))})"
    frame = _frame(session, read, source)
    found = frame.selectExpr("count(*)", greatest, f"count_if({keys})").collect()[0]
    if found[2]:
        message = f"{found[2]} rows have NULL in their key ({', '.join(source.primary_key)})"
        raise UnfitValueError(message, hint=f"Correct the source, or tables.{table}.primary_key.")
    mark = None if found[1] is None or source.cursor is None else Watermark(source.cursor, int(found[1]))
    return Probe(int(found[0]), mark, settled=mark)


def _frame(session: SparkSession, read: Read, source: SourceTable) -> DataFrame:
    """Return all rows of a read, each column with the type that the mirror holds."""
    if isinstance(read, JdbcRead):
        return jdbc_frame(session, as_held(read, source))
    if isinstance(read, IcebergRead):
        return iceberg_frame(session, as_held(read, source))
    return files_frame(session, as_held(read, source))


def without_older(
    session: SparkSession, merge: MirrorMerge, batch: DataFrame, base: int, views: Views
) -> DataFrame:
    """Return the rows of `batch` but those that files or an append bring later than newer ones.

    They are a log of versions: what the mirror holds may come from a file that is gone since. A full
    load takes what the files say now, as of a database.
    """
    if merge.full or merge.cursor is None or isinstance(merge.read, JdbcRead):
        return batch
    old = views.relation(merge.table, base)
    return session.sql(without_older_sql(views.add(batch), old, merge.source.primary_key, merge.cursor))
