"""Every change is staged, looked at, then published by compare-and-swap on the table (R1, R12)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from iceberg_datamart.core.sql.reserved import RUN_ID
from iceberg_datamart.core.state.commit import ENGINE
from iceberg_datamart.crash_points import crash_point
from iceberg_datamart.errors import (
    CatalogUnreachableError,
    CommitConflictError,
    CommitUnknownError,
    DatamartError,
    LakeError,
)
from iceberg_datamart.lake.answering import while_unreachable
from iceberg_datamart.lake.engine import conflict
from iceberg_datamart.underway.stopping import effect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iceberg_datamart.core.changes import Change
    from iceberg_datamart.core.quality.touched import Touched
    from iceberg_datamart.core.upkeep.layout import Rewrite
    from iceberg_datamart.lake.engine import Engine, Staged

log = logging.getLogger(__name__)


class Audit(Protocol):
    """Looks at a staged snapshot of one table before it is published."""

    def prepare(self) -> None:
        """Refuse what cannot be audited, before anything is staged. Raises: DatamartError."""

    def judge(self, snapshot_id: int) -> None:
        """Raise AuditError where the staged snapshot must not be published."""


class Publishing:
    """Stages and publishes the commits of one run."""

    def __init__(self, engine: Engine, schema_id: int | None, audit: Audit | None = None) -> None:
        """Take what writes, and what looks at each staged snapshot.

        `schema_id` is of the columns that rows were compared in: what is staged with others is not published.
        """
        self._engine, self._schema_id, self._audit = engine, schema_id, audit

    def commit(
        self,
        change: Change,
        base: int | None,
        summary: Mapping[str, str],
        touched: Touched | None = None,
    ) -> Staged:
        """Publish a change on top of snapshot `base`, with `summary` among its snapshot's properties.

        Raises: CommitConflictError where the table is not at `base` any more or has other columns, so that
        what was compared with it is stale; AuditError; LakeError where others than `touched` were written.
        """
        if self._audit is not None:
            self._audit.prepare()
        with self._engine.at_work(change.table):
            with effect():
                staged = self._engine.stage(change, self._signed(summary))
            if self._is_on(staged, base):
                self._judge(staged, touched, change.lineage.run_id)
        return self._published(staged, base)

    def stamp(self, table: str, base: int | None, summary: Mapping[str, str]) -> Staged:
        """Commit `summary` alone, in a snapshot without files. Raises: as `commit`."""
        with self._engine.at_work(table), effect():
            staged = self._engine.stamp(table, self._signed(summary))
        return self._published(staged, base)

    def _is_on(self, staged: Staged, base: int | None) -> bool:
        """Return whether a snapshot was written on what was compared: that snapshot, in those columns."""
        return staged.parent == base and staged.schema_id == self._schema_id

    def rewrite(self, rewrite: Rewrite, summary: Mapping[str, str]) -> Staged:
        """Commit the same rows in other files. Raises: as `commit`."""
        with self._engine.at_work(rewrite.table):
            staged = self._engine.rewrite(rewrite, self._signed(summary))
        return self._published(staged, staged.parent)

    def _signed(self, summary: Mapping[str, str]) -> dict[str, str]:
        """Return the properties with the name of the engine that commits them."""
        return {**summary, ENGINE: self._engine.name}

    def _judge(self, staged: Staged, touched: Touched | None, run_id: str) -> None:
        if touched is not None:
            self._require(touched, staged, run_id)
        if self._audit is not None:
            self._audit.judge(staged.snapshot_id)

    def _require(self, touched: Touched, staged: Staged, run_id: str) -> None:
        """Raise LakeError where other rows were written than were counted; rows are read where in doubt.

        MERGE itself tells nothing: a row that it does not find is inserted or forgotten, one that is there
        twice is changed twice.
        """
        if touched.accounts_for(staged.summary):
            return
        before = (0, 0) if staged.parent is None else self._rows(staged.table, staged.parent, run_id)
        after = self._rows(staged.table, staged.snapshot_id, run_id)
        if touched.accounts_for_rows(before, after):
            return
        message = (
            f"{staged.table}: the merge did not do what was counted ({touched}): {before[0]} rows became "
            f"{after[0]}, {after[1]} of them written by this run"
        )
        hint = (
            f"Nothing was published; staged snapshot {staged.snapshot_id} shows it. Look for rows with the "
            "same key, or with NULL in it, that another tool wrote; remove them, and run again."
        )
        raise LakeError(message, hint=hint)

    def _rows(self, table: str, snapshot_id: int, run_id: str) -> tuple[int, int]:
        """Return how many rows a snapshot holds, and how many of them this run wrote."""
        dialect = self._engine.dialect
        own = f"count_if({dialect.quoted(RUN_ID)} = {dialect.literal(run_id)})"
        found = self._engine.fetch(f"SELECT count(*), {own} FROM {self._engine.table(table, snapshot_id)}")[0]
        return int(found[0]), int(found[1])

    def _published(self, staged: Staged, base: int | None) -> Staged:
        crash_point("staged")
        # The engine asks whether the table is at the base, too: after a rollback meanwhile the base is an
        # ancestor of what was staged, and a fast-forward would undo the rollback.
        if not self._is_on(staged, base):
            raise conflict(staged.table)
        try:
            with self._engine.at_work(staged.table), effect():
                self._engine.publish(staged)
        except DatamartError as error:
            if not self._is_published(staged, error):
                raise _not_published(staged.table, error) from error
            log.warning("%s: the answer to a commit was lost; the table says that it happened", staged.table)
        crash_point("published")
        return staged

    def _is_published(self, staged: Staged, error: DatamartError) -> bool:
        """Return whether the table holds the snapshot after a commit that seemed to fail with `error`.

        Whatever the failure, the table alone knows. A commit that is still on its way cannot come true
        later: it replaces one pointer by another, and the next attempt moves the pointer by staging.
        Raises: CommitUnknownError where the table cannot be asked.
        """
        try:
            ancestors = while_unreachable(self._ancestors, staged.table)
        except CatalogUnreachableError as unknown:
            message = (
                f"whether {staged.table} was committed is not known: snapshot {staged.snapshot_id} was "
                f"written and its publishing sent, no answer came ({error.message}), and the catalog cannot "
                "be asked"
            )
            hint = "Run again when the catalog is up: the run starts from what the table then says."
            raise CommitUnknownError(message, hint=hint) from unknown
        return staged.snapshot_id in ancestors

    def _ancestors(self, table: str) -> set[int]:
        with self._engine.at_work(table):
            return self._engine.ancestors(table)


def _not_published(table: str, error: DatamartError) -> DatamartError:
    """Return what to raise for a commit that did not happen: staged again where the catalog was away."""
    if not isinstance(error, CatalogUnreachableError):
        return error
    message = f"the catalog was lost before {table} was committed; nothing was published"
    return CommitConflictError(message, hint="Run again when the catalog is up.")
