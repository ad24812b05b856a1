"""An Iceberg table that is a source, read by Spark from its metadata file alone: no catalog is asked again.

https://iceberg.apache.org/docs/1.10.0/spark-queries/#querying-with-dataframes
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.core.sql.spark import quoted
from iceberg_datamart.lake.spark.exact import exact_cast
from iceberg_datamart.lake.spark.files import marked

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from iceberg_datamart.core.source.reads import IcebergRead


def iceberg_frame(session: SparkSession, read: IcebergRead) -> DataFrame:
    """Return all rows of the table, or those that were appended; read when Spark gets to it."""
    # Iceberg 1.0 asks for leave to take timestamps without zone for UTC; later ones know no such option.
    reader = session.read.format("iceberg").option("handle-timestamp-without-timezone", "true")
    if read.after is not None:
        reader = reader.option("start-snapshot-id", str(read.after))
    raw = reader.load(read.metadata)
    kinds = dict(raw.dtypes)
    return marked(
        raw.selectExpr(
            *(
                f"{exact_cast(quoted(column.name), kinds[column.name], column)} AS {quoted(column.name)}"
                for column in read.columns
            )
        ),
        read,
    )
