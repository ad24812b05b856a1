"""A connection, the transactions on it, the snapshot that it exports, and what its errors mean.

Exported snapshots: https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-SNAPSHOT-SYNCHRONIZATION
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import psycopg
from psycopg.pq import TransactionStatus
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from iceberg_datamart.errors import (
    SourceError,
    SourceRefusedError,
    SourceUnreachableError,
    UnfitValueError,
)
from iceberg_datamart.sources.postgres.address import parameters_of
from iceberg_datamart.sources.postgres.settings import (
    APPLICATION,
    READER_PATIENCE,
    begin,
    require_known_version,
    startup_options,
)
from iceberg_datamart.sources.postgres.types import UNFIT
from iceberg_datamart.underway.stopping import CANCEL_SECONDS, remove_at_stop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iceberg_datamart.core.settings.model import PostgresSource

# Of a refused login psycopg has the server's words alone, in a language that the server's settings choose:
# words that are not known here cost a few seconds of trying again.
_REFUSED = (
    "authentication failed",
    "no password supplied",
    "pg_hba.conf",
    "does not exist",
    "permission denied",
    "startup parameter",
    "command-line options",
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
# A standby ends what its primary's cleaning overtakes with 40001; a fresh point is the fix there, too.
# A reader waits for locks only behind DDL that waits for the snapshot's session.
_LOST = ("08", "57P", "53300", "40001", "40P01", "55P03")
_ATTEMPTS = 5
_PATIENCE = 15  # seconds
_ROW_SECURITY = "row-level security"
_open = WeakSet[psycopg.Connection[Any]]()
# Bytes that are not of the encoding, and signs that UTF-8 lacks: most of databases of encoding SQL_ASCII.
_NO_TEXT = ("22021", "22P05")


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


def awaited_with_options(
    name: str, config: PostgresSource, plain: psycopg.Connection[Any]
) -> tuple[psycopg.Connection[Any], str | None]:
    """Return an open connection as `awaited` does, and options that put any other under the recipe (R17).

    Spark asks for a query's columns on a connection that runs no statement of ours first: only options of
    the connection itself reach it. None where a pooler refuses or ignores them; `plain` was let in without.
    Raises: as `awaited`.
    """
    given = parameters_of(config).get("options")
    options = " ".join(filter(None, (given, startup_options(plain.info.server_version))))
    try:
        connection = awaited(name, config, options)
    except SourceRefusedError:
        return awaited(name, config), None
    # Asked for as the session began: the recipe may have set it since.
    with transaction(connection):
        query = "select reset_val from pg_settings where name = 'lock_timeout'"
        row = connection.execute(query).fetchone()
    return connection, options if row is not None and row[0] == str(READER_PATIENCE) else None


def connected(
    name: str, config: PostgresSource, patience: int = _PATIENCE, options: str = ""
) -> psycopg.Connection[Any]:
    """Return an open connection in autocommit mode, within `patience` seconds.

    It has no setting of ours: each transaction gets them. Raises: SourceUnreachableError, SourceRefusedError.
    """
    parameters = connection_parameters(config, patience, options)
    try:
        # A pooler's next connection knows no statement that was prepared on another.
        connection = psycopg.connect("", autocommit=True, prepare_threshold=None, **parameters)  # type: ignore[arg-type]
    except psycopg.Error as error:
        raise _not_connected(name, " ".join(str(error).split())) from error
    _open.add(connection)
    try:
        require_known_version(name, connection.info.server_version)
    except SourceRefusedError:
        connection.close()
        raise
    return connection


def _cancel_all() -> None:
    """Have the servers end what runs on any connection: they would notice an ended client only at its end."""
    for connection in list(_open):
        if connection.info.transaction_status is TransactionStatus.ACTIVE:
            connection.cancel_safe(timeout=CANCEL_SECONDS)


remove_at_stop(_cancel_all)


def connection_parameters(
    config: PostgresSource, patience: int = _PATIENCE, options: str = ""
) -> dict[str, str]:
    """Return libpq's parameters for any connection to a source; they stand for what is not set here, too.

    `options` take the place of the settings' own.
    """
    # Given here, they keep PGOPTIONS, PGCLIENTENCODING and PGAPPNAME out.
    parameters = {"options": "", "application_name": APPLICATION, **parameters_of(config)}
    own = {"client_encoding": "UTF8", "connect_timeout": str(patience)}
    return parameters | own | ({"options": options} if options else {})


@contextmanager
def transaction(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Work in a transaction under the recipe of settings; within an open one, in a savepoint of it."""
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        with connection.transaction():
            yield
        return
    try:
        begin(connection, "read committed")
        yield
    finally:
        if not connection.closed:
            connection.rollback()


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
    begin(connection, "repeatable read")
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


def importing(snapshot: str | None, recipe: str) -> str:
    """Return the statements by which another transaction comes under the recipe, and to see the snapshot."""
    if snapshot is None:
        return recipe
    start = "set transaction isolation level repeatable read; set transaction snapshot "
    return f"{start}'{snapshot}'; {recipe}"


def translated(source: str, error: psycopg.Error) -> SourceError:
    """Return the error of this package that says what a server's error means, in the server's own words."""
    text = (error.diag.message_primary or str(error)).strip()
    if f" {UNFIT} " in text:
        value = text.split('"')[1] if text.count('"') > 1 else text
        hint = "Set a wider type in `columns`, or `type: string`. Nothing of this table was written."
        return UnfitValueError(f"value {value}", hint=hint)
    state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
    message, hint = f"source '{source}': {text}{state}", error.diag.message_hint or ""
    if isinstance(error, psycopg.OperationalError) and (error.sqlstate or "08").startswith(_LOST):
        return SourceUnreachableError(message, hint=hint)
    if error.sqlstate in _NO_TEXT:
        hint = "Correct the text, or leave its column out by `exclude`. Nothing of this table was written."
    if _ROW_SECURITY in text:
        hint = (
            "Rows that a policy hides from the role would be taken for deleted. Read as a role that no "
            "policy binds: ALTER ROLE … BYPASSRLS, or the table's owner without FORCE ROW LEVEL SECURITY. "
            "Nothing of this table was written."
        )
    return SourceError(message, hint=hint)
