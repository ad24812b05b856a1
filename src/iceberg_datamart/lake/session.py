"""A Spark session for one run: Glue's own where there is one, else an embedded one.

Sessions share one JVM but neither settings nor temporary views, so runs in one process stay apart.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession
from sqlalchemy.engine import URL, make_url

from iceberg_datamart.embedded.java import find_java
from iceberg_datamart.errors import MissingPartError
from iceberg_datamart.lake.catalog import SQLITE

if TYPE_CHECKING:
    from iceberg_datamart.config import CatalogConfig, Config

PACKAGES = (
    "org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:1.10.0",
    "org.postgresql:postgresql:42.7.8",
    "org.xerial:sqlite-jdbc:3.50.3.0",
)
AWS_PACKAGE = "org.apache.iceberg:iceberg-aws-bundle:1.10.0"
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
    # A run is short: compiling its code twice costs more than the faster code brings (decision 5).
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData",
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
}
_CATALOG_IMPLEMENTATIONS = {
    "glue": "org.apache.iceberg.aws.glue.GlueCatalog",
    "sql": "org.apache.iceberg.jdbc.JdbcCatalog",
    "rest": "org.apache.iceberg.rest.RESTCatalog",
}


def open_session(config: Config) -> SparkSession:
    """Return a session that sees the configured catalog. Raises: MissingPartError."""
    session = _any_session(config).newSession()
    for name, value in {**_RELIED_ON, **catalog_settings(config.catalog)}.items():
        session.conf.set(name, value)
    if config.catalog.type == "sql":
        _never_sent_twice(session, config.catalog.name)
    return session


def _never_sent_twice(session: SparkSession, catalog: str) -> None:
    """Keep Iceberg's connection pool from sending a commit again when only its answer was lost.

    Iceberg 1.10 repeats the UPDATE on a new connection, is told that nothing matched, and takes its own
    commit for a failed one: it then publishes what was to be staged, and deletes its manifest list. Left
    are the states that say nothing was sent (08003) or that it was undone (40001).
    https://github.com/apache/iceberg/blob/apache-iceberg-1.10.0/core/src/main/java/org/apache/iceberg/jdbc/JdbcClientPool.java
    """
    jvm: Any = session._jvm  # noqa: SLF001
    java: Any = session._jsparkSession  # noqa: SLF001
    jvm.org.apache.spark.sql.SparkSession.setActiveSession(java)  # whose settings a catalog is made from
    made = java.sessionState().catalogManager().catalog(catalog).icebergCatalog()
    pool = _field(made, "connections")
    safe = jvm.java.util.ArrayList()
    for state in ("08003", "40001"):
        safe.add(state)
    _field(pool, "retryableStatusCodes").retainAll(safe)


def _field(owner: Any, name: str) -> Any:
    """Return a private field of a Java object."""
    found = owner.getClass().getDeclaredField(name)
    found.setAccessible(True)
    return found.get(owner)


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
    # PyIceberg makes the catalog's own tables; Spark would lock a SQLite file while it looks for them.
    found = {"jdbc.init-catalog-tables": "false"}
    if uri.startswith(SQLITE):
        return found | {"uri": "jdbc:sqlite:" + uri.removeprefix(SQLITE), "clients": "1"}
    address = make_url(uri)
    plain = URL.create(
        address.get_backend_name(), None, None, address.host, address.port, address.database, address.query
    )
    login = {"jdbc.user": address.username, "jdbc.password": address.password}
    given = {name: str(value) for name, value in login.items() if value is not None}
    return found | {"uri": f"jdbc:{plain.render_as_string()}"} | given


def _any_session(config: Config) -> SparkSession:
    active = SparkSession.getActiveSession()
    if active is not None or SparkContext._active_spark_context is not None:  # noqa: SLF001
        return SparkSession.builder.getOrCreate()
    os.environ["JAVA_HOME"] = str(find_java(os.environ))
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    conf = SparkConf(loadDefaults=False).setAppName("iceberg-datamart")
    scratch = tempfile.gettempdir()
    defaults = {**_EMBEDDED, **_jars(config.catalog), "spark.sql.warehouse.dir": scratch}
    for name, value in {**defaults, **config.spark.properties}.items():
        conf.set(name, value)
    context = SparkContext(gateway=_gateway(conf), conf=conf)
    context.setLogLevel("ERROR")
    return SparkSession(context)


def _jars(catalog: CatalogConfig) -> dict[str, str]:
    """Return the setting that brings the jars: by name the first time, then where Ivy has put them.

    Resolving the names takes Ivy more than a second at every start, and the network.
    """
    folder = Path.home() / ".ivy2" / "jars"
    packages = (*PACKAGES, AWS_PACKAGE) if needs_aws(catalog) else PACKAGES
    parts = (package.split(":") for package in packages)
    jars = [folder / f"{group}_{artifact}-{version}.jar" for group, artifact, version in parts]
    if all(jar.is_file() for jar in jars):
        return {"spark.jars": ",".join(str(jar) for jar in jars)}
    return {"spark.jars.packages": ",".join(packages)}


def _gateway(conf: SparkConf) -> Any:
    """Start the JVM with its chatter in a file: standard output is for reports alone."""
    log = Path(tempfile.gettempdir()) / f"iceberg-datamart-spark-{os.getpid()}.log"
    with log.open("w") as chatter:
        try:
            gateway = launch_gateway(conf, {"stdout": chatter, "stderr": chatter})
        except Exception as error:
            tail = " ".join(log.read_text(errors="replace").splitlines()[-5:])
            message = f"Spark did not start: {tail or error}"
            raise MissingPartError(message, hint=f"The whole log is in {log}.") from error
    return gateway
