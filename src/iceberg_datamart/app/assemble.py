"""The real parts of a run, put together from the settings."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timezone
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from iceberg_datamart.app.run_records import run_records
from iceberg_datamart.core.engines import IN_PROCESS, SPARK, Engines
from iceberg_datamart.core.names import RUN_TABLE
from iceberg_datamart.core.report.metrics import run_metrics
from iceberg_datamart.core.report.progress import Board
from iceberg_datamart.core.settings.model import GlueSource
from iceberg_datamart.lake.catalog import LakeCatalog
from iceberg_datamart.lake.iceberg import IcebergLake
from iceberg_datamart.lake.opening import open_catalog
from iceberg_datamart.lake.run_table import RunTable
from iceberg_datamart.ports import Adapters
from iceberg_datamart.run.runner import Run, new_run_id
from iceberg_datamart.sources.postgres.activity import activity as postgres_activity
from iceberg_datamart.sources.postgres.session import PostgresSession
from iceberg_datamart.stores.run_counts import LocalRunCounts
from iceberg_datamart.stores.run_records import FOLDER
from iceberg_datamart.stores.timestamp_file import LocalTimestampFile, local_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyiceberg.catalog import Catalog
    from pyspark import SparkContext

    from iceberg_datamart.core.plan.facts import RunRequest
    from iceberg_datamart.core.report.record import RunRecord
    from iceberg_datamart.core.report.run import RunReport
    from iceberg_datamart.core.settings.model import Config, PostgresSource, SourceConfig
    from iceberg_datamart.core.source.reads import Activity
    from iceberg_datamart.lake.repair import PointerRepair
    from iceberg_datamart.ports import RunCounts, SourceSession, TimestampFile
    from iceberg_datamart.run.upkeep import Maintaining

log = logging.getLogger(__name__)
S3 = "s3://"


class SystemClock:
    """This machine's clock."""

    def now(self) -> datetime:
        """Return the present instant in UTC."""
        return datetime.now(timezone.utc)


def timestamp_file(location: str, properties: Mapping[str, str]) -> TimestampFile:
    """Return the timestamp file, on S3 by the catalog's `properties` or in a folder. Raises: ConfigError."""
    if location.startswith(S3):
        from iceberg_datamart.stores.s3 import S3TimestampFile  # noqa: PLC0415  (boto3 is slow to import)

        return S3TimestampFile(location, properties)
    return LocalTimestampFile(local_path(location))


def run_counts(location: str, properties: Mapping[str, str]) -> RunCounts:
    """Return the counts beside the timestamp file. Raises: ConfigError."""
    if location.startswith(S3):
        from iceberg_datamart.stores.s3 import S3RunCounts  # noqa: PLC0415  (boto3 is slow to import)

        return S3RunCounts(location, properties)
    return LocalRunCounts(location)


def tables_of(config: Config) -> LakeCatalog:
    """Return the lake's tables as the catalog tells of them, without Spark. Raises: ConfigError."""
    return LakeCatalog(config.catalog, config.database)


def catalog_of(config: Config) -> Catalog:
    """Return PyIceberg's catalog, for a reader that shares nothing with runs. Raises: ConfigError."""
    return open_catalog(config.catalog)


def pointers_of(config: Config) -> PointerRepair:
    """Return the pointers of the lake's tables. Raises: LakeError where only the catalog can move them."""
    from iceberg_datamart.lake.repair import PointerRepair  # noqa: PLC0415  (`repair` alone needs it)

    return PointerRepair(config.catalog, config.database)


def spark_context(config: Config) -> SparkContext:
    """Return Spark's context in this process. Raises: MissingPartError."""
    from iceberg_datamart.lake.spark.session import spark_context as started  # noqa: PLC0415  (starts with Spark)

    return started(config)


def text_on_s3(location: str) -> str:
    """Return the text of an object. Raises: ConfigError, StateUnreachableError."""
    from iceberg_datamart.stores.s3 import s3_text  # noqa: PLC0415  (boto3 is slow to import)

    return s3_text(location)


def record_keepers(config: Config) -> Mapping[str, Callable[[RunRecord], None]]:
    """Return what keeps the record of a run, by the place that it is kept in; each opens that by itself."""
    files = {f"the folder {FOLDER}": lambda record: run_records(config).write(record)}
    if config.state.runs == "files":
        return files
    return {**files, f"the table {RUN_TABLE}": lambda record: RunTable(tables_of(config)).add(record)}


def send_metrics(config: Config, report: RunReport) -> None:
    """Send a run's metrics where the settings ask for it; where that fails, there is a warning, no error."""
    if config.run.metrics == "cloudwatch":
        from iceberg_datamart.stores.cloudwatch import send  # noqa: PLC0415  (boto3 is slow to import)

        send(run_metrics(report, config.database, SystemClock().now()), config.catalog.properties)


def open_source(name: str, config: SourceConfig, board: Board | None = None) -> SourceSession:
    """Return an open session of a source, which tells of waits on `board`. Raises: SourceError."""
    if isinstance(config, GlueSource):
        from iceberg_datamart.sources.glue.session import GlueSession  # noqa: PLC0415  (boto3 is slow to import)

        return GlueSession(name, config, partial(open_source, board=board))
    return PostgresSession(name, _with_login(name, config), board)


def activity(name: str, config: Config) -> Activity | None:
    """Return what a source does at the moment; None where no table leads to it. Raises: SourceError."""
    source: SourceConfig | None = config.sources[name]
    if isinstance(source, GlueSource):
        from iceberg_datamart.sources.glue.session import postgres_behind  # noqa: PLC0415  (as above)

        tables = {
            table: each for table, each in config.tables.items() if each.source == name and each.enabled
        }
        source = postgres_behind(name, source, tables)
    return None if source is None else postgres_activity(name, _with_login(name, source))


def _with_login(name: str, config: PostgresSource) -> PostgresSource:
    """Return the settings with the password in them. Raises: SourceError where AWS does not give it."""
    if config.secret is None:
        return config
    from iceberg_datamart.sources.secrets import with_login  # noqa: PLC0415  (as above)

    return with_login(name, config)


def new_board() -> Board:
    """Return a board on which nothing is in work; it goes by this machine's clock."""
    return Board(time.monotonic)


def new_run(
    config: Config, request: RunRequest, run_id: str | None = None, board: Board | None = None
) -> Run:
    """Return a run over the real sources and the real lake, not started yet; `board` tells of it."""
    clock, board = SystemClock(), board or new_board()
    run_id = run_id or new_run_id(clock.now())
    adapters = Adapters(
        lake=IcebergLake(config, run_id, clock, board),
        timestamp_file=timestamp_file(config.state.timestamp_file, config.catalog.properties),
        run_counts=run_counts(config.state.timestamp_file, config.catalog.properties),
        clock=clock,
        engines=engines_of(config.engine),
        open_source=partial(open_source, board=board),
        board=board,
    )
    return Run(config, request, adapters, run_id)


def new_upkeep(config: Config, *, dry_run: bool = False, with_orphans: bool = True) -> Maintaining:
    """Return the upkeep of the real lake, not started yet. Raises: ConfigError, TimestampFileError."""
    from iceberg_datamart.lake.upkeep import LakeUpkeep  # noqa: PLC0415  (`maintain` alone needs it)
    from iceberg_datamart.run.upkeep import Maintaining  # noqa: PLC0415  (as above)

    clock = SystemClock()
    return Maintaining(
        config,
        LakeUpkeep(config, new_run_id(clock.now())),
        engines_of(config.engine),
        clock,
        timestamp_file(config.state.timestamp_file, config.catalog.properties).read(),
        dry_run=dry_run,
        with_orphans=with_orphans,
    )


def maintain_after(config: Config, report: RunReport) -> None:
    """Maintain what a run changed, where the settings ask for it; where that fails, there is a warning."""
    if config.maintain.when != "auto":
        return
    try:
        new_upkeep(config, with_orphans=False).after_run(report)
    except Exception as error:  # noqa: BLE001  (the run is done, whatever becomes of its files)
        log.warning("nothing more was maintained after the run: %s", error)


def engines_of(asked: str) -> Engines:
    """Return which engines this process can start; none is imported."""
    parts = {SPARK: "pyspark", IN_PROCESS: "duckdb"}
    installed = frozenset(name for name, module in parts.items() if find_spec(module) is not None)
    return Engines(asked, installed)
