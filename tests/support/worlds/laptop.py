"""The job on one machine: settings and all files in one folder, driven by its command line."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import yaml
from psycopg import sql
from pyiceberg.catalog import load_catalog
from pyspark import SparkContext

from iceberg_datamart import cli
from iceberg_datamart.core.engines import AUTO, SPARK
from iceberg_datamart.lake.runtime import GLUE_5_1, present_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyiceberg.table import Table

    from iceberg_datamart.embedded.postgres import EmbeddedPostgres
    from support.servers.parts import PostgresServer

LINEAGE = ("_run_id", "_merged_at")
PROGRAM = Path(sys.executable).with_name("iceberg-datamart")
# As the embedded Spark's own, but for a heap that needs not grow: growing, it is collected ten times a run.
_JAVA = (
    "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=200m "
    "-XX:+UseSerialGC -Xms1g -Xmn640m -Diceberg.scan.plan-in-worker-pool=false"
)
# Tables of tests are so small that threads, and Java code made for each query, cost more than they bring.
SMALL_SPARK = {
    "spark.driver.memory": "1g",
    "spark.master": "local[1]",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.driver.extraJavaOptions": _JAVA,
}


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def report(self) -> dict[str, Any]:
        """Return standard output as the one JSON object that it has to be."""
        found: dict[str, Any] = json.loads(self.stdout)
        return found


def within(*words: str) -> Ended:
    """Run the program within this process, and in the JVM that the first run starts."""
    stdout, stderr, before = io.StringIO(), io.StringIO(), sys.argv
    code: Any = 0
    try:
        sys.argv = ["iceberg-datamart", *words]
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            cli.main()
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.argv = before
    _write_no_checksum_files()
    return Ended(code or 0, stdout.getvalue(), stderr.getvalue())


def _write_no_checksum_files() -> None:
    """Keep Hadoop from a `.crc` beside each file: it starts a `chmod` for every file that it makes."""
    context: Any = SparkContext._active_spark_context
    if context is not None:
        local = context._jvm.org.apache.hadoop.fs.FileSystem.getLocal(context._jsc.hadoopConfiguration())
        local.setWriteChecksum(False)


def usual_engine() -> str:
    """Return what runs have that no test asks otherwise: as users have it, and on Glue 4.0 its Spark.

    ENGINE in the environment says another, which is then the only one, but for tests of both or of Spark.
    """
    if wanted := os.environ.get("ENGINE"):
        return wanted
    return AUTO if present_runtime() is GLUE_5_1 else SPARK


@dataclass
class Laptop:
    """A folder with settings. `url` is the source's; `settings` may be changed, then `save`d."""

    directory: Path
    url: str
    settings: dict[str, Any] = field(default_factory=dict)
    engine: str = field(default_factory=usual_engine)

    @property
    def file(self) -> Path:
        return self.directory / "datamart.yaml"

    @property
    def warehouse(self) -> Path:
        return self.directory / "warehouse"

    @property
    def timestamp_file(self) -> Path:
        return self.directory / "last_load_timestamp.csv"

    def configure(self, tables: Mapping[str, Any], marts: Mapping[str, Any], **source: str) -> Laptop:
        """Write settings that keep everything within the folder."""
        self.settings = {
            "version": 1,
            "catalog": {
                "type": "sql",
                "uri": f"sqlite:///{self.directory}/catalog.db",
                "warehouse": str(self.warehouse),
            },
            "database": "datamart",
            "state": {"timestamp_file": str(self.timestamp_file)},
            "sources": {"prd": {"type": "postgres", "url": self.url, **source}},
            "tables": {name: {"source": "prd", **table} for name, table in tables.items()},
            "marts": dict(marts),
            "engine": self.engine,
            "spark": {"properties": dict(SMALL_SPARK)},
        }
        return self.save()

    def save(self) -> Laptop:
        """Write the settings as they are now."""
        self.file.write_text(yaml.safe_dump(self.settings, allow_unicode=True), encoding="utf-8")
        return self

    def command(self, verb: str, *arguments: str) -> Ended:
        """Run a command on the settings within this process, so that all tests share one JVM."""
        return within(verb, "--config", str(self.file), "--json", *arguments)

    def shown(self, verb: str, *arguments: str) -> Ended:
        """Run a command as `command` does, for what people see of it."""
        return within(verb, "--config", str(self.file), *arguments)

    def process(self, verb: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Ended:
        """Run a command as people do: as a process of its own, in the folder."""
        done = subprocess.run(
            [PROGRAM, verb, "--config", str(self.file), *arguments],
            cwd=self.directory,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run the job, which must succeed, and return its report."""
        ended = self.command("run", *arguments)
        report = ended.report
        assert report["status"] == "succeeded", f"{problems(report)}\n{ended.stderr}"
        assert ended.exit_code == 0
        return report

    def failing_run(self, *arguments: str) -> dict[str, Any]:
        """Run the job, which must fail and say so in its exit code, and return its report."""
        ended = self.command("run", *arguments)
        assert ended.exit_code == 1
        assert ended.report["status"] == "failed"
        return ended.report

    def plan(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """Return the planned step of each table; the exit code must say whether any is refused."""
        ended = self.command("plan", *arguments)
        refused = any(step["step"] == "refuse" for step in ended.report["steps"])
        assert ended.exit_code == int(refused), ended.stderr
        return {step["table"]: step for step in ended.report["steps"] if "table" in step}

    def status(self) -> dict[str, Any]:
        return self.command("status").report

    def history(self, table: str) -> list[dict[str, Any]]:
        """Return the snapshots of a table, newest first."""
        found: list[dict[str, Any]] = self.command("history", table).report["tables"][table]
        return found

    def timestamp(self) -> bytes | None:
        """Return the timestamp file, byte by byte."""
        return self.timestamp_file.read_bytes() if self.timestamp_file.exists() else None

    def files(self) -> set[Path]:
        """Return every file in the warehouse: data, deletes, manifests and metadata."""
        return {path for path in self.warehouse.rglob("*") if path.is_file()}

    def table(self, name: str) -> Table:
        """Return an Iceberg table as PyIceberg, a reader other than Spark, sees it now."""
        catalog = self.settings["catalog"]
        places = {key: catalog[key] for key in ("type", "uri", "warehouse")}
        opened = load_catalog("datamart", **places, **catalog.get("properties", {}))
        return opened.load_table(("datamart", name))

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a mirror or mart without its lineage columns, which must be filled."""
        found: list[dict[str, Any]] = self.table(name).scan().to_arrow().to_pylist()
        for row in found:
            assert all(row.pop(column) is not None for column in LINEAGE), f"{name}: lineage is NULL"
        return found

    def snapshot_ids(self) -> dict[str, list[int]]:
        """Return the ids of all snapshots of all tables, staged ones included."""
        names = [*self.settings["tables"], *self.settings["marts"]]
        return {name: [s.snapshot_id for s in self.table(name).metadata.snapshots] for name in names}

    def spark_sql(self, text: str) -> list[Any]:
        """Run a statement of another tool, in a Spark session that knows nothing of the job."""
        from iceberg_datamart.app.settings_file import load_config  # noqa: PLC0415
        from iceberg_datamart.lake.spark.session import open_session  # noqa: PLC0415  (pyspark is slow to import)

        found: list[Any] = open_session(load_config(self.file, os.environ)).sql(text).collect()
        return found


def problems(report: dict[str, Any]) -> str:
    """Return what a report says went wrong, a line each."""
    parts = {**report["tables"], **report["marts"], "run": {"error": report["error"]}}
    return "\n".join(f"{name}: {part['error']}" for name, part in parts.items() if part["error"])


def _copied(name: str, template: str) -> sql.Composed:
    """Return the statement that makes database `name` a copy of `template`."""
    return sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))


@dataclass
class Databases:
    """Makes a database for each test in the one server of the test session."""

    server: EmbeddedPostgres | PostgresServer
    count: int = 0

    def new(self, template: str = "template0") -> str:
        """Return the name of a fresh copy of `template`."""
        self.count += 1
        name = f"test_{self.count}"
        with psycopg.connect(self.server.url(), autocommit=True) as connection:
            connection.execute(_copied(name, template))
        return name

    def replace(self, name: str, template: str) -> None:
        """Make database `name` a copy of `template`, whatever is in it, and whoever is connected to it.

        It keeps its oid, so that it is the same database to who looks.
        """
        with self.connected(name) as connection:
            # A database with prepared transactions cannot be dropped.
            query = "select gid from pg_prepared_xacts where database = current_database()"
            for (gid,) in connection.execute(query).fetchall():
                connection.execute(sql.SQL("rollback prepared {}").format(gid))
        with psycopg.connect(self.server.url(), autocommit=True) as connection:
            query = "select oid from pg_database where datname = %s"
            ((oid,),) = connection.execute(query, [name]).fetchall()
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
            connection.execute(_copied(name, template) + sql.SQL(" oid {}").format(oid))

    @contextlib.contextmanager
    def connected(self, name: str) -> Iterator[psycopg.Connection[Any]]:
        """Yield a connection in autocommit mode, in UTC."""
        with psycopg.connect(self.server.url(name), autocommit=True) as connection:
            connection.execute("set timezone = 'UTC'")
            yield connection
