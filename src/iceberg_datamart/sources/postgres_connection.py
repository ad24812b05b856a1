"""A connection whose settings nothing depends on, the horizon it sees, and what its errors mean.

Exported snapshots: https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-SNAPSHOT-SYNCHRONIZATION
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import class_row
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from iceberg_datamart.errors import (
    SourceError,
    SourceRefusedError,
    SourceUnreachableError,
    UnfitValueError,
)
from iceberg_datamart.reading import OpenTransaction
from iceberg_datamart.sources.postgres_jdbc import credentials_of
from iceberg_datamart.sources.postgres_types import UNFIT
from iceberg_datamart.watermark import Horizon

if TYPE_CHECKING:
    from iceberg_datamart.config import PostgresSource

DEFAULT_LOOKBACK = timedelta(minutes=5)
# A transaction takes its now() a moment before other sessions can see that it is open.
UNSEEN_START = timedelta(seconds=1)
# Text forms of intervals, floats and bytes depend on these; nothing may depend on a role's defaults.
SETTINGS = (
    "set timezone = 'UTC'; set intervalstyle = 'iso_8601'; set datestyle = 'ISO'; set bytea_output = 'hex'; "
    "set extra_float_digits = 1; set statement_timeout = 0; set idle_in_transaction_session_timeout = 0"
)
# Of a refused login psycopg has the server's words alone, in a language that the server's settings choose:
# words that are not known here cost a few seconds of trying again.
_REFUSED = (
    "authentication failed",
    "no password supplied",
    "pg_hba.conf",
    "does not exist",
    "permission denied",
)
# What libpq says where TLS is not to be had as `sslmode` demands it.
_UNTRUSTED = (
    "certificate verify failed",
    "does not match host name",
    "does not support SSL",
    "certificate file",
    "private key file",
)
# The connection is gone, or was not to be had: https://www.postgresql.org/docs/current/errcodes-appendix.html
# A standby ends what its primary's cleaning overtakes with 40001; a fresh point is the mend there, too.
_LOST = ("08", "57P", "53300", "40001")
_ATTEMPTS = 5
_BEGIN = "begin isolation level repeatable read, read only"
# Prepared transactions do not tell when they began: they count from this much before they were prepared.
_OPEN = """
select xact_start as since, xact_start as holds_from, pid, application_name, usename as "user", state,
       null as gid
from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null
  and backend_type not in ('autovacuum worker', 'walsender', 'parallel worker')
union all
select prepared, prepared - %(lookback)s, null, null, owner, 'prepared', gid
from pg_prepared_xacts where database = current_database()
"""
_HORIZON = f"""
select clock_timestamp() as clock, pg_is_in_recovery() as standby,
       pg_has_role(current_user, 'pg_read_all_stats', 'member') as visible,
       (select min(holds_from) from ({_OPEN}) as o) as held_since,
       pg_last_xact_replay_timestamp() as replayed
"""
_STANDBY = "is a standby and does not see its primary's open transactions, so reads start 5 minutes early"
_HIDDEN = (
    "does not let this role see other sessions, so reads start 5 minutes early; "
    "to read exactly: GRANT pg_read_all_stats TO the role"
)


@dataclass(frozen=True)
class _Activity:
    clock: datetime
    standby: bool
    visible: bool
    held_since: datetime | None
    replayed: datetime | None


def awaited(name: str, config: PostgresSource) -> psycopg.Connection[Any]:
    """Return an open connection as `connected` does, to a server that may be starting up or full.

    Raises: SourceUnreachableError after some seconds; SourceRefusedError at once.
    """
    attempts = Retrying(
        retry=retry_if_exception_type(SourceUnreachableError),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_exponential(multiplier=0.5, max=4),
        reraise=True,
    )
    return attempts(connected, name, config)


def connected(name: str, config: PostgresSource, patience: int = 15) -> psycopg.Connection[Any]:
    """Return an open connection in autocommit mode, within `patience` seconds.

    Raises: SourceUnreachableError, SourceRefusedError.
    """
    credentials: dict[str, Any] = dict(credentials_of(config))
    try:
        connection = psycopg.connect(config.url, autocommit=True, connect_timeout=patience, **credentials)
        connection.execute(SETTINGS)
    except psycopg.Error as error:
        raise _not_connected(name, str(error).strip()) from error
    return connection


def _not_connected(name: str, text: str) -> SourceError:
    """Return what to raise where a connection was not to be had; `text` is psycopg's."""
    message = f"source '{name}' cannot be reached: {text}"
    if any(words in text for words in _UNTRUSTED):
        hint = f"Check sslmode and sslrootcert in sources.{name}.url, and the server's certificate."
        return SourceRefusedError(message, hint=hint)
    hint = f"Check sources.{name}.url, the password, and that the server is up."
    refused = any(words in text for words in _REFUSED)
    return (SourceRefusedError if refused else SourceUnreachableError)(message, hint=hint)


def take_horizon(connection: psycopg.Connection[Any]) -> tuple[Horizon, str | None]:
    """Return the horizon, and what keeps it from being exact, to be said after the source's name.

    Take it before the snapshot is exported: a transaction that starts in between begins above it.
    """
    with connection.cursor(row_factory=class_row(_Activity)) as cursor:
        seen = cursor.execute(_HORIZON, {"lookback": DEFAULT_LOOKBACK}).fetchall()[0]
    clock, held_since = seen.clock, seen.held_since
    if seen.standby:
        guess = min(clock, seen.replayed or clock) - DEFAULT_LOOKBACK
        return Horizon(guess, clock, visible=False), _STANDBY
    if not seen.visible:
        return Horizon(clock - DEFAULT_LOOKBACK, clock, held_since, visible=False), _HIDDEN
    return Horizon(min(clock - UNSEEN_START, held_since or clock), clock, held_since), None


def open_transactions(
    connection: psycopg.Connection[Any], older_than: datetime
) -> tuple[OpenTransaction, ...]:
    """Return the transactions that keep the horizon at or below `older_than`, the oldest first."""
    query = f"select * from ({_OPEN}) as o where holds_from <= %(older)s order by holds_from, pid"
    with connection.cursor(row_factory=class_row(OpenTransaction)) as cursor:
        return tuple(cursor.execute(query, {"lookback": DEFAULT_LOOKBACK, "older": older_than}))


def export_snapshot(connection: psycopg.Connection[Any], source: str) -> str:
    """Begin a transaction that holds one snapshot; return its id, by which other connections import it.

    Raises: SourceRefusedError where the server or a pooler exports none: what is compared and what Spark
    reads would be two points of the source, and rows that change in between would be lost or doubled.
    """
    connection.execute(_BEGIN)
    try:
        row = connection.execute("select pg_export_snapshot()").fetchone()
    except psycopg.Error as error:
        if isinstance(error, psycopg.OperationalError) and (error.sqlstate or "08").startswith(_LOST):
            raise
        message = f"source '{source}' exports no snapshot, so it cannot be read at one point: {error}"
        hint = (
            "GRANT EXECUTE ON FUNCTION pg_export_snapshot() TO the role; where a pooler refuses it, "
            f"let sources.{source}.url name the server itself. Nothing was written."
        )
        raise SourceRefusedError(message, hint=hint) from error
    return str(row[0] if row else "")


def importing(snapshot: str | None) -> str:
    """Return the statement by which another connection comes to see the exported snapshot."""
    if snapshot is None:
        return SETTINGS
    start = "set transaction isolation level repeatable read; set transaction snapshot "
    return f"{start}'{snapshot}'; {SETTINGS}"


def translated(source: str, error: psycopg.Error) -> SourceError:
    """Return the error of this package that says what a server's error means."""
    text = (error.diag.message_primary or str(error)).strip()
    if f" {UNFIT} " in text:
        value = text.split('"')[1] if text.count('"') > 1 else text
        hint = "Set a wider type in `columns`, or `type: string`. Nothing of this table was written."
        return UnfitValueError(f"value {value}", hint=hint)
    if isinstance(error, psycopg.OperationalError) and (error.sqlstate or "08").startswith(_LOST):
        return SourceUnreachableError(f"source '{source}': {text}")
    return SourceError(f"source '{source}': {text}")
