"""The Spark job that a data engineer writes by hand: MERGE every table on its key, then rebuild the mart.

It reads each table from its greatest cursor value on, in one connection, with Spark's own types. Tables
have Iceberg's default properties. It uses the Spark settings and jars of iceberg-datamart and nothing else
of it. Deletes, late commits, failures and two runs at once are not its concern.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.tables import KEYS_AND_CURSORS, MART, MART_SQL
from iceberg_datamart.app.settings_file import load_config
from iceberg_datamart.lake.spark.session import open_session
from iceberg_datamart.sources.postgres.jdbc import credentials_of, jdbc_url

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from iceberg_datamart.core.settings.model import Config


def run(config: Config) -> None:
    """Bring the six tables and the mart up to the source."""
    spark = open_session(config)
    place = f"{config.catalog.name}.{config.database}"
    spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {place}")
    for table, (key, cursor) in KEYS_AND_CURSORS.items():
        target = f"{place}.{table}"
        if spark.catalog.tableExists(target):
            greatest = spark.sql(f"SELECT CAST(max({cursor}) AS STRING) FROM {target}").collect()[0][0]
            window = f"(SELECT * FROM public.{table} WHERE {cursor} >= timestamptz '{greatest}+00') AS w"
            _merge(spark, _rows(spark, config, window), target, key)
        else:
            _rows(spark, config, f"public.{table}").writeTo(target).using("iceberg").create()
    mart = MART_SQL.format(place=f"{place}.")
    spark.sql(f"CREATE OR REPLACE TABLE {place}.{MART} USING iceberg AS {mart}")


def _merge(spark: SparkSession, changed: DataFrame, target: str, key: str) -> None:
    changed.createOrReplaceTempView("changed")
    spark.sql(
        f"MERGE INTO {target} AS t USING changed AS s ON t.{key} = s.{key} "
        "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
    )


def _rows(spark: SparkSession, config: Config, relation: str) -> DataFrame:
    source = config.sources["prd"]
    properties = {"driver": "org.postgresql.Driver", "fetchsize": "10000", **credentials_of(source)}
    return spark.read.jdbc(jdbc_url(source), relation, properties=properties)


if __name__ == "__main__":
    run(load_config(Path(sys.argv[1]), os.environ))
