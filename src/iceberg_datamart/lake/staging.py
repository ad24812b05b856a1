"""Every write is staged, then published by compare-and-swap on the table (R1, R12).

Iceberg's write-audit-publish keeps a staged snapshot invisible to readers:
https://iceberg.apache.org/docs/1.10.0/branching/#audit-branch (here by `spark.wap.id`).
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from py4j.protocol import Py4JError

from iceberg_datamart.core.quality.touched import SUMMARY_FIELDS
from iceberg_datamart.core.sql import RUN_ID, literal, quoted
from iceberg_datamart.crash_points import crash_point
from iceberg_datamart.errors import (
    CatalogUnreachableError,
    CommitConflictError,
    CommitUnknownError,
    LakeError,
)
from iceberg_datamart.lake.catalog import while_unreachable
from iceberg_datamart.lake.failures import translated, translating
from iceberg_datamart.lake.java_classes import java, load_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pyspark.sql import SparkSession

    from iceberg_datamart.core.quality.touched import Touched
    from iceberg_datamart.errors import DatamartError

log = logging.getLogger(__name__)
WAP_ID = "wap.id"
_MAIN = "main"


class Audit(Protocol):
    """Looks at a staged snapshot of one table before it is published."""

    def prepare(self) -> None:
        """Refuse what cannot be audited, before anything is staged. Raises: DatamartError."""

    def judge(self, snapshot_id: int) -> None:
        """Raise AuditError where the staged snapshot must not be published."""


class Staging:
    """Stages and publishes the commits of one run through one Spark session."""

    def __init__(self, session: SparkSession, run_id: str, audit: Audit | None = None) -> None:
        """Make every write of the session to a table with `write.wap.enabled` a staged one."""
        self._session, self._run_id, self._audit = session, run_id, audit
        session.conf.set("spark.wap.id", run_id)

    def audited_by(self, audit: Audit) -> Staging:
        """Return what publishes only commits of rows that the audit lets pass."""
        return Staging(self._session, self._run_id, audit)

    def commit(
        self,
        table: str,
        base: int | None,
        properties: Mapping[str, str],
        write: Callable[[], object],
        touched: Touched | None = None,
    ) -> int:
        """Run `write`, then publish what it staged on top of snapshot `base`; return the snapshot's id.

        `properties` go into the snapshot's summary. Raises: CommitConflictError where the table is not
        at `base` any more, so that what was compared with it is stale; AuditError; LakeError where other
        rows than `touched` were written.
        """
        if self._audit is not None:
            self._audit.prepare()
        with translating(self._session, table), commit_properties(self._session, properties):
            write()
        with translating(self._session, table):
            self._judge(table, base, touched)
            return self._publish(table, base)

    def stamp(self, table: str, base: int | None, properties: Mapping[str, str]) -> int:
        """Commit `properties` alone, in a snapshot without files; return its id."""

        def append_nothing() -> None:
            append = self._load(table).newFastAppend().set(WAP_ID, self._run_id).stageOnly()
            for name, value in properties.items():
                append = append.set(name, value)
            append.commit()

        with translating(self._session, table):
            append_nothing()
            return self._publish(table, base)

    def added_records(self, table: str, snapshot_id: int) -> int:
        """Return how many rows a snapshot added."""
        return int(self._load(table).snapshot(snapshot_id).summary().get("added-records") or 0)

    def _judge(self, table: str, base: int | None, touched: Touched | None) -> None:
        """Look at what was staged, unless it stands on another snapshot and so cannot be published."""
        staged = self._staged(self._load(table))
        parent = staged.parentId()
        if base != (None if parent is None else int(parent)):
            return
        if touched is not None:
            self._require(touched, table, staged, base)
        if self._audit is not None:
            self._audit.judge(int(staged.snapshotId()))

    def _require(self, touched: Touched, table: str, staged: Any, base: int | None) -> None:
        """Raise LakeError where other rows were written than were counted; rows are read where in doubt.

        MERGE itself tells nothing: a row that it does not find is inserted or forgotten, one that is there
        twice is changed twice.
        """
        summary = staged.summary()
        if touched.accounts_for({name: summary.get(name) for name in SUMMARY_FIELDS}):
            return
        snapshot_id = int(staged.snapshotId())
        before = (0, 0) if base is None else self._rows(table, base)
        after = self._rows(table, snapshot_id)
        if touched.accounts_for_rows(before, after):
            return
        message = (
            f"{table}: the merge did not do what was counted ({touched}): {before[0]} rows became "
            f"{after[0]}, {after[1]} of them written by this run"
        )
        hint = (
            f"Nothing was published; staged snapshot {snapshot_id} shows it. Look for rows with the same "
            "key, or with NULL in it, that another tool wrote; remove them, and run again."
        )
        raise LakeError(message, hint=hint)

    def _rows(self, table: str, snapshot_id: int) -> tuple[int, int]:
        """Return how many rows a snapshot holds, and how many of them this run wrote."""
        own = f"count_if({quoted(RUN_ID)} = {literal(self._run_id)})"
        relation = f"{table}.{quoted(f'snapshot_id_{snapshot_id}')}"
        found = self._session.sql(f"SELECT count(*), {own} FROM {relation}").collect()[0]
        return int(found[0]), int(found[1])

    def _publish(self, table: str, base: int | None) -> int:
        crash_point("staged")
        loaded = self._load(table)
        staged = self._staged(loaded)
        snapshot_id = int(staged.snapshotId())
        current = loaded.currentSnapshot()
        main = None if current is None else int(current.snapshotId())
        parent = staged.parentId()
        # Main, too, for one that was rolled back meanwhile is an ancestor: a fast-forward would undo that.
        if (None if parent is None else int(parent)) != base or main != base:
            raise _conflict(table)
        try:
            _make_current(loaded, snapshot_id, base)
        except Py4JError as error:
            if not self._is_published(table, snapshot_id, error):
                raise _not_published(table, error) from error
            log.warning("%s: the answer to a commit was lost; the table says that it happened", table)
        crash_point("published")
        return snapshot_id

    def _is_published(self, table: str, snapshot_id: int, error: Exception) -> bool:
        """Return whether main holds the snapshot after a commit that seemed to fail with `error`.

        Whatever the failure, the table alone knows. A commit that is still on its way cannot come true
        later: it replaces one pointer by another, and the next attempt moves the pointer by staging.
        Raises: CommitUnknownError where the table cannot be asked.
        """
        try:
            history = while_unreachable(self._main_history, table)
        except CatalogUnreachableError as unknown:
            message = (
                f"whether {table} was committed is not known: snapshot {snapshot_id} was written and its "
                f"publishing sent, no answer came ({translated(table, error).message}), "
                "and the catalog cannot be asked"
            )
            hint = "Run again when the catalog is up: the run starts from what the table then says."
            raise CommitUnknownError(message, hint=hint) from unknown
        return snapshot_id in history

    def _main_history(self, table: str) -> set[int]:
        """Return the ids of the current snapshot and its ancestors as the catalog now has them."""
        with translating(self._session, table):
            loaded, found = self._load(table), set()
            current = loaded.currentSnapshot()
            while current is not None:
                found.add(int(current.snapshotId()))
                parent = current.parentId()
                current = None if parent is None else loaded.snapshot(int(parent))
            return found

    def _staged(self, loaded: Any) -> Any:
        """Return the newest snapshot of this run that is not published yet."""
        snapshots = loaded.snapshots()
        # From the end, by position: each step is a call, and the end of Java's iterators an exception.
        for position in reversed(range(snapshots.size())):
            snapshot = snapshots.get(position)
            if snapshot.summary().get(WAP_ID) == self._run_id:
                return snapshot
        raise CommitConflictError("the staged snapshot is gone before it was published")

    def _load(self, table: str) -> Any:
        return load_table(self._session, table)


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


def _make_current(loaded: Any, snapshot_id: int, base: int | None) -> None:
    """Move main from `base` to the snapshot, in one metadata commit that main's moving away refuses."""
    manage = loaded.manageSnapshots()
    if base is None:
        manage.createBranch(_MAIN, snapshot_id).commit()
        return
    tag = f"staged-{snapshot_id}"
    manage.createTag(tag, snapshot_id).fastForwardBranch(_MAIN, tag).removeTag(tag).commit()


def _not_published(table: str, error: Exception) -> DatamartError:
    """Return what to raise for a commit that did not happen: staged again where the catalog was away."""
    found = translated(table, error)
    if not isinstance(found, CatalogUnreachableError):
        return found
    message = f"the catalog was lost before {table} was committed; nothing was published"
    return CommitConflictError(message, hint="Run again when the catalog is up.")


def _conflict(table: str) -> CommitConflictError:
    message = f"another run committed to {table} while this one was merging"
    return CommitConflictError(message, hint="Run again: it starts from what the other run committed.")
