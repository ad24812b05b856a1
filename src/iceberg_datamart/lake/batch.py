"""The rows of a window, one for each key, from wherever they are read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from iceberg_datamart.core.source.reads import FilesRead, IcebergRead, JdbcRead, Probe, SharedKeys, as_held
from iceberg_datamart.core.sql import (
    PLACE,
    deduplicated_sql,
    quoted,
    shared_keys_sql,
    versions_sql,
    without_older_sql,
)
from iceberg_datamart.core.state.watermark import CursorKind, Watermark
from iceberg_datamart.errors import UnfitValueError
from iceberg_datamart.lake.csv_lines import require_whole_lines
from iceberg_datamart.lake.files import file_patterns, files_frame
from iceberg_datamart.lake.iceberg_source import iceberg_frame
from iceberg_datamart.lake.jdbc import jdbc_frame

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from iceberg_datamart.core.source.reads import LakeRead, Read, SourceTable
    from iceberg_datamart.lake.views import Views
    from iceberg_datamart.ports import MirrorComparison, MirrorMerge

_NUMBERS = {
    CursorKind.TIMESTAMPTZ: "unix_micros({})",
    CursorKind.DATE: "unix_date({})",
    CursorKind.INTEGER: "CAST({} AS bigint)",
}


def batch_of(session: SparkSession, merge: MirrorMerge | MirrorComparison, views: Views) -> DataFrame:
    """Return the rows to merge or to compare, one for each key; not read yet."""
    frame = _frame(session, merge.read, merge.source)
    # PostgreSQL itself proves its keys, or chooses among the rows that share one: `sources/postgres/keys.py`.
    if merge.source.key_is_unique or isinstance(merge.read, JdbcRead):
        return frame
    if isinstance(merge.read, IcebergRead) and merge.read.after is not None and merge.read.deleted:
        # Of a row that is marked as deleted, the mirror keeps nothing that says how new it was.
        whole = _frame(session, replace(merge.read, after=None), merge.source)
        text = versions_sql(views.add(whole), views.add(frame), merge.source.primary_key)
        frame = session.sql(text)
    columns = [column.name for column in merge.source.columns]
    cursor = merge.cursor if merge.cursor in columns else None
    text = deduplicated_sql(views.add(frame), merge.source.primary_key, columns, cursor)
    return session.sql(text).drop(PLACE)


def probe_of(  # noqa: PLR0913, PLR0917  (one read)
    session: SparkSession,
    table: str,
    source: SourceTable,
    read: LakeRead,
    cursor: str | None,
    views: Views,
) -> Probe:
    """Return how many rows there are, the greatest cursor, and which keys are shared.

    Raises: UnfitValueError for a NULL in a key, and for files that cannot be told for certain.
    """
    if isinstance(read, FilesRead) and read.format == "csv" and read.folders:
        require_whole_lines(session, read, file_patterns(read))
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
    names = [column.name for column in source.columns]
    text = shared_keys_sql(views.add(frame), source.primary_key, names, cursor if cursor in names else None)
    keys, rows, undecided, example = session.sql(text).collect()[0]
    return Probe(int(found[0]), mark, settled=mark, shared=SharedKeys(keys, rows, undecided, example or ""))


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
