"""CloudWatch is told what a run reports, also by a run that fails; where it is silent, nothing fails."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.stores.cloudwatch import NAMESPACE
from support.servers import aws_server
from support.shops.shop_rules import rename

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from support.oracles.oracle import Oracle
    from support.servers.aws_server import AwsServer
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]
    # The values of a metric by table, None for those of the whole run, and by name.
    Figures = dict[tuple[str | None, str], list[float]]

COUNTS = {
    "RowsRead": "rows_read",
    "RowsInserted": "inserted",
    "RowsUpdated": "updated",
    "RowsDeleted": "deleted",
    "RowsRejected": "rejected",
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, laptop: Laptop, oracle: Oracle) -> Iterator[AwsServer]:
    """Yield a server that the runs from now on send their metrics to; the shop is loaded already."""
    del oracle
    laptop.settings["run"] = {"metrics": "cloudwatch"}
    laptop.save()
    with aws_server.running() as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found


def figures(server: AwsServer) -> Figures:
    """Return all that CloudWatch was told; forgotten by it afterwards."""
    client, found = server.client("cloudwatch"), defaultdict(list)
    pages = client.get_paginator("list_metrics").paginate(Namespace=NAMESPACE)
    for metric in {repr(m): m for page in pages for m in page["Metrics"]}.values():
        places = {each["Name"]: each["Value"] for each in metric["Dimensions"]}
        assert places.pop("Database") == "datamart"
        now = datetime.now(timezone.utc)
        points = client.get_metric_statistics(
            **metric,
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(minutes=1),
            Period=3600,
            Statistics=["Sum"],
        )["Datapoints"]
        name = metric["MetricName"]
        assert {point["Unit"] for point in points} == {"Seconds" if "Seconds" in name else "Count"}
        found[places.get("Table"), name] += [point["Sum"] for point in points]
    return dict(found)


def assert_told(found: Figures, report: dict[str, Any]) -> None:
    """Assert that the figures are those of the report, the lags aside."""
    parts = {**report["tables"], **report["marts"]}
    told = {key: values for key, values in found.items() if key[1] not in {"LagSeconds", "RunSeconds"}}
    expected = {(name, kind): [part[key]] for name, part in parts.items() for kind, key in COUNTS.items()}
    failed = sum(part["outcome"] == "failed" for part in parts.values())
    assert told == expected | {(None, "FailedTables"): [failed]}
    assert found[None, "RunSeconds"] == [pytest.approx(report["seconds"], abs=0.001)]


def lag(report: dict[str, Any], table: str) -> float:
    """Return how far a table's complete-through trails the present."""
    complete = datetime.fromisoformat(report["tables"][table]["complete_through"])
    return (datetime.now(timezone.utc) - complete).total_seconds()


def test_cloudwatch_is_told_what_the_report_says(
    laptop: Laptop, connection: Connection, server: AwsServer
) -> None:
    rename(connection, "renamed")
    report = laptop.run()
    found = figures(server)
    assert found["customer", "RowsUpdated"] == [3]
    assert found["customer_purchases", "RowsUpdated"][0] > 3
    assert_told(found, report)
    for table in ("customer", "purchase"):
        assert found[table, "LagSeconds"] == [pytest.approx(lag(report, table), abs=30)]
        assert 0 <= found[table, "LagSeconds"][0] < 60


def test_a_failed_run_tells_as_much_and_how_far_the_failed_table_lags(
    laptop: Laptop, connection: Connection, server: AwsServer
) -> None:
    connection.execute("alter table purchase rename to elsewhere")
    laptop.timestamp_file.write_text("last_load_timestamp\n2026-01-01 00:00:00\n")
    report = laptop.failing_run()
    found = figures(server)
    assert found[None, "FailedTables"] == [1]
    assert_told(found, report)
    loaded = datetime.fromisoformat(laptop.history("purchase")[0]["complete_through"])
    assert datetime.fromisoformat(report["tables"]["purchase"]["complete_through"]) == loaded
    assert found["purchase", "LagSeconds"] == [pytest.approx(lag(report, "purchase"), abs=30)]
    assert found["purchase", "LagSeconds"][0] > found["customer", "LagSeconds"][0]


def test_a_cloudwatch_that_does_not_answer_leaves_report_and_exit_code(
    laptop: Laptop, connection: Connection, server: AwsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:9")
    rename(connection, "renamed")
    ended = laptop.command("run")
    assert (ended.exit_code, ended.report["status"]) == (0, "succeeded")
    assert "WARNING" in ended.stderr
    assert "metrics are not sent to CloudWatch" in ended.stderr
    assert figures(server) == {}


def test_nothing_is_sent_that_was_not_asked_for(laptop: Laptop, server: AwsServer) -> None:
    laptop.settings["run"] = {}
    laptop.save().run()
    assert figures(server) == {}
