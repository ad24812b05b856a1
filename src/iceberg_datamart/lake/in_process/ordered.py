"""Rows of a stream in the order of their key, without a sort of all of them where they nearly come so.

To sort all rows of a large table takes more time and memory than anything else that is done with them. But
tables lie in the order of their keys mostly, but for pages that PostgreSQL filled a little later, and a join
keeps the order of its largest side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import compute

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class OutOfOrderError(Exception):
    """A row comes too late to be put in its place: all rows must be sorted."""


def in_order(rows: pa.RecordBatchReader, order: Sequence[str]) -> pa.RecordBatchReader:
    """Return the rows sorted by columns, of which none may come more than a batch too late.

    To read it raises OutOfOrderError where one does, or where a column's type has no order in Arrow.
    """
    return pa.RecordBatchReader.from_batches(rows.schema, _sorted_batches(rows, order))


def _sorted_batches(rows: pa.RecordBatchReader, order: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield sorted batches, always one behind: what comes next may belong before what is held."""
    held, last = rows.schema.empty_table(), rows.schema.empty_table()
    for batch in rows:
        window = _sorted(pa.concat_tables([held, pa.Table.from_batches([batch])]), order)
        ready, held = window.slice(0, held.num_rows), window.slice(held.num_rows)
        _require_in_order(last, ready, order)
        last = ready.slice(ready.num_rows - 1) if ready.num_rows else last
        yield from ready.to_batches()
    _require_in_order(last, held, order)
    yield from held.to_batches()


def _require_in_order(last: pa.Table, rows: pa.Table, order: Sequence[str]) -> None:
    """Raise OutOfOrderError where sorted rows begin before the last one that went ahead of them."""
    both = pa.concat_tables([last.select(order), rows.select(order).slice(0, 1)])
    if not _is_sorted(_places(both, order)):
        raise OutOfOrderError


def _sorted(rows: pa.Table, order: Sequence[str]) -> pa.Table:
    places = _places(rows, order)
    return rows if _is_sorted(places) else rows.take(places)


def _places(rows: pa.Table, order: Sequence[str]) -> pa.Array:
    """Return the places of the rows in their order; equal ones stay as they are, NULL is last."""
    keys = [(name, "ascending") for name in order]
    try:
        return compute.sort_indices(rows.select(order), sort_keys=keys)
    except (pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise OutOfOrderError from error


def _is_sorted(places: pa.Array) -> bool:
    rising = compute.less(places.slice(0, max(0, len(places) - 1)), places.slice(1))
    return bool(compute.all(rising, min_count=0).as_py())
