"""Where the two runtimes differ: Glue 4.0 (Spark 3.3, Iceberg 1.0) and Glue 5.1 (Spark 3.5, Iceberg 1.10).

What Glue brings: https://docs.aws.amazon.com/glue/latest/dg/release-notes.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from iceberg_datamart.errors import MissingPartError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Runtime:
    """One pair of Spark and Iceberg that is tested.

    `zoneless_timestamps` says whether Spark has a type for timestamps without zone; a mirror holds them as
    timestamptz in UTC where it has none. `required_columns` says whether tables can have any: Iceberg 1.0
    plans no MERGE that deletes from such a table, for a deleted row's values are NULL to it
    (https://github.com/apache/iceberg/blob/apache-iceberg-1.0.0/spark/v3.3/spark-extensions/src/main/scala/org/apache/spark/sql/catalyst/analysis/RewriteMergeIntoTable.scala).
    `jdbc` and `embedded_aws` are properties of the Spark catalog:
    of one in a database, and of one on AWS when this package brings the jars. `resends_commits`,
    `keeps_lost_connections` and `keeps_sqlite_locked` name faults of Iceberg's JDBC catalog: see
    `lake/spark/jdbc_catalog.py`. `region_property` says whether Iceberg takes `client.region`,
    `rewrites_position_deletes` whether it has a procedure for them.
    """

    name: str
    spark: str
    iceberg: str
    zoneless_timestamps: bool
    required_columns: bool
    resends_commits: bool
    keeps_lost_connections: bool
    keeps_sqlite_locked: bool
    region_property: bool
    rewrites_position_deletes: bool
    jdbc: Mapping[str, str] = field(default_factory=dict)
    embedded_aws: Mapping[str, str] = field(default_factory=dict)


GLUE_4_0 = Runtime(
    name="glue-4.0",
    spark="3.3",
    iceberg="org.apache.iceberg:iceberg-spark-runtime-3.3_2.12:1.0.0",
    zoneless_timestamps=False,
    required_columns=False,
    resends_commits=False,
    keeps_lost_connections=True,
    keeps_sqlite_locked=True,
    region_property=False,
    rewrites_position_deletes=False,
    # The bundle of AWS's client that knows endpoints from the environment has this HTTP client alone.
    embedded_aws={"http-client.type": "apache"},
)
GLUE_5_1 = Runtime(
    name="glue-5.1",
    spark="3.5",
    iceberg="org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:1.10.0",
    zoneless_timestamps=True,
    required_columns=True,
    resends_commits=True,
    keeps_lost_connections=False,
    keeps_sqlite_locked=False,
    region_property=True,
    rewrites_position_deletes=True,
    # PyIceberg makes the catalog's own tables; Spark would lock a SQLite file while it looks for them.
    jdbc={"jdbc.init-catalog-tables": "false"},
)
RUNTIMES = (GLUE_4_0, GLUE_5_1)


@cache
def present_runtime() -> Runtime:
    """Return the runtime of the Spark that is installed; no JVM starts. Raises: MissingPartError."""
    return runtime_of(_spark_version())


@cache
def readers_runtime() -> Runtime:
    """Return the runtime that the tables are written for: the newest where no Spark is installed.

    Raises: MissingPartError for a Spark that is not one of the two.
    """
    installed = _spark_version()
    return GLUE_5_1 if installed is None else runtime_of(installed)


def runtime_of(spark_version: str | None) -> Runtime:
    """Return the runtime of a Spark version such as `3.5.6`; None is no Spark. Raises: MissingPartError."""
    for runtime in RUNTIMES:
        if spark_version is not None and spark_version.startswith(runtime.spark + "."):
            return runtime
    found = "no Spark is installed" if spark_version is None else f"Spark {spark_version} is installed"
    known = " or ".join(f"{runtime.spark} (as in {runtime.name})" for runtime in RUNTIMES)
    raise MissingPartError(f"{found}; this job runs on {known}", hint="pip install 'iceberg-datamart[local]'")


def _spark_version() -> str | None:
    try:
        return version("pyspark")
    except PackageNotFoundError:
        # Glue puts Spark on the path without telling pip.
        try:
            return str(import_module("pyspark").__version__)
        except ImportError:
            return None
