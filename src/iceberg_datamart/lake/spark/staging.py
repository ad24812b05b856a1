"""Snapshots that Spark and Iceberg stage: invisible until they are published, and told apart by the run's id.

https://iceberg.apache.org/docs/1.10.0/branching/#audit-branch (here by `spark.wap.id`)
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from iceberg_datamart.core.changes import Append
from iceberg_datamart.core.quality.touched import SUMMARY_FIELDS
from iceberg_datamart.core.sql.merge import lineage_values, merge_sql
from iceberg_datamart.core.sql.spark import SPARK, quoted
from iceberg_datamart.core.state.history import Snapshot
from iceberg_datamart.core.state.origin import origin_properties
from iceberg_datamart.errors import CommitConflictError
from iceberg_datamart.lake.engine import Staged, conflict
from iceberg_datamart.lake.runtime import present_runtime
from iceberg_datamart.lake.spark.java_classes import java, load_table
from iceberg_datamart.lake.spark.types import spark_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyspark.sql import DataFrame, SparkSession

    from iceberg_datamart.core.changes import Change
    from iceberg_datamart.core.upkeep.layout import Rewrite

WAP_ID = "wap.id"
_MAIN = "main"
_CALL = "CALL {catalog}.system."
# That it is worth it is known, so that few files are enough.
_DATA_FILES = _CALL + "rewrite_data_files(table => {table}, options => map('min-input-files', '2'{also}))"
_POSITION_DELETES = (
    _CALL + "rewrite_position_delete_files(table => {table}, options => map('rewrite-all', 'true'))"
)
# Where there is no procedure for deletes, a file of which several tell is written anew.
_WITHOUT_ONE = ", 'delete-file-threshold', '2'"
_MANIFESTS = _CALL + "rewrite_manifests(table => {table}, use_caching => false)"


class Staging:
    """Stages and publishes the snapshots of one run through one Spark session."""

    def __init__(self, session: SparkSession, run_id: str) -> None:
        """Make every write of the session to a table with `write.wap.enabled` a staged one."""
        self._session, self._run_id = session, run_id
        session.conf.set("spark.wap.id", run_id)

    def stage(self, change: Change, target: str, summary: Mapping[str, str]) -> Staged:
        """Write a change into table `target`, as SQL names it; `summary` goes into its snapshot's own."""
        with commit_properties(self._session, summary):
            if isinstance(change, Append):
                _rows(self._session, change).writeTo(target).append()
            else:
                self._session.sql(merge_sql(SPARK, target, change))
        return self._newest(change.table, load_table(self._session, target))

    def stamp(self, table: str, target: str, summary: Mapping[str, str]) -> Staged:
        """Stage a snapshot without files."""
        loaded = load_table(self._session, target)
        append = loaded.newFastAppend().set(WAP_ID, self._run_id).stageOnly()
        for name, value in summary.items():
            append = append.set(name, value)
        append.commit()
        return self._newest(table, loaded)

    def rewrite(self, rewrite: Rewrite, target: str, summary: Mapping[str, str]) -> Staged:
        """Write files anew, then stage `summary`, which carries the table's state on.

        Iceberg's procedures choose the files themselves, and commit at once: such a commit changes no row,
        and fails where another writer changed the same files. Raises: CommitConflictError where the table is
        not at the rewrite's base.
        """
        current = load_table(self._session, target).currentSnapshot()
        if current is None or int(current.snapshotId()) != rewrite.base:
            raise conflict(rewrite.table)
        catalog = target.partition(".")[0]
        also = "" if present_runtime().rewrites_position_deletes else _WITHOUT_ONE
        for call in _calls(rewrite):
            self._session.sql(call.format(catalog=catalog, table=SPARK.literal(target), also=also))
        return self.stamp(rewrite.table, target, summary)

    def publish(self, staged: Staged, target: str) -> None:
        """Make a snapshot the current one. Raises: CommitConflictError where its parent is not current."""
        loaded = load_table(self._session, target)
        if loaded.snapshot(staged.snapshot_id) is None:
            raise CommitConflictError("the staged snapshot is gone before it was published")
        current = loaded.currentSnapshot()
        if (None if current is None else int(current.snapshotId())) != staged.parent:
            raise conflict(staged.table)
        _make_current(loaded, staged.snapshot_id, staged.parent)
        _keep_state(loaded, loaded.snapshot(staged.snapshot_id))

    def ancestors(self, target: str) -> set[int]:
        """Return the ids of the current snapshot and its ancestors as the catalog now has them."""
        loaded, found = load_table(self._session, target), set()
        current = loaded.currentSnapshot()
        while current is not None:
            found.add(int(current.snapshotId()))
            parent = current.parentId()
            current = None if parent is None else loaded.snapshot(int(parent))
        return found

    def _newest(self, table: str, loaded: Any) -> Staged:
        """Return the newest snapshot of this run: the one that was just staged."""
        snapshots = loaded.snapshots()
        # From the end, by position: each step is a call, and the end of Java's iterators an exception.
        for position in reversed(range(snapshots.size())):
            snapshot = snapshots.get(position)
            summary, parent = snapshot.summary(), snapshot.parentId()
            if summary.get(WAP_ID) == self._run_id:
                return Staged(
                    table,
                    int(snapshot.snapshotId()),
                    None if parent is None else int(parent),
                    snapshot.schemaId(),
                    {name: summary.get(name) for name in SUMMARY_FIELDS},
                )
        raise CommitConflictError("the staged snapshot is gone before it was published")


@contextmanager
def commit_properties(session: SparkSession, properties: Mapping[str, str]) -> Iterator[None]:
    """Put `properties` into the summary of every commit that this thread makes meanwhile.

    Iceberg keeps them in a thread-local of the JVM thread that serves this Python thread; no session
    setting does this for a MERGE in Iceberg 1.0 to 1.10.
    """
    jvm = java(session)
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


def _calls(rewrite: Rewrite) -> Iterator[str]:
    """Yield the procedures, in their order: https://iceberg.apache.org/docs/1.10.0/spark-procedures/."""
    if rewrite.data or rewrite.deletes:
        yield _DATA_FILES
        if present_runtime().rewrites_position_deletes:
            yield _POSITION_DELETES
    yield _MANIFESTS


def _rows(session: SparkSession, append: Append) -> DataFrame:
    """Return all columns of the rows to append, sorted within each file to be."""
    lineage = lineage_values(SPARK, append.lineage)
    values = [
        *map(quoted, append.columns),
        *(f"CAST(NULL AS {spark_type(column.type)}) AS {quoted(column.name)}" for column in append.absent),
        *(f"{value} AS {quoted(name)}" for name, value in lineage.items()),
    ]
    by = f" SORT BY {', '.join(map(quoted, append.order))}" if append.order else ""
    return session.sql(f"SELECT {', '.join(values)} FROM {append.relation}{by}")


def _keep_state(loaded: Any, snapshot: Any) -> None:
    """Keep a snapshot's state in properties of the table: see `core.state.origin`.

    This is a commit of its own, for Iceberg 1.0 has no transaction for both. Where a run ends before it,
    another tool's expiry may take the state, and all rows are compared.
    """

    def is_kept(snapshot_id: int) -> bool:
        return loaded.snapshot(snapshot_id) is not None

    told = origin_properties(_as_snapshot(snapshot), dict(loaded.properties()), is_kept)
    if not told:
        return
    change = loaded.updateProperties()
    for name, text in told.items():
        change = change.set(name, text)
    change.commit()


def _as_snapshot(snapshot: Any) -> Snapshot:
    """Return one of Iceberg's snapshots as a history tells it."""
    parent, schema = snapshot.parentId(), snapshot.schemaId()
    return Snapshot(
        snapshot_id=int(snapshot.snapshotId()),
        parent_id=None if parent is None else int(parent),
        committed_at=datetime.fromtimestamp(snapshot.timestampMillis() / 1000, tz=timezone.utc),
        operation=str(snapshot.operation()),
        summary=dict(snapshot.summary()),
        sequence_number=int(snapshot.sequenceNumber()),
        schema_id=None if schema is None else int(schema),
    )


def _make_current(loaded: Any, snapshot_id: int, base: int | None) -> None:
    """Move main from `base` to the snapshot, in one metadata commit that main's moving away refuses."""
    manage = loaded.manageSnapshots()
    if base is None:
        manage.createBranch(_MAIN, snapshot_id).commit()
        return
    tag = f"staged-{snapshot_id}"
    manage.createTag(tag, snapshot_id).fastForwardBranch(_MAIN, tag).removeTag(tag).commit()
