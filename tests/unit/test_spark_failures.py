"""What the JVM's exceptions mean in this package's errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from py4j.protocol import Py4JError, Py4JNetworkError

from iceberg_datamart.errors import (
    CatalogUnreachableError,
    CommitConflictError,
    DatamartError,
    DeleteGuardError,
    LakeError,
    SourceUnreachableError,
    UnfitValueError,
)
from iceberg_datamart.lake.spark.failures import translated, translating

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Looked at where a catalog's connection was lost alone, which the tests of faults do.
SESSION = cast("SparkSession", object())
UNFIT = (
    "Job aborted: org.postgresql.util.PSQLException: ERROR: invalid input syntax for type bigint: "
    "\"infinity in column 'at' does not fit a column of type timestamptz\"\n\tat org.postgresql.x"
)
LOST = (
    "org.apache.spark.SparkException: Job aborted\n\tat x\n"
    "Caused by: org.postgresql.util.PSQLException: FATAL: terminating connection due to an order\n"
)
DENIED = (
    "An error occurred while calling o71.collectToPython.\n"
    ": org.postgresql.util.PSQLException: ERROR: permission denied for table partly\n  Position: 8\n"
    "\tat org.postgresql.core.v3.QueryExecutorImpl.receiveErrorResponse(QueryExecutorImpl.java:2733)"
)
NESTED = (
    "org.apache.spark.SparkException: Job aborted.\n\tat scala.x(Y.scala:1)\n"
    "Caused by: org.apache.spark.SparkException: Task failed.\n\tat scala.x(Y.scala:1)\n"
    "Caused by: java.io.IOException: No space left on device\n\tat java.x(Y.java:1)"
)


@pytest.mark.parametrize(
    "text",
    [
        "org.apache.iceberg.exceptions.CommitFailedException: Table metadata refresh is required",
        "java.lang.IllegalArgumentException: Cannot fast-forward: main is not an ancestor of staged-7",
        "org.apache.iceberg.exceptions.ValidationException: Found conflicting files that can contain records",
        "Writing job aborted\nCaused by: org.apache.iceberg.exceptions.ValidationException: Found conflict",
        "java.lang.IllegalArgumentException: Ref main already exists",
        "org.apache.iceberg.exceptions.BadRequestException: Cannot add snapshot with sequence number 2 older",
        "Caused by: org.sqlite.SQLiteException: [SQLITE_BUSY] file is locked (database is locked)",
    ],
)
def test_r12_another_writers_commit_is_a_conflict_to_try_again(text: str) -> None:
    error = translated("queue", Py4JError(text))
    assert isinstance(error, CommitConflictError)
    assert (error.exit_code, error.retryable) == (75, True)
    assert "queue" in error.message


def test_r10_a_value_that_does_not_fit_is_named_with_its_column() -> None:
    error = translated("queue", Py4JError(UNFIT))
    assert isinstance(error, UnfitValueError)
    assert error.message == "value infinity in column 'at' does not fit a column of type timestamptz"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            Py4JError("x: Job aborted\nCaused by: java.lang.OutOfMemoryError: Java heap space\n\tat y"),
            "heap space",
        ),
        (Py4JNetworkError("Answer from Java side is empty"), "ended, mostly for lack of memory"),
    ],
)
def test_of_too_little_memory_the_error_says_what_to_set(error: Py4JError, words: str) -> None:
    found = translated("doc", error)
    assert type(found) is LakeError
    assert "doc" in found.message
    assert words in found.message
    assert "spark.driver.memory" in found.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "Job aborted\n\tat x\nCaused by: java.lang.RuntimeException: column 'c' does not fit int: x\n",
            "column 'c' does not fit int: x",
        ),
        (
            "PythonException: Trace\n  x\na.MalformedLineError: malformed line of JSON: Extra data: '1 2'\n",
            "malformed line of JSON: Extra data: '1 2'",
        ),
    ],
)
def test_a_value_or_a_line_of_a_file_is_named_with_its_table(text: str, said: str) -> None:
    error = translated("queue", Py4JError(text))
    assert isinstance(error, UnfitValueError)
    assert error.message == f"queue: {said}"
    assert error.hint


def test_a_lost_connection_is_the_sources_failure() -> None:
    error = translated("queue", Py4JError(LOST))
    assert isinstance(error, SourceUnreachableError)
    assert "terminating connection" in error.message


UNANSWERED = (
    "org.apache.iceberg.jdbc.UncheckedSQLException: Failed to commit\n\tat x\n"
    "Caused by: org.postgresql.util.PSQLException: An I/O error occurred while sending to the backend.\n"
)
UNKNOWN = "org.apache.iceberg.exceptions.CommitStateUnknownException: Cannot determine whether the commit\n"
OVER_HTTP = (
    "org.apache.iceberg.exceptions.RESTException: Error occurred while processing POST request\n\tat x\n"
    "Caused by: org.apache.hc.core5.http.NoHttpResponseException: catalog:8181 failed to respond\n"
)
BUSY = "org.apache.iceberg.exceptions.ServiceUnavailableException: Service unavailable: too many requests\n"
FAILED = "org.apache.iceberg.exceptions.ServiceFailureException: Server error: its own database is away\n"


@pytest.mark.parametrize("text", [UNANSWERED, UNKNOWN, OVER_HTTP, BUSY, FAILED])
def test_a_catalog_that_does_not_answer_is_not_taken_for_the_source(text: str) -> None:
    error = translated("queue", Py4JError(text))
    assert type(error) is CatalogUnreachableError
    assert (error.exit_code, error.retryable) == (75, True)


def test_the_sources_own_query_within_another_error_is_no_unfit_value() -> None:
    query = """select (left("a"::text, 60) || ' in column ''a'' does not fit int')::numeric, "b" from t"""
    error = translated("queue", Py4JError(f"AnalysisException: `t`.`note` cannot be resolved\n{query}"))
    assert type(error) is LakeError


@pytest.mark.parametrize(
    "message",
    [
        "An I/O error occurred while sending to the backend.",
        "This connection has been closed.",
        "Connection to db:5432 refused. Check that the hostname and port are correct",
        "FATAL: terminating connection due to administrator command",
        "FATAL: the database system is starting up",
        'ERROR: invalid snapshot identifier: "00000004-00000A1B-1"',
        "ERROR: could not import the requested snapshot",
        "ERROR: canceling statement due to conflict with recovery",
    ],
)
def test_whatever_ends_a_session_of_the_source_is_a_lost_connection(message: str) -> None:
    error = translated("queue", Py4JError(f"x\nCaused by: org.postgresql.util.PSQLException: {message}\n"))
    assert type(error) is SourceUnreachableError


@pytest.mark.parametrize(
    "message", ['ERROR: column "connection" does not exist', "ERROR: division by zero", "ERROR: terminating"]
)
def test_an_error_of_a_statement_is_no_lost_connection(message: str) -> None:
    error = translated("queue", Py4JError(f"x\nCaused by: org.postgresql.util.PSQLException: {message}\n"))
    assert type(error) is LakeError


def test_anything_else_is_told_by_its_root_cause_without_a_stack_trace() -> None:
    error = translated("queue", Py4JError(NESTED))
    assert type(error) is LakeError
    assert error.message == "queue: No space left on device"


class JavaError:
    """A Throwable as py4j shows it."""

    def __init__(self, kind: str, state: str | None = None, cause: JavaError | None = None) -> None:
        self._kind, self._state, self._cause = kind, state, cause

    def getClass(self) -> JavaError:  # noqa: N802  (Java's names, here and below)
        return self

    def getName(self) -> str:  # noqa: N802
        return self._kind

    def getCause(self) -> JavaError | None:  # noqa: N802
        return self._cause

    def getSQLState(self) -> str | None:  # noqa: N802
        return self._state


def test_r17_the_servers_own_words_and_its_sqlstate_are_told() -> None:
    error = Py4JError(DENIED)
    server = JavaError("org.postgresql.util.PSQLException", "42501")
    error.java_exception = JavaError("org.apache.spark.SparkException", cause=server)
    assert translated("partly", error).message == (
        "partly: ERROR: permission denied for table partly (SQLSTATE 42501)"
    )
    captured = Py4JError(LOST)
    captured._origin = JavaError("org.postgresql.util.PSQLException", "57P01")
    assert translated("partly", captured).message.endswith("(SQLSTATE 57P01)")


@pytest.mark.parametrize(
    "origin",
    [
        JavaError("java.lang.RuntimeException"),
        JavaError("org.postgresql.util.PSQLException"),
        "no Java object",
    ],
)
def test_without_a_servers_error_no_sqlstate_is_told(origin: object) -> None:
    error = Py4JError(NESTED)
    error.java_exception = origin
    assert translated("queue", error).message == "queue: No space left on device"


def test_a_cause_without_message_is_told_by_its_name() -> None:
    error = translated("queue", Py4JError("x\nCaused by: java.lang.NullPointerException: \n\tat y"))
    assert error.message == "queue: NullPointerException"


@pytest.mark.parametrize("text", ["plain words", "plain words\nand a second line"])
def test_a_message_without_causes_is_told_by_its_first_line(text: str) -> None:
    assert translated("queue", Py4JError(text)).message.endswith("plain words")


@pytest.mark.parametrize("error", [Py4JError(""), Py4JError(), Exception("")])
def test_an_exception_that_says_nothing_is_an_error_of_this_package_too(error: Exception) -> None:
    assert type(translated("queue", error)) is LakeError


def test_the_stack_trace_of_spark_sql_is_looked_through_as_well() -> None:
    error = Py4JError("Job aborted")
    error.stackTrace = "Caused by: org.apache.iceberg.exceptions.CommitFailedException: refresh"
    assert isinstance(translated("queue", error), CommitConflictError)


def test_errors_of_this_package_pass_as_they_are() -> None:
    guard = DeleteGuardError("too many")
    with pytest.raises(DeleteGuardError) as caught, translating(SESSION, "queue"):
        raise guard
    assert caught.value is guard


def test_a_translated_error_keeps_its_cause_for_debugging() -> None:
    cause = Py4JError(NESTED)
    with pytest.raises(DatamartError) as caught, translating(SESSION, "queue"):
        raise cause
    assert caught.value.__cause__ is cause


def test_a_mistake_in_our_own_code_is_not_dressed_up() -> None:
    with pytest.raises(ZeroDivisionError), translating(SESSION, "queue"):
        1 / 0  # noqa: B018
