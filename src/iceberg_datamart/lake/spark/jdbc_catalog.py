"""Faults of Iceberg's JDBC catalog, corrected from outside by reflection.

https://github.com/apache/iceberg/blob/apache-iceberg-1.10.0/core/src/main/java/org/apache/iceberg/jdbc/JdbcClientPool.java
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iceberg_datamart.lake.spark.java_classes import java

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


# The session's own setting that tells the catalog's name.
CATALOG_NAME = "iceberg-datamart.catalog"


def never_sent_twice(session: SparkSession, catalog: str) -> None:
    """Keep Iceberg's connection pool from sending a commit again when only its answer was lost.

    Iceberg 1.10 repeats the UPDATE on a new connection, is told that nothing matched, and takes its own
    commit for a failed one: it then publishes what was to be staged, and deletes its manifest list. Left
    are the states that say nothing was sent (08003) or that it was undone (40001).
    """
    safe = java(session).java.util.ArrayList()
    for state in ("08003", "40001"):
        safe.add(state)
    _field(_pool(session, catalog), "retryableStatusCodes").retainAll(safe)


def replace_lost_connections(session: SparkSession) -> None:
    """Give the session's catalog a new pool, which connects when it is asked.

    Iceberg 1.0 replaces a connection after a SQLNonTransientConnectionException alone, and PostgreSQL's
    driver raises none: a lost connection stays in the pool, and fails whoever is handed it. The old pool's
    other connection stays open until the JVM ends.
    """
    catalog = _catalog(session, str(session.conf.get(CATALOG_NAME)))
    pool = _field(catalog, "connections")
    given = _field(pool, "dbUrl"), _field(pool, "properties")
    arguments = session.sparkContext._gateway.new_array(java(session).java.lang.Object, len(given))  # noqa: SLF001
    arguments[0], arguments[1] = given
    constructors = pool.getClass().getDeclaredConstructors()
    (made,) = (each for each in constructors if each.getParameterCount() == len(given))
    made.setAccessible(True)
    _accessible(catalog, "connections").set(catalog, made.newInstance(arguments))


def unlock_sqlite(session: SparkSession, catalog: str) -> None:
    """Open the pool's connection to a SQLite file again.

    Iceberg 1.0 looks for its own tables at the start and leaves the result open, which holds a read lock:
    no other process could write.
    """
    pool = _pool(session, catalog)
    base = pool.getClass().getSuperclass()
    clients = _field(pool, "clients", base)
    opened = base.getDeclaredMethod("newClient", None)
    opened.setAccessible(True)
    for _ in range(clients.size()):
        clients.removeFirst().close()
        clients.add(opened.invoke(pool, None))


def _catalog(session: SparkSession, name: str) -> Any:
    """Return Iceberg's own object of the session's catalog."""
    spark: Any = session._jsparkSession  # noqa: SLF001
    return spark.sessionState().catalogManager().catalog(name).icebergCatalog()


def _pool(session: SparkSession, catalog: str) -> Any:
    return _field(_catalog(session, catalog), "connections")


def _field(owner: Any, name: str, declared_by: Any = None) -> Any:
    """Return a private field of a Java object."""
    return _accessible(owner, name, declared_by).get(owner)


def _accessible(owner: Any, name: str, declared_by: Any = None) -> Any:
    found = (declared_by or owner.getClass()).getDeclaredField(name)
    found.setAccessible(True)
    return found
