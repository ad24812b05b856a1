"""A window read from PostgreSQL by COPY, at the source session's snapshot, into a table of DuckDB.

https://www.postgresql.org/docs/current/sql-copy.html
"""

from __future__ import annotations

from codecs import BOM_UTF8
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
import pyarrow as pa  # type: ignore[import-untyped]
from psycopg.errors import error_from_result
from psycopg.generators import fetch_many
from psycopg.pq import ExecStatus
from psycopg.waiting import Ready, Wait
from pyarrow import compute, csv

from iceberg_datamart.core.source.reads import as_held, wire_name
from iceberg_datamart.core.sql.duckdb import DUCKDB
from iceberg_datamart.errors import NeedsSparkError
from iceberg_datamart.lake.in_process.ahead import ahead
from iceberg_datamart.lake.in_process.scans import require_distinct_names
from iceberg_datamart.lake.in_process.types import duckdb_type, element_type, instant_type, travelling_type
from iceberg_datamart.underway.stopping import CANCEL_SECONDS, remove_at_stop

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from psycopg.pq.abc import PGconn

    from iceberg_datamart.core.source.reads import QueryRead, SourceTable
    from iceberg_datamart.lake.in_process.session import Session

quoted = DUCKDB.quoted
# Bytes of PostgreSQL's text that are parsed at a time; a row that has more is parsed alone.
_BATCH_BYTES = 8 * 1024 * 1024
# The one number of microseconds since 1970 that DuckDB takes for infinity.
_INFINITY = 2**63 - 1
_ROWS = "_datamart_rows"


def read_into_table(
    session: Session, read: QueryRead, source: SourceTable, count: Callable[[int], None]
) -> str:
    """Return the name of a table that holds the rows of `read`, each column as the mirror holds it.

    `count` is told of rows as they come.
    """
    require_distinct_names(column.name for column in read.columns)
    columns = _travelling(read, source)
    marks = [mark for mark in (read.deleted, read.pending) if mark is not None]
    values = [column.decoded for column in columns] + [quoted(mark) for mark in marks]
    kinds = [f"{quoted(column.name)} {duckdb_type(column.held)}" for column in columns]
    kinds += [f"{quoted(mark)} BOOLEAN" for mark in marks]
    table, cursor = session.new_name(), session.cursor
    cursor.execute(f"CREATE TABLE {table} ({', '.join(kinds)})")
    session.keep(table)
    schema = _schema(columns, marks)
    with _fed(cursor, schema, _counted(_batches(read, columns, marks), count)):
        # One statement: each of several would add its rows twice, to its own transaction and to the table.
        cursor.execute(f"INSERT INTO {table} SELECT {', '.join(values)} FROM {_ROWS}")
    return table


@contextmanager
def _fed(
    cursor: duckdb.DuckDBPyConnection, schema: pa.Schema, batches: Generator[pa.RecordBatch]
) -> Iterator[None]:
    """Let a cursor read batches once, as `_ROWS`; what they raise comes as it is, not as DuckDB tells it."""
    raised: list[Exception] = []

    def told() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except Exception as error:
            raised.append(error)
            raise

    cursor.register(_ROWS, pa.RecordBatchReader.from_batches(schema, told()))
    try:
        with closing(batches):
            yield
    except duckdb.Error:
        if raised:
            raise raised[0] from None
        raise
    finally:
        cursor.unregister(_ROWS)


@dataclass(frozen=True)
class _Travelling:
    """A column on its way: the type that the source sends it as, and the one that the mirror holds it in."""

    name: str
    wire: str
    sent: str
    held: str

    @property
    def copied(self) -> str:
        """Return what PostgreSQL sends: lists of text as JSON, as its own text of them has many forms."""
        if element_type(self.sent) == "string":
            return f"pg_catalog.to_json({self.wire})::pg_catalog.text AS {self.wire}"
        return self.wire

    @property
    def decoded(self) -> str:
        """Return the DuckDB expression of the value as it is held."""
        element, value = element_type(self.sent), self.wire
        if element == "string":
            value = f"from_json({self.wire}, '[\"VARCHAR\"]')"
        elif element is not None:
            # {1,NULL}, and [0:1]={1,NULL} where the first subscript is not 1.
            inner = f"regexp_extract({self.wire}, '[{{](.*)[}}]$', 1)"
            each = f"CAST(nullif(_datamart_each, 'NULL') AS {duckdb_type(element)})"
            value = (
                f"CASE WHEN {self.wire} IS NULL THEN NULL WHEN {inner} = '' THEN [] "
                f"ELSE list_transform(string_split({inner}, ','), lambda _datamart_each: {each}) END"
            )
        elif self.sent == "binary":
            value = f"unhex(substr({self.wire}, 3))"  # behind \x
        return f"CAST({value} AS {duckdb_type(self.held)})"


def _travelling(read: QueryRead, source: SourceTable) -> list[_Travelling]:
    held = as_held(read, source).columns
    return [
        _Travelling(column.name, wire_name(position), column.type, as_column.type)
        for position, (column, as_column) in enumerate(zip(read.columns, held, strict=True))
    ]


def _batches(
    read: QueryRead, columns: Sequence[_Travelling], marks: Sequence[str]
) -> Generator[pa.RecordBatch]:
    """Yield the rows of `read`, times as such, all else as PostgreSQL sends it."""
    sent = {column.wire: travelling_type(column.sent) for column in columns}
    sent |= dict.fromkeys(marks, pa.bool_())
    copied = ", ".join([*(column.copied for column in columns), *map(quoted, marks)])
    chunks = _chunks(read, f"COPY (SELECT {copied} FROM {read.query}) TO STDOUT (FORMAT csv)")
    with closing(ahead(chunks)) as texts:
        for text in texts:
            yield from _timed(_parsed(text, sent), columns).to_batches()


def _counted(batches: Generator[pa.RecordBatch], count: Callable[[int], None]) -> Generator[pa.RecordBatch]:
    with closing(batches):
        for batch in batches:
            yield batch
            count(batch.num_rows)


def _schema(columns: Sequence[_Travelling], marks: Sequence[str]) -> pa.Schema:
    """Return that of `_batches`."""
    kinds = [(c.wire, instant_type(c.held) or travelling_type(c.sent)) for c in columns]
    return pa.schema([*kinds, *((mark, pa.bool_()) for mark in marks)])


def _chunks(read: QueryRead, statement: str) -> Generator[bytearray]:
    """Yield what COPY sends, in pieces of whole rows: each of the server's messages is one.

    https://www.postgresql.org/docs/current/protocol-message-formats.html (CopyData)
    """
    parameters: dict[str, Any] = dict(read.parameters)
    with (
        psycopg.connect("", prepare_threshold=None, **parameters) as connection,
        _cancelled_at_stop(connection),
    ):
        connection.execute(read.session.encode())
        # As in pg_dump: else a scan begins where another one is, or broke off, and rows come out of order.
        connection.execute("SET LOCAL synchronize_seqscans = off")
        with connection.cursor().copy(statement.encode()):
            is_over = False
            while not is_over:
                text = connection.wait(_received(connection.pgconn))
                is_over = len(text) < len(BOM_UTF8) + _BATCH_BYTES
                if len(text) > len(BOM_UTF8):
                    yield text
        connection.rollback()


@contextmanager
def _cancelled_at_stop(connection: psycopg.Connection) -> Iterator[None]:
    """Have the server end the query at a stop: it would notice only with the first row that nobody takes."""
    taken_back = remove_at_stop(partial(connection.cancel_safe, timeout=CANCEL_SECONDS))
    try:
        yield
    finally:
        taken_back()


def _received(connection: PGconn) -> Generator[Wait, Ready | int, bytearray]:
    """Return the next rows of a COPY, less than a batch at its end alone; for `Connection.wait`.

    As `psycopg.Copy.read` does (3.3), but many rows at a time, which takes a third of the time.
    """
    # Arrow takes one such mark from the beginning, which would else be one of the first value's own.
    text = bytearray(BOM_UTF8)
    while len(text) < len(BOM_UTF8) + _BATCH_BYTES:
        size, row = connection.get_copy_data(1)
        if size < 0:
            (result,) = yield from fetch_many(connection)
            if result.status != ExecStatus.COMMAND_OK:
                raise error_from_result(result)
            break
        if size > 0:
            text += row
        else:
            while not (yield Wait.R):
                continue
            connection.consume_input()
    return text


def _parsed(text: bytearray, kinds: dict[str, pa.DataType]) -> pa.Table:
    """Return rows of CSV as PostgreSQL writes it: NULL is nothing, an empty text is quoted."""
    return csv.read_csv(
        pa.BufferReader(text),
        read_options=csv.ReadOptions(column_names=list(kinds), use_threads=False, block_size=len(text) + 1),
        parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=csv.ConvertOptions(
            column_types=kinds,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )


def _timed(batch: pa.Table, columns: Sequence[_Travelling]) -> pa.Table:
    """Return the batch with times in place of numbers since 1970. Raises: NeedsSparkError."""
    for position, column in enumerate(columns):
        kind = instant_type(column.held)
        if kind is None:
            continue
        numbers = batch.column(position)
        if numbers.type == pa.int64() and compute.max(numbers).as_py() == _INFINITY:
            message = f"column '{column.name}' holds the last instant that 64 bits count, infinity in process"
            raise NeedsSparkError(message)
        batch = batch.set_column(position, column.wire, numbers.cast(kind))
    return batch
