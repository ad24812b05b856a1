"""Every write is staged, then published by compare-and-swap on the table (R1, R12).

Iceberg's write-audit-publish keeps a staged snapshot invisible to readers:
https://iceberg.apache.org/docs/1.10.0/branching/#audit-branch (here by `spark.wap.id`).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from iceberg_datamart.errors import CommitConflictError
from iceberg_datamart.lake.failures import translating

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pyspark.sql import SparkSession

WAP_ID = "wap.id"
_MAIN = "main"


class Staging:
    """Stages and publishes the commits of one run through one Spark session."""

    def __init__(self, session: SparkSession, run_id: str) -> None:
        """Make every write of the session to a table with `write.wap.enabled` a staged one."""
        self._session, self._run_id = session, run_id
        session.conf.set("spark.wap.id", run_id)

    def commit(
        self, table: str, base: int | None, properties: Mapping[str, str], write: Callable[[], object]
    ) -> int:
        """Run `write`, then publish what it staged on top of snapshot `base`; return the snapshot's id.

        `properties` go into the snapshot's summary. Raises: CommitConflictError where the table is not
        at `base` any more, so that what was compared with it is stale.
        """
        with translating(table), commit_properties(self._session, properties):
            write()
        with translating(table):
            return self._publish(table, base)

    def stamp(self, table: str, base: int | None, properties: Mapping[str, str]) -> int:
        """Commit `properties` alone, in a snapshot without files; return its id."""

        def append_nothing() -> None:
            append = self._load(table).newFastAppend().set(WAP_ID, self._run_id).stageOnly()
            for name, value in properties.items():
                append = append.set(name, value)
            append.commit()

        with translating(table):
            append_nothing()
            return self._publish(table, base)

    def added_records(self, table: str, snapshot_id: int) -> int:
        """Return how many rows a snapshot added."""
        return int(self._load(table).snapshot(snapshot_id).summary().get("added-records") or 0)

    def _publish(self, table: str, base: int | None) -> int:
        loaded = self._load(table)
        staged = self._staged(loaded)
        snapshot_id = int(staged.snapshotId())
        parent = staged.parentId()
        if (None if parent is None else int(parent)) != base:
            raise _conflict(table)
        manage = loaded.manageSnapshots()
        if base is None:
            manage.createBranch(_MAIN, snapshot_id).commit()
        else:
            tag = f"staged-{snapshot_id}"
            manage.createTag(tag, snapshot_id).fastForwardBranch(_MAIN, tag).removeTag(tag).commit()
        return snapshot_id

    def _staged(self, loaded: Any) -> Any:
        """Return the newest snapshot of this run that is not published yet."""
        found = None
        for snapshot in loaded.snapshots():
            if snapshot.summary().get(WAP_ID) == self._run_id:
                found = snapshot
        if found is None:
            raise CommitConflictError("the staged snapshot is gone before it was published")
        return found

    def _load(self, table: str) -> Any:
        jvm: Any = self._session._jvm  # noqa: SLF001
        return jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(
            self._session._jsparkSession,  # noqa: SLF001
            table,
        )


@contextmanager
def commit_properties(session: SparkSession, properties: Mapping[str, str]) -> Iterator[None]:
    """Put `properties` into the summary of every commit that this thread makes meanwhile.

    Iceberg keeps them in a thread-local of the JVM thread that serves this Python thread; no session
    setting does this for a MERGE in Iceberg 1.0 to 1.10.
    """
    jvm: Any = session._jvm  # noqa: SLF001
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
    holder = loader.loadClass("org.apache.iceberg.spark.CommitMetadata").getDeclaredField("COMMIT_PROPERTIES")
    holder.setAccessible(True)
    local = holder.get(None)
    values = jvm.java.util.HashMap()
    for name, value in properties.items():
        values.put(name, value)
    local.set(values)
    try:
        yield
    finally:
        local.remove()


def _conflict(table: str) -> CommitConflictError:
    message = f"another run committed to {table} while this one was merging"
    return CommitConflictError(message, hint="Run again: it starts from what the other run committed.")
