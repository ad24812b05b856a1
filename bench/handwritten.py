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

from iceberg_datamart.app.settings_file import load_config
from iceberg_datamart.lake.spark.session import open_session
from iceberg_datamart.sources.postgres.jdbc import credentials_of, jdbc_url

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from iceberg_datamart.core.settings.model import Config

KEYS_AND_CURSORS = {
    "account": ("id", "updated_at"),
    "account_metadata": ("id", "updated_at"),
    "account_risk": ("id", "updated_at"),
    "queue": ("id", "updated_at"),
    "settlement_transaction": ("id", "created_at"),
    "adjustment": ("id", "updated_at"),
}
_MART = """
    CREATE OR REPLACE TABLE {place}.account_settlements USING iceberg AS
    SELECT a.account_id AS account_account_id, a.id AS account_id, a.name AS account_name,
        a.status AS account_status, a.country, a.external_id,
        a.credit_limit, a.is_active, a.opened_on, a.tags, a.created_at AS account_created_at,
        a.updated_at AS account_updated_at,
        m.legal_name, m.contact_email, m.preferences, m.opted_in, m.last_login_at,
        m.updated_at AS account_metadata_updated_at, m.id AS account_metadata_id,
        r.risk_score, r.risk_band, r.model_version, r.watchlist_hits, r.is_sanctioned, r.reviewed_on,
        r.updated_at AS account_risk_updated_at, r.id AS account_risk_id,
        q.queue_id AS queue_queue_id, q.id AS queue_id, q.name AS queue_name, q.status AS queue_status,
        q.priority, q.is_paused, q.routing, q.opened_at, q.updated_at AS queue_updated_at,
        t.transaction_id, t.reference, t.amount, t.fee, t.currency,
        t.status AS settlement_transaction_status, t.settled_on, t.memo,
        t.created_at AS settlement_transaction_created_at, t.id AS settlement_transaction_id
    FROM {place}.account AS a
    JOIN {place}.account_metadata AS m ON m.account_id = a.account_id
    JOIN {place}.account_risk AS r ON r.account_id = a.account_id
    JOIN {place}.queue AS q ON q.account_id = a.account_id
    JOIN {place}.settlement_transaction AS t ON t.queue_id = q.queue_id
"""


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
    spark.sql(_MART.format(place=place))


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
