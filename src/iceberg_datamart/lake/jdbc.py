"""A window read by Spark's JDBC reader, all partitions at the source session's snapshot.

https://spark.apache.org/docs/3.5.6/sql-data-sources-jdbc.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.lake.types import decoded
from iceberg_datamart.reading import wire_name
from iceberg_datamart.sql import PLACE, deduplicated_sql, quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from iceberg_datamart.lake.views import Views
    from iceberg_datamart.ports import MirrorComparison, MirrorMerge
    from iceberg_datamart.reading import JdbcRead, SourceTable

# pgjdbc fetches in batches only where autocommit is off, which Spark sees to for a fetchsize above 0.
_FETCH_SIZE = "10000"


def batch_of(session: SparkSession, merge: MirrorMerge | MirrorComparison, views: Views) -> DataFrame:
    """Return the rows to merge or to compare, one for each key; not read yet."""
    frame = jdbc_frame(session, merge.read, merge.source)
    if merge.source.key_is_unique:
        return frame
    columns = [column.name for column in merge.source.columns]
    cursor = merge.cursor if merge.cursor in columns else None
    text = deduplicated_sql(views.add(frame), merge.source.primary_key, columns, cursor)
    return session.sql(text).drop(PLACE)


def jdbc_frame(session: SparkSession, read: JdbcRead, source: SourceTable) -> DataFrame:
    """Return the rows of `read`, each column with its type in `source`; read when Spark gets to it."""
    properties = {
        "driver": "org.postgresql.Driver",
        "fetchsize": _FETCH_SIZE,
        "sessionInitStatement": read.session,
        **read.credentials,
    }
    raw = session.read.jdbc(read.url, read.relation, predicates=list(read.predicates), properties=properties)
    types = {column.name: column for column in source.columns}
    columns = [decoded(types[column.name], wire_name(at)) for at, column in enumerate(read.columns)]
    marks = [quoted(mark) for mark in (read.deleted, read.newer) if mark is not None]
    return raw.selectExpr(*columns, *marks)
