"""The job's script as a process, as Glue runs it: six crawled tables, Glue's catalog, S3, every outcome."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

from iceberg_datamart.core.settings.model import CatalogConfig
from iceberg_datamart.lake.catalog import LakeCatalog
from support.oracles import athena
from support.oracles.oracle import assert_same, rows_of
from support.servers import aws_server
from support.shops.settlements import JOIN, KEYS, Settlements, open_settlements
from support.worlds import warm_process
from support.worlds.cloud import TARGET, Cloud
from support.worlds.laptop import problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from support.oracles.oracle import Oracle, Row
    from support.servers.s3_server import S3Server
    from support.worlds.laptop import Databases, Ended
    from support.worlds.warm_process import WarmProcess

pytestmark = [pytest.mark.runtime, pytest.mark.matrix_on("glue-5.1")]

MART = "account_settlements"
# Of new tables alone, of which a rollback makes none.
WAREHOUSE = "s3://unused/"
SUCCESSES = (
    "full",
    "incremental",
    "missing file",
    "rerun of a mirror",
    "rerun of a mart",
    "after a rollback",
)


@dataclass
class Story:
    """What happened, by the name of each run: how it ended, and what the timestamp file said then.

    `joins` is PostgreSQL's own join by the mart's snapshot that was current when it was asked.
    """

    cloud: Cloud
    oracle: Oracle
    ended: dict[str, Ended] = field(default_factory=dict)
    said: dict[str, bytes | None] = field(default_factory=dict)
    joins: dict[int, list[Row]] = field(default_factory=dict)

    def tell(self, name: str, ended: Ended) -> dict[str, Any]:
        """Note how a run ended and return its report."""
        self.ended[name], self.said[name] = ended, self.cloud.timestamp()
        assert ended.stdout, ended.stderr
        return ended.report

    def succeed(self, name: str, ended: Ended, *, whole: bool = False) -> None:
        """Note a run that must have left mirrors and mart as PostgreSQL says; `whole`: by a full load."""
        report = self.tell(name, ended)
        assert report["status"] == "succeeded", f"{problems(report)}\n{ended.stderr}"
        self.oracle.follow(full=whole)
        self.oracle.check(self.cloud, against_source=whole)
        snapshot = self.cloud.table(MART).metadata.current_snapshot_id
        assert snapshot is not None
        self.joins[snapshot] = rows_of(self.oracle.connection, JOIN, "public")


@pytest.fixture(scope="module")
def story(databases: Databases, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Yield the job's life: seven runs, those in Glue one after another in one process, one outside it."""
    database = databases.new()
    with aws_server.running() as aws, databases.connected(database) as connection:
        url = databases.server.url(database)
        cloud = Cloud(tmp_path_factory.mktemp("job"), url, aws=aws, s3=s3, prefix="job")
        oracle = open_settlements(cloud, connection, rows=200)
        cloud.crawl(KEYS)
        story = Story(cloud, oracle)
        with warm_process.running(cloud.directory, cloud.in_glue) as process:
            go_on(story, connection, process)
        yield story


def go_on(story: Story, connection: psycopg.Connection[Any], process: WarmProcess) -> None:
    """Let the job run and the source change, seven times."""
    cloud, system = story.cloud, Settlements(connection, Random(5))  # noqa: S311  (dice, no secrets)
    story.succeed("full", cloud.job_in(process, "full"), whole=True)
    # One side alone changes: no settlement is new.
    system.update("account", 3)
    system.move(2)
    story.succeed("incremental", cloud.job_in(process, "incremental"))
    connection.execute("alter table adjustment rename to adjustment_elsewhere")
    system.insert("settlement_transaction", 7)
    story.tell("failing table", cloud.job_in(process, "incremental"))
    connection.execute("alter table adjustment_elsewhere rename to adjustment")
    system.delete("queue", 1)
    cloud.remove_timestamp()
    story.succeed("missing file", cloud.job_elsewhere("incremental"), whole=True)
    system.update("account", 2)
    first = cloud.table("account").metadata.snapshots[0].snapshot_id
    story.succeed("rerun of a mirror", cloud.job_in(process, "incremental", "--snapshot_id", str(first)))
    before = min(story.joins, key=lambda each: each != next(iter(story.joins)))
    story.tell("rerun of a mart", cloud.job_in(process, "incremental", "--snapshot_id", str(before)))
    current = cloud.table("account").metadata.current_snapshot_id
    assert current is not None
    catalog = CatalogConfig(type="glue", warehouse=WAREHOUSE, properties=cloud.properties)
    LakeCatalog(catalog, TARGET).roll_back("account", current, first)
    story.succeed("after a rollback", cloud.job_in(process, "incremental"))


def test_a_full_run_loads_the_six_tables_and_their_join(story: Story) -> None:
    report = story.ended["full"].report
    assert {name: table["outcome"] for name, table in report["tables"].items()} == dict.fromkeys(
        KEYS, "merged"
    )
    assert report["marts"][MART]["inserted"] > 0
    assert report["tables"]["settlement_transaction"]["inserted"] == 200


def test_an_incremental_run_reads_what_changed_and_a_change_on_one_side_reaches_the_mart(
    story: Story,
) -> None:
    report = story.ended["incremental"].report
    assert report["tables"]["account"]["updated"] == 3
    assert report["tables"]["settlement_transaction"]["outcome"] == "unchanged"
    assert report["marts"][MART]["updated"] > 0


def test_a_failing_table_fails_the_job_while_the_others_go_on_and_the_file_stays(story: Story) -> None:
    ended = story.ended["failing table"]
    assert ended.exit_code == 1
    outcomes = {name: table["outcome"] for name, table in ended.report["tables"].items()}
    assert outcomes["adjustment"] == "failed"
    assert outcomes["settlement_transaction"] == "merged"
    assert ended.report["marts"][MART]["inserted"] > 0
    assert "adjustment" in ended.stderr
    assert story.said["failing table"] == story.said["incremental"]


def test_each_run_of_the_job_leaves_its_report_beside_the_timestamp_file(story: Story) -> None:
    reports = [ended.report for name, ended in story.ended.items() if name != "rerun of a mart"]
    assert [record["report"] for record in story.cloud.records()] == reports


def test_a_missing_timestamp_file_makes_a_full_load_and_a_new_file(story: Story) -> None:
    report = story.ended["missing file"].report
    assert report["tables"]["settlement_transaction"]["rows_read"] > 200
    assert report["tables"]["queue"]["deleted"] == 1
    assert story.said["missing file"] is not None


def test_a_mirror_is_run_again_from_the_state_of_a_snapshot(story: Story) -> None:
    report = story.ended["rerun of a mirror"].report
    assert list(report["tables"]) == ["account"]
    assert report["tables"]["account"]["updated"] == 2
    assert report["tables"]["account"]["rows_read"] > 2, "the window starts at the first run's watermark"
    assert story.said["rerun of a mirror"] == story.said["missing file"]


def test_a_mirror_that_was_rolled_back_is_read_again_from_its_older_watermark(story: Story) -> None:
    report = story.ended["after a rollback"].report
    assert report["tables"]["account"]["updated"] > 2, "what came after the first snapshot is all read again"
    assert report["tables"]["queue"]["outcome"] == "unchanged"
    mart = report["marts"][MART]
    assert mart["snapshot_id"] is not None, "it names the mirror's new snapshot"
    assert (mart["inserted"], mart["updated"], mart["deleted"]) == (0, 0, 0)


def test_a_marts_snapshot_is_computed_again_from_the_snapshots_it_consumed_and_is_the_same(
    story: Story,
) -> None:
    ended = story.ended["rerun of a mart"]
    assert ended.exit_code == 0, ended.stderr
    found = ended.report["marts"][MART]
    assert (found["result"], found["missing"], found["stale"], found["extra"]) == ("equal", 0, 0, 0)
    assert found["held"] == len(next(iter(story.joins.values())))


def test_glue_is_told_of_each_run_and_to_commit_only_those_that_succeeded(story: Story) -> None:
    told = [json.loads(line) for line in story.cloud.glue_log.read_text().splitlines()]
    begun, done = ["init", "datamart", {"JOB_NAME": "datamart"}], ["commit"]
    assert told == [begun, done, begun, done, begun, begun, done, begun, done, begun, done]


def test_a_job_that_succeeds_ends_with_nothing_but_its_report_on_standard_output(story: Story) -> None:
    assert {story.ended[name].exit_code for name in SUCCESSES} == {0}
    assert all(json.loads(story.ended[name].stdout) for name in story.ended)


def test_no_password_is_in_any_output_or_in_sparks_own_event_log(story: Story) -> None:
    secrets = {unquote(urlsplit(story.cloud.url).password or ""), story.cloud.s3.secret_key}
    texts = [ended.stdout + ended.stderr for ended in story.ended.values()]
    logs = [path.read_text() for path in story.cloud.events.iterdir()]
    assert len(logs) == 2, "one of each process"
    assert any("spark.sql.catalog.datamart" in log or "SparkListenerSQLExecutionStart" in log for log in logs)
    assert not [secret for secret in secrets for text in (*texts, *logs) if secret in text]


def test_a_reader_that_shares_no_code_reads_the_mart_at_every_snapshot_as_postgresql_had_it(
    story: Story,
) -> None:
    for snapshot_id, expected in story.joins.items():
        found = story.cloud.rows_at(MART, snapshot_id)
        assert_same(f"mart at {snapshot_id}", found, expected, ("queue_id", "transaction_id"))


def test_athena_can_read_every_table(story: Story) -> None:
    described = {table: story.cloud.glue_table(table) for table in (*KEYS, MART)}
    assert {each["DatabaseName"] for each in described.values()} == {TARGET}
    problems_of = {
        table: athena.problems_at(each["Parameters"]["metadata_location"], story.cloud.properties, each)
        for table, each in described.items()
    }
    assert {table: found for table, found in problems_of.items() if found} == {}


def test_the_metrics_of_each_run_reach_cloudwatch(story: Story) -> None:
    client = story.cloud.aws.client("cloudwatch")
    found = client.list_metrics(Namespace="IcebergDatamart")["Metrics"]
    assert {"RowsRead", "LagSeconds", "RunSeconds", "FailedTables"} <= {each["MetricName"] for each in found}
