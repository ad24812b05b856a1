"""The rows of a window, one for each key, from wherever they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.lake.files import files_frame
from iceberg_datamart.lake.jdbc import jdbc_frame
from iceberg_datamart.reading import FilesRead, as_held
from iceberg_datamart.sql import PLACE, deduplicated_sql, without_older_sql

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from iceberg_datamart.lake.views import Views
    from iceberg_datamart.ports import MirrorComparison, MirrorMerge


def batch_of(session: SparkSession, merge: MirrorMerge | MirrorComparison, views: Views) -> DataFrame:
    """Return the rows to merge or to compare, one for each key; not read yet."""
    if isinstance(merge.read, FilesRead):
        frame = files_frame(session, as_held(merge.read, merge.source))
    else:
        frame = jdbc_frame(session, as_held(merge.read, merge.source))
    if merge.source.key_is_unique:
        return frame
    columns = [column.name for column in merge.source.columns]
    cursor = merge.cursor if merge.cursor in columns else None
    text = deduplicated_sql(views.add(frame), merge.source.primary_key, columns, cursor)
    return session.sql(text).drop(PLACE)


def without_older(
    session: SparkSession, merge: MirrorMerge, batch: DataFrame, base: int, views: Views
) -> DataFrame:
    """Return the rows of `batch` but those of files that a window brings later than newer ones.

    Files are a log of versions: what the mirror holds may come from a file that is gone since. A full
    load takes what the files say now, as of a database.
    """
    if merge.full or merge.cursor is None or not isinstance(merge.read, FilesRead):
        return batch
    old = views.relation(merge.table, base)
    return session.sql(without_older_sql(views.add(batch), old, merge.source.primary_key, merge.cursor))
