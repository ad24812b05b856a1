"""What the JVM's exceptions mean in this package's errors; no py4j class gets past here."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JError, Py4JNetworkError
from pyspark.sql.utils import CapturedException

from iceberg_datamart.errors import (
    CatalogUnreachableError,
    DatamartError,
    LakeError,
    SourceUnreachableError,
    UnfitValueError,
)
from iceberg_datamart.lake.engine import conflict
from iceberg_datamart.lake.runtime import present_runtime
from iceberg_datamart.lake.spark.jdbc_catalog import replace_lost_connections

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

_CONFLICTS = (
    "CommitFailedException",
    "ValidationException",
    "Cannot fast-forward",
    "Ref main already exists",
    # So a REST catalog's server calls a number that another run took meanwhile: Iceberg's own, up to 1.10.
    "Cannot add snapshot with sequence number",
    "database is locked",
    "SQLITE_BUSY",
)
# What Iceberg raises when its catalog's answer to a commit, or to any question, did not come.
_UNANSWERED = (
    *("UncheckedSQLException", "CommitStateUnknownException"),
    # Of a REST catalog: no answer came; its server is busy, or failed.
    *("RESTException", "ServiceUnavailableException", "ServiceFailureException"),
)
# What pgjdbc says of a connection, and the server of a session that ends or of an exported snapshot whose
# session has ended, or of a lock behind DDL that waits for the session which holds the point (R16); no error
# of a statement alone.
_CONNECTION = re.compile(
    r"PSQLException: (FATAL: .*|.*I/O error.*|Connection to .* refused.*|The connection attempt failed.*|"
    r"This connection has been closed.*|The backend has broken the connection.*|"
    r"ERROR: (?:could not import the requested snapshot|invalid snapshot identifier|"
    r"snapshot \".*\" does not exist|canceling statement due to lock timeout|"
    r"canceling statement due to conflict with recovery).*)"
)
_NO_MEMORY = "OutOfMemoryError"
_SERVER_ERROR = "org.postgresql.util.PSQLException"
_MOST_CAUSES = 20
_UNFIT = re.compile(r'invalid input syntax for type [\w ]+: "([^"]* does not fit [^"]*)"')
# What `lake/spark/exact.py` raises of a value, and `lake/spark/json_lines.py` of a line.
_OF_FILES = re.compile(
    r"Exception: (?:\[\w+\] )?(column '.*' does not fit [^\n]*)|MalformedLineError: ([^\n]*)"
)
# A message that ends with a colon goes on: on the lines up to the trace. Py4J's own first line has no cause
# before its colon: `: org.postgresql.util.PSQLException: ERROR: …`.
_CAUSE = re.compile(
    r"^(?:Caused by: |: )?([\w.$]+(?:Exception|Error)): (.*:(?:\n(?!\s*at )[^\n]+)+|.*)$", re.MULTILINE
)


@contextmanager
def translating(session: SparkSession, table: str) -> Iterator[None]:
    """Turn what Spark, Iceberg and JDBC raise meanwhile into a DatamartError that names `table`."""
    try:
        yield
    except DatamartError:
        raise
    except (Py4JError, CapturedException) as error:
        found = translated(table, error)
        lost = isinstance(found, CatalogUnreachableError) and _CONNECTION.search(_text(error)) is not None
        if lost and present_runtime().keeps_lost_connections:
            replace_lost_connections(session)
        raise found from error


def translated(table: str, error: Exception) -> DatamartError:
    """Return the error of this package for one of Spark's."""
    text = _text(error)
    unfit = _unfit(table, text)
    if unfit is not None:
        return unfit
    if any(name in text for name in _CONFLICTS):
        return conflict(table)
    if any(name in text for name in _UNANSWERED):
        message = f"the catalog did not answer while {table} was written: {_root_cause(text)}"
        return CatalogUnreachableError(message, hint="Run again when the catalog is up; nothing is lost.")
    if _NO_MEMORY in text or isinstance(error, Py4JNetworkError):
        what = "had too little memory" if _NO_MEMORY in text else "ended, mostly for lack of memory,"
        hint = (
            "Set spark.properties.spark.driver.memory to more (Glue: a larger worker type), or leave wide "
            "columns out with `exclude`. Nothing of this table was published."
        )
        return LakeError(f"{table}: Spark's JVM {what} at work on it: {_root_cause(text)}", hint=hint)
    lost = _CONNECTION.search(text)
    if lost is not None:
        message = f"the connection or the consistent point of the source was lost: {lost[1]}"
        return SourceUnreachableError(message + _sqlstate(error))
    return LakeError(f"{table}: {_root_cause(text)}{_sqlstate(error)}")


def _text(error: Exception) -> str:
    """Return all that the JVM tells of an error."""
    return str(getattr(error, "stackTrace", "") or "") + "\n" + str(error)


def _unfit(table: str, text: str) -> UnfitValueError | None:
    """Return the error of a value or a line that the source has; None where it is none of these."""
    unfit = _UNFIT.search(text)
    if unfit is not None:
        hint = "Set a wider type in `columns`, or `type: string`. Nothing of this table was written."
        return UnfitValueError(f"value {unfit[1]}", hint=hint)
    malformed = _OF_FILES.search(text)
    if malformed is not None:
        hint = "Correct the file, or the column's type in the catalog or in `columns`. Nothing was written."
        return UnfitValueError(f"{table}: {malformed[1] or malformed[2]}", hint=hint)
    return None


def _root_cause(text: str) -> str:
    causes = _CAUSE.findall(text)
    if not causes:
        return next(iter(text.strip().splitlines()), "an error that says nothing")
    name, message = causes[-1]
    return " ".join(message.split()) or str(name.rsplit(".", 1)[-1])


def _sqlstate(error: Exception) -> str:
    """Return the SQLSTATE of the server's error under a JVM's one, to be said after a message; or nothing."""
    cause: Any = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    for _ in range(_MOST_CAUSES):
        if cause is None:
            break
        try:
            if cause.getClass().getName() == _SERVER_ERROR:
                state = cause.getSQLState()
                return f" (SQLSTATE {state})" if state else ""
            cause = cause.getCause()
        except Exception:  # noqa: BLE001  (a JVM that is gone tells no more)
            break
    return ""
