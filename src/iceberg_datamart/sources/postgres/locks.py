"""ACCESS SHARE on all that is read, taken before the snapshot is exported (R16).

TRUNCATE and rewrites are not MVCC-safe: a snapshot that is older than they are sees an empty table. Nothing
is held for long while a lock is waited for, and each wait is shorter than deadlock_timeout: DDL on several
tables never becomes the victim of a deadlock with this session.
https://www.postgresql.org/docs/current/mvcc-caveats.html
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors, sql

from iceberg_datamart.core.report.progress import LOCKED, Board
from iceberg_datamart.errors import DatamartError, SourceError, SourceLockedError, SourceUnreachableError
from iceberg_datamart.sources.postgres import catalog
from iceberg_datamart.sources.postgres.connection import translated
from iceberg_datamart.sources.postgres.relations import holders, uncovered
from iceberg_datamart.sources.postgres.rights import denied
from iceberg_datamart.sources.postgres.settings import begin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from iceberg_datamart.core.settings.model import SourceName, TableConfig
    from iceberg_datamart.sources.postgres.catalog import Relation

log = logging.getLogger(__name__)
# Below the default of deadlock_timeout, one second.
_ONE_WAIT = 900  # milliseconds
# A table found locked at the end of the wait for others is waited for this long at least.
_LEAST_WAIT = 5.0
_TOLD_EVERY = 5.0
# A name or a column that was there a moment before, and is not: looked up again.
_CHANGED = (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName)
_MOST_CHANGES = 3
_BLOCKED = (errors.LockNotAvailable, errors.DeadlockDetected)


class _ChangedError(Exception):
    """A name means another relation than the one that was locked."""


@dataclass
class Locks:
    """The locks of one source's session; `guard` holds them until the snapshot's session does."""

    source: str
    guard: psycopg.Connection[Any]
    patience: float
    board: Board = field(default_factory=Board)
    statements: dict[str, sql.Composed] = field(default_factory=dict)
    _failed: dict[str, DatamartError] = field(default_factory=dict)
    _changes: dict[str, int] = field(default_factory=dict)
    _blocked_since: dict[str, float] = field(default_factory=dict)
    _told: float = 0.0

    def take(self, tables: Mapping[str, TableConfig]) -> dict[str, DatamartError]:
        """Lock the tables, all at once; return those that are not locked, with the reason."""
        with ExitStack() as told:
            return self._taken(tables, told)

    def _taken(self, tables: Mapping[str, TableConfig], told: ExitStack) -> dict[str, DatamartError]:
        """Return what `take` returns; waits are on the board until `told` ends."""
        started, shown = time.monotonic(), ""
        wanted = dict(tables)
        while (blocked := self._attempt(wanted)) is not None:
            now = time.monotonic()
            since = self._blocked_since.setdefault(blocked, now)
            if now >= max(started + self.patience, since + min(self.patience, _LEAST_WAIT)):
                self._failed[blocked] = self._given_up(blocked, wanted[blocked], now - since)
            elif now > since and now >= self._told + _TOLD_EVERY:
                self._told = now
                holders = self._holders(wanted[blocked])
                log.warning(self._waiting(blocked, wanted[blocked], holders))
                if blocked != shown:
                    told.close()
                    shown = blocked
                told.enter_context(self.board.work(blocked, LOCKED, note=holders))
            # Waited for first, while no lock of another table is held.
            wanted = {blocked: wanted.pop(blocked), **wanted}
            wanted = {name: table for name, table in wanted.items() if name not in self._failed}
        return self._failed

    def hand_over(self, point: psycopg.Connection[Any]) -> None:
        """Take the same locks in the session that holds the snapshot.

        Raises: SourceUnreachableError where they are not to be had at once, or do not cover what is read.
        """
        try:
            for statement in self.statements.values():
                point.execute(statement)
        except _BLOCKED as error:
            raise self._not_covered("DDL came in between") from error
        missing = uncovered(self.guard, point)
        if missing is not None:
            raise self._not_covered(f"{missing} was added")
        self.guard.execute("rollback")

    def _attempt(self, tables: Mapping[str, TableConfig]) -> str | None:
        """Lock all tables that can be locked; return the one that must be waited for, all given up then."""
        begin(self.guard, "read committed", _ONE_WAIT)
        self.statements.clear()
        for name, table in tables.items():
            if not self._settled(name, table):
                self.guard.execute("rollback")
                return name
        return None

    def _settled(self, name: str, table: TableConfig) -> bool:
        """Return whether a table is locked, or failed for good; False where it is to be tried again."""
        try:
            with self.guard.transaction():
                self.statements[name] = self._locked(table)
        except _BLOCKED:
            return False
        except (*_CHANGED, _ChangedError) as error:
            self._changes[name] = self._changes.get(name, 0) + 1
            if self._changes[name] < _MOST_CHANGES:
                return False
            self._failed[name] = self._reason(table.from_, error)
        except errors.InsufficientPrivilege as error:
            self._failed[name] = denied(self.guard, self.source, name, table, error)
        except psycopg.Error as error:
            self._failed[name] = translated(self.source, error)
        except DatamartError as error:
            self._failed[name] = error
        return True

    def _locked(self, table: TableConfig) -> sql.Composed:
        """Lock a table, its children and what views read, by planning its read: SELECT is right enough."""
        relation = catalog.relation_named(self.guard, table.from_)
        names = [c.name for c in catalog.columns_of(self.guard, relation) if c.name not in table.exclude]
        statement = _planning(relation, names, table.soft_delete)
        self.guard.execute(statement)
        # The lock keeps the name from here on; before, it may have come to mean another relation.
        if catalog.relation_named(self.guard, table.from_).oid != relation.oid:
            raise _ChangedError(str(table.from_))
        return statement

    def _reason(self, name: SourceName, error: Exception) -> DatamartError:
        if isinstance(error, psycopg.Error):
            return translated(self.source, error)
        return SourceError(f"source table {name} is replaced again and again", hint="Run it again.")

    def _waiting(self, name: str, table: TableConfig, holders: str) -> str:
        return (
            f"table '{name}': waiting for a lock on {table.from_}, {holders}; "
            f"given up after {self.patience:g} s (sources.{self.source}.lock_wait_seconds)"
        )

    def _given_up(self, name: str, table: TableConfig, seconds: float) -> SourceLockedError:
        message = (
            f"table '{name}': source table {table.from_} stayed locked for {seconds:.0f} s, "
            f"{self._holders(table)}"
        )
        hint = (
            "Nothing of this table was written. Run again when that session has ended, or raise "
            f"sources.{self.source}.lock_wait_seconds."
        )
        return SourceLockedError(message, hint=hint)

    def _holders(self, table: TableConfig) -> str:
        """Return who holds the lock, to be said after a comma."""
        try:
            found = holders(self.guard, catalog.relation_named(self.guard, table.from_).oid)
        except (psycopg.Error, SourceError) as error:
            return f"held by whom cannot be told ({error})"
        return "held by " + ("; ".join(found) or "a session that released it a moment ago")

    def _not_covered(self, why: str) -> SourceUnreachableError:
        return SourceUnreachableError(
            f"source '{self.source}': its tables changed while the consistent point was taken: {why}",
            hint="Run it again.",
        )


def _planning(relation: Relation, columns: Iterable[str], soft_delete: str | None) -> sql.Composed:
    """Return the statement that locks what reading the columns locks: it plans the read and runs nothing."""
    wanted: list[sql.Composable] = [sql.Identifier(name) for name in columns]
    if soft_delete is not None:
        wanted.append(sql.SQL("({}\n)::boolean").format(sql.SQL(soft_delete)))
    place = sql.Identifier(relation.schema, relation.table)
    return sql.SQL("explain select {} from {}").format(sql.SQL(", ").join(wanted), place)
