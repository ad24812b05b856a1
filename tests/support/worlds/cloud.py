"""The job in the cloud: its script as a process, Glue's catalog, S3, a crawled PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pyiceberg.catalog import load_catalog

from support.oracles import second_reader
from support.servers.s3_server import BUCKET
from support.shops.glue_shop import DATABASE, connect, crawl
from support.worlds.laptop import LINEAGE, SMALL_SPARK, Ended, Laptop

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyiceberg.table import Table

    from support.servers.aws_server import AwsServer
    from support.servers.s3_server import S3Server
    from support.worlds.warm_process import WarmProcess

ROOT = Path(__file__).parents[3]
TARGET = f"{DATABASE}_iceberg"
SCRIPT = ROOT / "jobs" / "datamart_job.py"
# What Glue adds to a job's arguments.
GLUES_OWN = ("--TempDir", "s3://somewhere/tmp/", "--enable-metrics", "--conf", "spark.a=1 --conf spark.b=2")
STANDIN = ROOT / "tests" / "support" / "awsglue_standin"


@dataclass(kw_only=True)
class Cloud(Laptop):
    """A `Laptop` whose tables are in Glue and on S3. `prefix` keeps its objects apart from other tests'."""

    aws: AwsServer
    s3: S3Server
    prefix: str
    events: Path = field(init=False)

    def __post_init__(self) -> None:
        self.events = self.directory / "events"
        self.events.mkdir()
        self.glue_log.touch()

    @property
    def timestamp_key(self) -> str:
        return f"{self.prefix}/state/last_load_timestamp.csv"

    @property
    def environment(self) -> dict[str, str]:
        """Return what leads every AWS client to the servers; the store checks the keys."""
        keys = {"AWS_ACCESS_KEY_ID": self.s3.access_key, "AWS_SECRET_ACCESS_KEY": self.s3.secret_key}
        return {**self.aws.environment, "AWS_ENDPOINT_URL_S3": self.s3.endpoint, **keys}

    def put_settings(self) -> str:
        """Put what differs from the shipped settings on S3, and return the address."""
        settings = {
            "version": 1,
            "catalog": {
                "warehouse": f"s3://{BUCKET}/{self.prefix}/datamart/",
                "properties": {"s3.path-style-access": "true"},
            },
            "spark": {
                "properties": {
                    **SMALL_SPARK,
                    "spark.eventLog.enabled": "true",
                    "spark.eventLog.dir": self.events.as_uri(),
                }
            },
        }
        key = f"{self.prefix}/datamart.yaml"
        self.s3.client().put_object(Bucket=BUCKET, Key=key, Body=yaml.safe_dump(settings).encode())
        return f"s3://{BUCKET}/{key}"

    def crawl(self, tables: Iterable[str]) -> None:
        """Put the source's tables into the Glue catalog."""
        connection = connect(self.aws, self.url)
        for table in tables:
            crawl(self.aws, self.url, table, connection)

    def words(self, load_type: str, *arguments: str) -> tuple[str, ...]:
        """Return the job's arguments, as its trigger gives them."""
        return (
            *("--JOB_NAME", "datamart", "--database_name", DATABASE, "--load_type", load_type),
            *("--timestamp_s3_path", f"s3://{BUCKET}/{self.timestamp_key}"),
            *("--config_s3_path", self.put_settings(), *arguments),
        )

    @property
    def in_glue(self) -> dict[str, str]:
        """Return the environment of a job in Glue, which brings a library of its own."""
        glue = {"PYTHONPATH": str(STANDIN), "AWSGLUE_STANDIN_LOG": str(self.glue_log)}
        return {**self.environment, **glue}

    def job_elsewhere(self, load_type: str) -> Ended:
        """Run the job's script as a process of its own, without Glue's arguments and library."""
        done = subprocess.run(
            [sys.executable, SCRIPT, *self.words(load_type)],
            cwd=self.directory,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def job_in(self, process: WarmProcess, load_type: str, *arguments: str) -> Ended:
        """Run the job's script as Glue does, in a process with `in_glue`, one run after another."""
        return process.run(SCRIPT, *self.words(load_type, *arguments), *GLUES_OWN)

    @property
    def glue_log(self) -> Path:
        """Return the file in which Glue's stand-in notes what the job told it."""
        return self.directory / "glue.log"

    @property
    def properties(self) -> dict[str, str]:
        """Return the catalog properties that lead to the servers."""
        keys = {"glue.access-key-id": self.s3.access_key, "glue.secret-access-key": self.s3.secret_key}
        return {**self.aws.properties, **self.s3.properties, **keys}

    def table(self, name: str) -> Table:
        return load_catalog("datamart", type="glue", **self.properties).load_table((TARGET, name))

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return a table's rows without lineage columns, as DuckDB reads them at the place that Glue names.

        Not as PyArrow does: it refuses the delete files of Iceberg 1.0, whose names have an empty part
        (https://github.com/apache/iceberg/issues/8166, ended by Iceberg 1.4).
        """
        return self.rows_at(name, None)

    def rows_at(self, name: str, snapshot_id: int | None) -> list[dict[str, Any]]:
        """Return the rows as of a snapshot."""
        location = self.glue_table(name)["Parameters"]["metadata_location"]
        found = second_reader.rows(location, snapshot_id, self.properties)
        assert all(row[column] is not None for row in found for column in LINEAGE), f"{name}: lineage is NULL"
        return [{key: value for key, value in row.items() if key not in LINEAGE} for row in found]

    def glue_table(self, name: str) -> dict[str, Any]:
        """Return the table as Glue's GetTable does."""
        found: dict[str, Any] = self.aws.client("glue").get_table(DatabaseName=TARGET, Name=name)["Table"]
        return found

    def timestamp(self) -> bytes | None:
        client = self.s3.client()
        try:
            content: bytes = client.get_object(Bucket=BUCKET, Key=self.timestamp_key)["Body"].read()
        except client.exceptions.NoSuchKey:
            return None
        return content

    def records(self) -> list[dict[str, Any]]:
        """Return the records that runs left beside the timestamp file, the oldest first."""
        client, prefix = self.s3.client(), f"{self.prefix}/state/runs/"
        keys = [each["Key"] for each in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]]
        return [json.loads(client.get_object(Bucket=BUCKET, Key=key)["Body"].read()) for key in keys]

    def remove_timestamp(self) -> None:
        self.s3.client().delete_object(Bucket=BUCKET, Key=self.timestamp_key)
