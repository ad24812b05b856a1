"""DuckDB for one run: one database in memory, a cursor for each thread, and a private folder for what spills.

https://duckdb.org/docs/stable/guides/performance/how_to_tune_workloads
"""

from __future__ import annotations

import os
from contextlib import closing
from itertools import count
from threading import Lock, local
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa  # type: ignore[import-untyped]

from iceberg_datamart.core.sql.duckdb import DUCKDB, MACROS
from iceberg_datamart.embedded.scratch import make_scratch
from iceberg_datamart.underway.stopping import interrupt_at_stop

if TYPE_CHECKING:
    from collections.abc import Iterator

# Rows that are written at a time, and their bytes.
BATCH_ROWS = 50_000
BATCH_BYTES = 32 * 1024 * 1024
# The fewest that DuckDB computes at a time.
CHUNK_ROWS = 2048
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    # What the SQL of this package relies on, and nothing from the network.
    "default_null_order": "nulls_first_on_asc_last_on_desc",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    # Rows that lie in the order of their key need not be sorted when they are written.
    "preserve_insertion_order": "true",
    # Texts of more than 2 GB in a batch: of wide rows.
    "arrow_large_buffer_size": "true",
}


class Session:
    """One database in memory, whose relations every thread sees.

    A cursor is a connection of its own: what one thread computes does not wait for another's.
    """

    def __init__(self, memory: str | None = None) -> None:
        """Start DuckDB; `memory` is the most that it may hold before it spills: see `RunConfig.memory`."""
        self.memory = _machine_bytes() // 4 if memory is None else _bytes(memory)
        self._scratch = make_scratch()
        settings = {
            **_SETTINGS,
            "temp_directory": str(self._scratch.path),
            "memory_limit": f"{self.memory}B",
        }
        self._database = duckdb.connect(":memory:", config=settings)
        # No setting of a connection alone: cursors have those of the database.
        self._database.execute("SET GLOBAL TimeZone = 'UTC'")
        for macro in MACROS:
            self._database.execute(f"CREATE MACRO {macro}")
        self._threads, self._numbers, self._lock = local(), count(1), Lock()
        self._held: set[str] = set()
        self._is_open = True
        # Kept, for nobody else can break off what is streamed.
        self._cursors: list[duckdb.DuckDBPyConnection] = []
        self._not_interrupted = interrupt_at_stop(self._interrupt)

    @property
    def database(self) -> duckdb.DuckDBPyConnection:
        """Return the connection that all cursors are of."""
        return self._database

    @property
    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return the cursor of this thread."""
        found: duckdb.DuckDBPyConnection | None = getattr(self._threads, "cursor", None)
        if found is None:
            found = self._threads.cursor = self._new_cursor()
        return found

    def fetched(self, select: str) -> list[tuple[Any, ...]]:
        """Return a SELECT's rows."""
        return self.cursor.execute(select).fetchall()

    def described(self, select: str) -> list[tuple[str, str]]:
        """Return the names and DuckDB's types of a SELECT's columns."""
        return [(row[0], row[1]) for row in self.fetched(f"DESCRIBE {select}")]

    def streamed(self, select: str) -> pa.RecordBatchReader:
        """Return a SELECT's rows as they are computed, on a cursor of their own.

        A batch has `BATCH_ROWS`, or fewer where these are more than `BATCH_BYTES`.
        """
        chunks = self._new_cursor().execute(select).to_arrow_reader(CHUNK_ROWS)
        return pa.RecordBatchReader.from_batches(chunks.schema, _gathered(chunks))

    def _new_cursor(self) -> duckdb.DuckDBPyConnection:
        cursor = self._database.cursor()
        self._cursors.append(cursor)
        return cursor

    def _interrupt(self) -> None:
        """Break off what any thread computes, as far as it is within DuckDB."""
        for cursor in list(self._cursors):
            cursor.interrupt()

    def new_name(self) -> str:
        """Return a name that no relation of this session has."""
        with self._lock:
            return DUCKDB.quoted(f"datamart_{next(self._numbers)}")

    def kept(self, select: str) -> str:
        """Return the name of a table that keeps a SELECT's rows, until it is given up."""
        name = self.new_name()
        self.cursor.execute(f"CREATE TABLE {name} AS {select}")
        return self.keep(name)

    def keep(self, table: str) -> str:
        """Take a table of this session among those to be given up; return its name."""
        with self._lock:
            self._held.add(table)
        return table

    def give_up(self, table: str) -> None:
        """Free a kept table's memory; a second time changes nothing."""
        with self._lock:
            is_kept = table in self._held
            self._held.discard(table)
        if is_kept:
            self.cursor.execute(f"DROP TABLE IF EXISTS {table}")

    def close(self) -> None:
        """Give everything up, with the folder; a second time changes nothing."""
        with self._lock:
            was_open, self._is_open = self._is_open, False
        if was_open:
            self._not_interrupted()
            self._database.close()
            self._scratch.remove()


def _gathered(chunks: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    held: list[pa.RecordBatch] = []
    rows = size = 0
    with closing(chunks):
        for chunk in chunks:
            held.append(chunk)
            rows, size = rows + chunk.num_rows, size + chunk.nbytes
            if rows >= BATCH_ROWS or size >= BATCH_BYTES:
                yield pa.concat_batches(held)
                held, rows, size = [], 0, 0
    if held:
        yield pa.concat_batches(held)


def _bytes(text: str) -> int:
    """Return how many bytes a setting such as `2GB` means."""
    return int(text[:-2]) * {"MB": 10**6, "GB": 10**9}[text[-2:]]


def _machine_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
