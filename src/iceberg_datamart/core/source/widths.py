"""How many rows are fetched, written and read at a time, so that memory does not depend on their width."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Bytes that one Spark task holds of what it fetches.
BUDGET = 32 * 1024 * 1024
MOST_ROWS = 10_000
# Rows above this many bytes are read apart from a large table's others, which would else be fetched as few
# at a time.
WIDE = 64 * 1024

BATCH_SIZE = "read.parquet.vectorization.batch-size"
_ROW_GROUP = "write.parquet.row-group-size-bytes"
_FIRST_CHECK = "write.parquet.row-group-check-min-record-count"
_USUAL_BATCH = 5000  # Iceberg's own


def fetch_size(widest: int) -> int:
    """Return how many rows of at most `widest` bytes are fetched at a time; 0 where no row is wide."""
    return max(1, min(MOST_ROWS, BUDGET // max(1, widest)))


def table_properties(widest: int, present: Mapping[str, str]) -> dict[str, str]:
    """Return the Iceberg properties that a table of such rows needs beside those that are `present`.

    Parquet counts the bytes of a row group only from its hundredth row on, and is read by 5,000 rows.
    """
    if widest <= WIDE:
        return {}
    return _properties(fetch_size(widest), present)


def inherited_properties(tables: Iterable[Mapping[str, str]], present: Mapping[str, str]) -> dict[str, str]:
    """Return the properties that a table needs beside those that are `present`, made of rows of `tables`."""
    batches = [int(table[BATCH_SIZE]) for table in tables if table.get(_ROW_GROUP) == str(BUDGET)]
    return _properties(min(batches), present) if batches else {}


def _properties(rows: int, present: Mapping[str, str]) -> dict[str, str]:
    """Return the properties for `rows` at a time; none where the table has them for as few."""
    if int(present.get(BATCH_SIZE, _USUAL_BATCH)) <= rows:
        return {}
    return {BATCH_SIZE: str(rows), _ROW_GROUP: str(BUDGET), _FIRST_CHECK: str(rows)}
