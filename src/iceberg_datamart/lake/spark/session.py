"""A Spark session for one run: Glue's own where there is one, else an embedded one.

Sessions share one JVM but neither settings nor temporary views, so runs in one process stay apart.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession
from sqlalchemy.engine import URL, make_url

from iceberg_datamart.core.settings.address import SQLITE
from iceberg_datamart.embedded.java import find_java
from iceberg_datamart.errors import MissingPartError
from iceberg_datamart.lake.runtime import present_runtime
from iceberg_datamart.lake.spark.gateway import start_gateway
from iceberg_datamart.lake.spark.java_classes import java, remember_classes
from iceberg_datamart.lake.spark.jdbc_catalog import CATALOG_NAME, never_sent_twice, unlock_sqlite
from iceberg_datamart.libpq import JDBC_NAMES, demanded
from iceberg_datamart.underway.stopping import interrupt_at_stop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iceberg_datamart.core.settings.model import CatalogConfig, Config

PACKAGES = (
    "org.postgresql:postgresql:42.7.8",
    "org.xerial:sqlite-jdbc:3.50.3.0",
)
AWS_PACKAGE = "org.apache.iceberg:iceberg-aws-bundle:1.10.0"
# Set where a cluster's launcher has started this process beside a JVM of its own.
_LAUNCHED = "PYSPARK_GATEWAY_PORT"
_EXTENSIONS = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
_EMBEDDED = {
    "spark.sql.extensions": _EXTENSIONS,
    "spark.master": "local[*]",
    "spark.driver.memory": "2g",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "4",
    # Nobody looks at past queries without the UI; their plans would fill a small heap.
    "spark.sql.ui.retainedExecutions": "1",
    "spark.ui.retainedJobs": "10",
    "spark.ui.retainedStages": "10",
    "spark.ui.retainedTasks": "100",
    "spark.sql.ui.explainMode": "simple",
    # A run is short: compiling its code twice costs more than the faster code brings; compiled once, it has
    # 48 MB by default, which many tables fill (decision 5). A manifest on a local disk is read sooner than
    # Iceberg, each 10 ms, looks whether another thread has read it.
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=200m "
    "-XX:+UseSerialGC -XX:-UsePerfData -Diceberg.scan.plan-in-worker-pool=false",
}
# What the SQL of this package relies on, whatever the cluster's own settings are.
_RELIED_ON = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.caseSensitive": "true",
    # Literals and names stand for themselves: `${env:HOME}` in a key stays that, and `\\` is one backslash.
    "spark.sql.variable.substitute": "false",
    "spark.sql.parser.escapedStringLiterals": "false",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.storeAssignmentPolicy": "ANSI",
    # Dates reach filters as they are, not by an old calendar that has no 10th October 1582.
    "spark.sql.datetime.java8API.enabled": "true",
    # A line of CSV with too few or too many values is noticed, also where some of them are not read.
    "spark.sql.csv.parser.columnPruning.enabled": "false",
}
_CATALOG_IMPLEMENTATIONS = {
    "glue": "org.apache.iceberg.aws.glue.GlueCatalog",
    "sql": "org.apache.iceberg.jdbc.JdbcCatalog",
    "rest": "org.apache.iceberg.rest.RESTCatalog",
}


def open_session(config: Config) -> SparkSession:
    """Return a session that sees the configured catalog. Raises: MissingPartError."""
    session = _any_session(config).newSession()
    own = {CATALOG_NAME: config.catalog.name}
    for name, value in {**_RELIED_ON, **catalog_settings(config.catalog), **own}.items():
        session.conf.set(name, value)
    remember_classes(session)
    activate(session)  # a catalog is made from the active session's settings
    if config.catalog.type == "sql":
        _mend(session, config.catalog)
    return session


def activate(session: SparkSession) -> None:
    """Make the session that of this thread: Spark 3.3 parses expressions by the thread's settings."""
    java(session).org.apache.spark.sql.SparkSession.setActiveSession(session._jsparkSession)  # noqa: SLF001


def _mend(session: SparkSession, catalog: CatalogConfig) -> None:
    """Take this runtime's faults out of the catalog in a database."""
    runtime = present_runtime()
    if runtime.resends_commits:
        never_sent_twice(session, catalog.name)
    if runtime.keeps_sqlite_locked and (catalog.uri or "").startswith(SQLITE):
        unlock_sqlite(session, catalog.name)


def catalog_settings(catalog: CatalogConfig) -> dict[str, str]:
    """Return the Spark settings of the Iceberg catalog."""
    prefix = f"spark.sql.catalog.{catalog.name}"
    settings = {
        "catalog-impl": _CATALOG_IMPLEMENTATIONS[catalog.type],
        "warehouse": catalog.warehouse,
        "cache-enabled": "false",
    }
    if catalog.type == "sql":
        settings |= _jdbc_settings(catalog.uri or "")
    elif catalog.uri is not None:
        settings["uri"] = catalog.uri
    if needs_aws(catalog):
        settings["io-impl"] = "org.apache.iceberg.aws.s3.S3FileIO"
    settings |= catalog.properties
    return {prefix: "org.apache.iceberg.spark.SparkCatalog"} | {
        f"{prefix}.{name}": value for name, value in settings.items()
    }


def needs_aws(catalog: CatalogConfig) -> bool:
    """Return whether the tables' files are on S3, or their catalog is Glue."""
    return catalog.type == "glue" or catalog.warehouse.startswith("s3://")


def _jdbc_settings(uri: str) -> dict[str, str]:
    """Return how JDBC reaches the database at SQLAlchemy's `uri`.

    JDBC takes user and password as properties, not within the address. Behind `sqlite:///` stands the
    path as it is.
    """
    found = dict(present_runtime().jdbc)
    if uri.startswith(SQLITE):
        return found | {"uri": "jdbc:sqlite:" + uri.removeprefix(SQLITE), "clients": "1"}
    address = make_url(uri)
    # A login among the parameters is not for the address either, which Java's errors show.
    query = {name: value for name, value in address.query.items() if name not in ("user", "password")}
    plain = URL.create(
        address.get_backend_name(), None, None, address.host, address.port, address.database, query
    )
    if address.get_backend_name() == "postgresql":
        plain = _as_libpq_has_it(plain)
    login = {
        "jdbc.user": address.query.get("user", address.username),
        "jdbc.password": address.query.get("password", address.password),
    }
    given = {name: str(value) for name, value in login.items() if value is not None}
    return found | {"uri": f"jdbc:{plain.render_as_string()}"} | given


def _as_libpq_has_it(address: URL) -> URL:
    """Return PostgreSQL's address with what the environment adds to it: PyIceberg comes there by libpq."""
    place = {"host": address.host, "port": address.port, "dbname": address.database, **address.query}
    found = demanded({name: str(value) for name, value in place.items() if value is not None})
    query = {JDBC_NAMES[name]: value for name, value in found.items() if name in JDBC_NAMES}
    return address.set(
        host=found.get("host", address.host),
        port=int(found["port"]) if "port" in found else address.port,
        database=found.get("dbname", address.database),
    ).update_query_dict(query)


def spark_context(config: Config) -> SparkContext:
    """Return the context of this process: the cluster's own where one started us, else an embedded one.

    Raises: MissingPartError.
    """
    if SparkContext._active_spark_context is not None or _LAUNCHED in os.environ:  # noqa: SLF001
        wanted = {"spark.sql.extensions": _EXTENSIONS, **config.spark.properties}
        return SparkContext.getOrCreate(SparkConf().setAll([*wanted.items()]))
    os.environ["JAVA_HOME"] = str(find_java(os.environ))
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    named = {"spark.app.name": "iceberg-datamart"}
    settings = {**named, **_EMBEDDED, **_packaged(config.catalog), **config.spark.properties}
    gateway = start_gateway(settings)
    region = config.catalog.properties.get("client.region")
    if region is not None and not present_runtime().region_property:
        gateway.jvm.java.lang.System.setProperty("aws.region", region)
    conf = SparkConf(loadDefaults=False).setAll([*settings.items()])
    context = SparkContext(gateway=gateway, conf=conf)
    context.setLogLevel("ERROR")
    # What fails removes the files that it wrote.
    interrupt_at_stop(context.cancelAllJobs)
    return context


def _any_session(config: Config) -> SparkSession:
    session = SparkSession(spark_context(config))
    if _EXTENSIONS not in (session.conf.get("spark.sql.extensions", "") or ""):
        message = "Spark runs without Iceberg's SQL extensions, and MERGE needs them"
        raise MissingPartError(message, hint=f"Start it with --conf spark.sql.extensions={_EXTENSIONS}")
    return session


def _packaged(catalog: CatalogConfig) -> dict[str, str]:
    """Return the jars of an embedded Spark, and the settings that they need."""
    if not needs_aws(catalog):
        return _jars((present_runtime().iceberg, *PACKAGES))
    needed = present_runtime().embedded_aws.items()
    settings = {f"spark.sql.catalog.{catalog.name}.{name}": value for name, value in needed}
    return {**_jars((present_runtime().iceberg, *PACKAGES, AWS_PACKAGE)), **settings}


def _jars(packages: Sequence[str]) -> dict[str, str]:
    """Return the setting that brings the jars: by name the first time, then where Ivy has put them.

    Resolving the names takes Ivy more than a second at every start, and the network.
    """
    folder = Path.home() / ".ivy2" / "jars"
    parts = (package.split(":") for package in packages)
    jars = [folder / f"{group}_{artifact}-{version}.jar" for group, artifact, version in parts]
    if all(jar.is_file() for jar in jars):
        return {"spark.jars": ",".join(str(jar) for jar in jars)}
    return {"spark.jars.packages": ",".join(packages)}
