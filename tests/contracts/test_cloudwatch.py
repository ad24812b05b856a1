"""Metrics arrive at a CloudWatch server, however many; where none arrives, there is a warning alone."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.core.report.metrics import Metric
from iceberg_datamart.stores.cloudwatch import NAMESPACE, send
from support.faults.s3_faults import proxied
from support.servers import aws_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.servers.aws_server import AwsServer

NOW = datetime.now(timezone.utc).replace(microsecond=0)
REGION = {"client.region": aws_server.REGION}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsServer]:
    with aws_server.running() as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found


def stored(server: AwsServer) -> list[dict[str, Any]]:
    pages = server.client("cloudwatch").get_paginator("list_metrics").paginate(Namespace=NAMESPACE)
    return [metric for page in pages for metric in page["Metrics"]]


def row_count(number: int) -> Metric:
    return Metric("RowsRead", number, "Count", "datamart", NOW, f"table_{number}")


@pytest.mark.parametrize(("count", "requests"), [(0, 0), (1, 1), (1000, 1), (1001, 2), (2345, 3)])
def test_every_metric_arrives_in_requests_of_a_thousand_at_most(
    server: AwsServer, monkeypatch: pytest.MonkeyPatch, count: int, requests: int
) -> None:
    with proxied(server.endpoint) as (endpoint, seen):
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", endpoint)
        send([row_count(number) for number in range(count)], REGION)
    assert (len(stored(server)), seen.requests) == (count, requests)


def test_a_metric_keeps_its_value_unit_and_dimensions(server: AwsServer) -> None:
    send([row_count(7), Metric("RunSeconds", 1.5, "Seconds", "datamart", NOW)], REGION)
    found = {each["MetricName"]: each["Dimensions"] for each in stored(server)}
    of_database = [{"Name": "Database", "Value": "datamart"}]
    of_table = [*of_database, {"Name": "Table", "Value": "table_7"}]
    assert found == {"RowsRead": of_table, "RunSeconds": of_database}
    minute = NOW.replace(second=0)
    (point,) = server.client("cloudwatch").get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName="RunSeconds",
        Dimensions=of_database,
        StartTime=minute,
        EndTime=minute + timedelta(minutes=1),
        Period=60,
        Statistics=["Maximum", "SampleCount"],
    )["Datapoints"]
    assert (point["Maximum"], point["SampleCount"], point["Unit"]) == (1.5, 1, "Seconds")


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "no address"])
@pytest.mark.usefixtures("server")
def test_a_cloudwatch_that_does_not_answer_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, endpoint: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", endpoint)
    with caplog.at_level(logging.WARNING):
        send([row_count(1)], REGION)
    assert "metrics are not sent to CloudWatch" in caplog.text


@pytest.mark.usefixtures("server")
def test_a_metric_that_is_refused_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        send([Metric("RunSeconds", float("nan"), "Seconds", "datamart", NOW)], REGION)
    assert "metrics are not sent to CloudWatch" in caplog.text
