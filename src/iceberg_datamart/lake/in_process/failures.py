"""What DuckDB, PostgreSQL's library and Arrow raise, in this package's errors."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb
import psycopg
import pyarrow as pa  # type: ignore[import-untyped]
from pyiceberg.exceptions import NoSuchTableError

from iceberg_datamart.core.sql.duckdb import NO_TEXT
from iceberg_datamart.errors import (
    DatamartError,
    LakeError,
    NeedsSparkError,
    SourceError,
    SourceUnreachableError,
    UnfitValueError,
)
from iceberg_datamart.lake.answering import answering

if TYPE_CHECKING:
    from collections.abc import Iterator

# As `sources/postgres/connection.py` has it, and what the server says of an exported snapshot whose session
# has ended: the connection or the consistent point is gone.
_LOST = ("08", "57P", "53300", "40001", "40P01", "55P03")
_NO_POINT = re.compile(
    r"could not import the requested snapshot|invalid snapshot identifier|snapshot \".*\" does not exist"
)
_UNFIT = re.compile(r'invalid input syntax for type [\w ]+: "([^"]* does not fit [^"]*)"')
_NO_SPACE = ("No space left", "failed to offload")


@contextmanager
def translating(table: str) -> Iterator[None]:
    """Turn what this engine's libraries raise meanwhile into a DatamartError that names `table`."""
    try:
        with answering(table):
            yield
    except DatamartError:
        raise
    except psycopg.Error as error:
        raise of_source(error) from error
    except (duckdb.Error, pa.ArrowException, OSError, MemoryError, ValueError) as error:
        raise of_engine(table, error) from error
    except NoSuchTableError as error:
        raise LakeError(f"{table}: there is no such table: {error}") from error


def of_source(error: psycopg.Error) -> SourceError:
    """Return the error of this package for one of PostgreSQL's."""
    text = " ".join((error.diag.message_primary or str(error)).split())
    unfit = _UNFIT.search(text)
    if unfit is not None:
        hint = "Set a wider type in `columns`, or `type: string`. Nothing of this table was written."
        return UnfitValueError(f"value {unfit[1]}", hint=hint)
    state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
    is_lost = isinstance(error, psycopg.OperationalError) and (error.sqlstate or "08").startswith(_LOST)
    if is_lost or _NO_POINT.search(text):
        message = f"the connection or the consistent point of the source was lost: {text}{state}"
        return SourceUnreachableError(message)
    return SourceError(f"the source was not read: {text}{state}", hint=error.diag.message_hint or "")


def of_engine(table: str, error: Exception) -> LakeError:
    """Return the error of this package for one of DuckDB's, of Arrow's or of the system's."""
    text = " ".join(str(error).split())
    if NO_TEXT in text:
        message = f"{table}: a rejected row has a value that only Spark writes as it did before"
        return NeedsSparkError(message)
    if isinstance(error, (duckdb.OutOfMemoryException, pa.ArrowMemoryError, MemoryError)):
        hint = (
            "Set run.memory to more, or leave wide columns out with `exclude`, or set `engine: spark`. "
            "Nothing of this table was published."
        )
        if any(words in text for words in _NO_SPACE):
            hint = f"Free space where temporary files lie (TMPDIR). {hint}"
        return NeedsSparkError(f"{table}: memory was too little for work on it: {text}", hint=hint)
    if isinstance(error, (duckdb.IOException, OSError)):
        return LakeError(f"{table}: {text}")
    # What these libraries cannot compute or write, Spark may; of a property, PyIceberg raises ValueError.
    return NeedsSparkError(f"{table}: it cannot be done in process: {text}")
