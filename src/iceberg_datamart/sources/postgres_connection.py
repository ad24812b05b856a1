"""A connection whose settings nothing depends on, the snapshot it exports, and what its errors mean.

Exported snapshots: https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-SNAPSHOT-SYNCHRONIZATION
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from iceberg_datamart.errors import (
    SourceError,
    SourceRefusedError,
    SourceUnreachableError,
    UnfitValueError,
)
from iceberg_datamart.sources.postgres_jdbc import credentials_of
from iceberg_datamart.sources.postgres_types import UNFIT

if TYPE_CHECKING:
    from iceberg_datamart.config import PostgresSource

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
# A reader waits for locks only behind DDL that waits for the snapshot's session: see READER_LOCKS.
_LOST = ("08", "57P", "53300", "40001", "40P01", "55P03")
_ATTEMPTS = 5
# A reader's lock could only be behind DDL that waits until the point is given up: better to give it up soon.
_READER_PATIENCE = "3000"  # milliseconds
READER_LOCKS = f"lock_timeout = {_READER_PATIENCE}"
STARTUP = f"-c lock_timeout={_READER_PATIENCE}"
_BEGIN = "begin isolation level repeatable read, read only"


def awaited(name: str, config: PostgresSource, options: str = "") -> psycopg.Connection[Any]:
    """Return an open connection as `connected` does, to a server that may be starting up or full.

    Raises: SourceUnreachableError after some seconds; SourceRefusedError at once.
    """
    attempts = Retrying(
        retry=retry_if_exception_type(SourceUnreachableError),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_exponential(multiplier=0.5, max=4),
        reraise=True,
    )
    return attempts(connected, name, config, options=options)


def awaited_with_options(name: str, config: PostgresSource) -> tuple[psycopg.Connection[Any], str | None]:
    """Return an open connection as `awaited` does, and options that keep any other from waiting for locks.

    Spark asks for a query's columns on a connection that runs no statement of ours first: only options of
    the connection itself reach it. None where a pooler refuses or ignores them. Raises: as `awaited`.
    """
    options = " ".join(filter(None, (str(conninfo_to_dict(config.url).get("options") or ""), STARTUP)))
    try:
        connection = awaited(name, config, options)
    except SourceError as error:
        if "startup parameter" not in error.message:
            raise
        return awaited(name, config), None
    # Asked for as the session began: SETTINGS may have set it since.
    row = connection.execute("select reset_val from pg_settings where name = 'lock_timeout'").fetchone()
    return connection, options if row is not None and row[0] == _READER_PATIENCE else None


def connected(
    name: str, config: PostgresSource, patience: int = 15, options: str = ""
) -> psycopg.Connection[Any]:
    """Return an open connection in autocommit mode, within `patience` seconds.

    Raises: SourceUnreachableError, SourceRefusedError.
    """
    credentials: dict[str, Any] = dict(credentials_of(config))
    if options:
        credentials["options"] = options
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


def export_snapshot(connection: psycopg.Connection[Any], source: str) -> str:
    """Begin a transaction that holds one snapshot; return its id, by which other connections import it.

    Raises: SourceRefusedError where the server or a pooler exports none: what is compared and what Spark
    reads would be two points of the source, and rows that change in between would be lost or doubled.
    """
    connection.execute(_BEGIN)
    connection.execute(f"set local {READER_LOCKS}")
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
    settings = f"{SETTINGS}; set {READER_LOCKS}"
    if snapshot is None:
        return settings
    start = "set transaction isolation level repeatable read; set transaction snapshot "
    return f"{start}'{snapshot}'; {settings}"


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
