"""Metrics sent to Amazon CloudWatch; a failure to send them never fails a run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config as BotoConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_cloudwatch.type_defs import MetricDatumTypeDef

    from iceberg_datamart.core.report.metrics import Metric

log = logging.getLogger(__name__)
NAMESPACE = "IcebergDatamart"
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html: 1000 metrics, 1 MB.
_MOST_AT_ONCE = 1000
# A network without a way to CloudWatch holds up the end of a run by some seconds, not by minutes.
_PATIENCE = BotoConfig(
    connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3}
)


def send(metrics: Sequence[Metric], properties: Mapping[str, str]) -> None:
    """Send all metrics, or warn that they are not sent.

    The region is that of the catalog's `properties`; all else, and it where they name none, is AWS's own
    chain of environment and role.
    """
    try:
        client = boto3.client("cloudwatch", region_name=properties.get("client.region"), config=_PATIENCE)
        for first in range(0, len(metrics), _MOST_AT_ONCE):
            data = [_datum(metric) for metric in metrics[first : first + _MOST_AT_ONCE]]
            client.put_metric_data(Namespace=NAMESPACE, MetricData=data)
    except Exception as error:  # noqa: BLE001  (the run is done, whatever goes wrong here)
        log.warning("metrics are not sent to CloudWatch: %s", error)


def _datum(metric: Metric) -> MetricDatumTypeDef:
    places = {"Database": metric.database, "Table": metric.table}
    return {
        "MetricName": metric.name,
        "Dimensions": [{"Name": name, "Value": value} for name, value in places.items() if value is not None],
        "Timestamp": metric.at,
        "Value": metric.value,
        "Unit": metric.unit,
    }
