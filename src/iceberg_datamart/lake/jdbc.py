"""A window read by Spark's JDBC reader, all partitions at the source session's snapshot.

https://spark.apache.org/docs/3.5.6/sql-data-sources-jdbc.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.lake.types import decoded
from iceberg_datamart.reading import wire_name
from iceberg_datamart.sql import quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from iceberg_datamart.reading import JdbcRead

# pgjdbc fetches in batches only where autocommit is off, which Spark sees to for a fetchsize above 0.
_FETCH_SIZE = "10000"


def jdbc_frame(session: SparkSession, read: JdbcRead) -> DataFrame:
    """Return the rows of `read`, each column with its Iceberg type; read when Spark gets to it."""
    properties = {
        "driver": "org.postgresql.Driver",
        "fetchsize": _FETCH_SIZE,
        "sessionInitStatement": read.session,
        **read.credentials,
    }
    raw = session.read.jdbc(read.url, read.relation, predicates=list(read.predicates), properties=properties)
    columns = [decoded(column, wire_name(position)) for position, column in enumerate(read.columns)]
    marks = [quoted(mark) for mark in (read.deleted, read.pending) if mark is not None]
    return raw.selectExpr(*columns, *marks)
