"""A window read by Spark's JDBC reader, all partitions at the source session's snapshot.

https://spark.apache.org/docs/3.5.6/sql-data-sources-jdbc.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.core.source.reads import wire_name
from iceberg_datamart.core.source.widths import WIDE, fetch_size
from iceberg_datamart.core.sql.spark import quoted
from iceberg_datamart.lake.spark.types import decoded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, SparkSession

    from iceberg_datamart.core.source.reads import QueryRead


def jdbc_frame(session: SparkSession, read: QueryRead) -> DataFrame:
    """Return the rows of `read`, each column with its Iceberg type; read when Spark gets to it."""
    raw = _raw_frame(session, read, read.predicates, read.widest if read.apart is None else WIDE)
    if read.apart is not None:
        raw = raw.union(_raw_frame(session, read, [read.apart], read.widest))
    columns = [decoded(column, wire_name(position)) for position, column in enumerate(read.columns)]
    marks = [quoted(mark) for mark in (read.deleted, read.pending) if mark is not None]
    return raw.selectExpr(*columns, *marks)


def _raw_frame(session: SparkSession, read: QueryRead, predicates: Sequence[str], widest: int) -> DataFrame:
    """Return the rows that any of `predicates` selects, as they travel; none is above `widest` bytes."""
    properties = {
        "driver": "org.postgresql.Driver",
        # pgjdbc fetches in batches only where autocommit is off, which Spark sees to for a fetchsize above 0.
        "fetchsize": str(fetch_size(widest)),
        "sessionInitStatement": read.session,
        **read.credentials,
    }
    return session.read.jdbc(read.url, read.relation, predicates=list(predicates), properties=properties)
