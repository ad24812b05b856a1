"""Faults of Iceberg's JDBC catalog, mended from outside by reflection.

https://github.com/apache/iceberg/blob/apache-iceberg-1.10.0/core/src/main/java/org/apache/iceberg/jdbc/JdbcClientPool.java
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iceberg_datamart.lake.java_classes import java

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


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


def unlock_sqlite(session: SparkSession, catalog: str) -> None:
    """Open the pool's connection to a SQLite file anew.

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


def _pool(session: SparkSession, catalog: str) -> Any:
    java: Any = session._jsparkSession  # noqa: SLF001
    made = java.sessionState().catalogManager().catalog(catalog).icebergCatalog()
    return _field(made, "connections")


def _field(owner: Any, name: str, declared_by: Any = None) -> Any:
    """Return a private field of a Java object."""
    found = (declared_by or owner.getClass()).getDeclaredField(name)
    found.setAccessible(True)
    return found.get(owner)
