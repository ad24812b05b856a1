"""The horizon of a PostgreSQL server: what open transactions hold it back, and what it cannot see (R7, R15).

https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row

from iceberg_datamart.core.source.reads import OpenTransaction
from iceberg_datamart.core.state.watermark import LOOKBACK, Horizon

if TYPE_CHECKING:
    import psycopg

# A transaction takes its now() a moment before other sessions can see that it is open.
UNSEEN_START = timedelta(seconds=1)
_LOOKS, _BETWEEN_LOOKS = 3, 0.05  # seconds
# The clock comes first: what starts after it has a later now(), whether the sessions' list has it or not.
_SERVER = """
select clock_timestamp() as clock, pg_is_in_recovery() as standby,
       pg_has_role(current_user, 'pg_read_all_stats', 'usage') as allowed,
       pg_last_xact_replay_timestamp() as replayed
"""
# Within a transaction the view repeats its first answer until it is cleared.
_FORGET = "select pg_stat_clear_snapshot()"
# A walsender writes only where somebody runs SQL on a replication connection; autovacuum writes no row, and a
# parallel worker's leader is in the list.
_SESSIONS = """
select pid, usename::text as "user", application_name, state, xact_start, query_start,
       backend_type is null as blank,
       backend_xid is not null or backend_xmin is not null as has_transaction
from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid()
  and (backend_type is null or backend_type not in ('autovacuum worker', 'parallel worker', 'walsender')
       or (backend_type = 'walsender' and backend_xid is not null))
"""
# Asked after the sessions, so that what is prepared in between is in both. Prepared transactions do not tell
# when they began: they count from this much before they were prepared.
_PREPARED = """
select prepared as since, prepared - %(lookback)s as holds_from, owner::text as "user",
       'prepared' as state, gid
from pg_prepared_xacts where database = current_database()
"""
_EARLY = f"so reads start {LOOKBACK // timedelta(minutes=1)} minutes early"
_STANDBY = f"is a standby and does not see its primary's open transactions, {_EARLY}"
_HIDDEN = (
    f"does not let this role see other sessions, {_EARLY}; "
    "to read exactly: GRANT pg_read_all_stats TO the role, which must inherit it"
)


@dataclass(frozen=True)
class Session:
    """One row of pg_stat_activity; `blank` where this role may not see what the session does."""

    pid: int
    user: str | None
    application_name: str | None
    state: str | None
    xact_start: datetime | None
    query_start: datetime | None
    blank: bool
    has_transaction: bool

    @property
    def hides(self) -> str | None:
        """Return why the session may have a transaction whose start is not known; None where it has none."""
        if self.blank:
            return "this role may not see it"
        if self.state == "disabled":
            return "its track_activities is off"
        if self.xact_start is None and (self.has_transaction or (self.state or "idle").startswith("idle in")):
            return "its track_activities was off when its transaction began"
        return None

    @property
    def since(self) -> datetime | None:
        """Return the earliest time that the session's transaction can write as its own; None without one."""
        # A statement is on its way before its transaction has begun, and gives it its now(). One that commits
        # within, as procedures do, keeps its statement_timestamp() in all transactions that follow.
        known = (self.xact_start, self.query_start if self.state == "active" else None)
        return min(filter(None, known), default=None)

    def __str__(self) -> str:
        """Return the session as people look for it."""
        program = f" '{self.application_name}'" if self.application_name else ""
        return f"session {self.pid}{program} of {self.user}"


@dataclass(frozen=True)
class Look:
    """What a server showed of itself at one moment; `clock` was read first."""

    clock: datetime
    standby: bool
    allowed: bool
    replayed: datetime | None
    sessions: tuple[Session, ...] = ()
    prepared: tuple[OpenTransaction, ...] = ()

    @property
    def open_transactions(self) -> tuple[OpenTransaction, ...]:
        """Return the transactions that are known, the oldest first."""
        found = [
            OpenTransaction(s.since, s.since, s.user, s.state, s.pid, s.application_name)
            for s in self.sessions
            if s.since is not None
        ]
        return tuple(sorted((*found, *self.prepared), key=lambda each: (each.holds_from, each.pid or 0)))

    @property
    def horizon(self) -> Horizon:
        """Return the time below which nobody can still write; a guess where `blind` says why."""
        held_since = min((each.holds_from for each in self.open_transactions), default=None)
        exact = Horizon(min(self.clock - UNSEEN_START, held_since or self.clock), self.clock, held_since)
        if self.standby:
            guess = min(self.clock, self.replayed or self.clock) - LOOKBACK
            return Horizon(guess, self.clock, visible=False)
        return exact if self.blind is None else exact.guessed()

    @property
    def blind(self) -> str | None:
        """Return what cannot be seen, to be said after the source's name; None where all is seen."""
        if self.standby:
            return _STANDBY
        if not self.allowed:
            return _HIDDEN
        hidden = [session for session in self.sessions if session.hides]
        if not hidden:
            return None
        more = f" and {len(hidden) - 1} more" if len(hidden) > 1 else ""
        first = f"{hidden[0]} ({hidden[0].hides}){more}"
        return f"does not show since when a transaction is open in {first}, {_EARLY}"


def look_at(connection: psycopg.Connection[Any]) -> Look:
    """Return what the server shows. Take it before the snapshot is exported, from another transaction.

    A transaction that starts in between begins above it, and what commits in between is in the snapshot.
    """
    clock, standby, allowed, replayed = connection.execute(_SERVER).fetchall()[0]
    sessions: list[Session] = []
    for number in range(_LOOKS):
        # A row is not read at one instant: a transaction that begins meanwhile shows its xid, not its start.
        if number:
            time.sleep(_BETWEEN_LOOKS)
        connection.execute(_FORGET)
        with connection.cursor(row_factory=class_row(Session)) as cursor:
            sessions = cursor.execute(_SESSIONS).fetchall()
        if not any(session.hides and session.state == "active" for session in sessions):
            break
    with connection.cursor(row_factory=class_row(OpenTransaction)) as cursor:
        prepared = cursor.execute(_PREPARED, {"lookback": LOOKBACK}).fetchall()
    return Look(clock, standby, allowed, replayed, tuple(sessions), tuple(prepared))
