"""Digests of a mirror's slices, computed by DuckDB from the same texts as the source's and Spark's.

`sources/postgres/digests.py` and `lake/spark/digests.py` write the same texts of the same values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.core.columns import decimal_size, element_of
from iceberg_datamart.core.source.slices import SliceDigest
from iceberg_datamart.core.sql.duckdb import DUCKDB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iceberg_datamart.core.source.slices import Slices, Slicing

_SLICE, _HASH, _EACH = "_datamart_slice", "_datamart_hash", "_datamart_each"


def digests_sql(relation: str, columns: Mapping[str, str], slicing: Slicing) -> str:
    """Return the SELECT of each slice's number, rows and two sums; `columns` are digested: name to type."""
    # One call, for DuckDB bounds how deep operators may nest; none of the texts is NULL.
    texts = ", ".join(_counted_text(_text(kind, DUCKDB.quoted(name))) for name, kind in columns.items())
    row = f"concat({texts})"
    return (
        f"SELECT {_SLICE}, count(*), sum({_hash_part(_HASH, 1, 15)}), sum({_hash_part(_HASH, 16, 15)}) "
        f"FROM (SELECT {slice_sql(slicing)} AS {_SLICE}, md5({row}) AS {_HASH} FROM {relation}) "
        f"GROUP BY {_SLICE}"
    )


def digest_of(row: tuple[int, int, int, int]) -> SliceDigest:
    """Return what a row of `digests_sql` says of its slice."""
    return SliceDigest(row[1], (int(row[2]), int(row[3])))


def slice_sql(slicing: Slicing) -> str:
    """Return the expression of a row's slice."""
    name, kind = DUCKDB.quoted(slicing.column.name), slicing.column.type
    # A mirror may have NULL in its key where another tool wrote it: such rows are of slice 0, too.
    if slicing.width is not None:
        return f"coalesce({_number(kind, name)} // CAST({slicing.width} AS BIGINT), 0)"
    return f"coalesce({_hash_part(f'md5({_text(kind, name)})', 1, 7)} % CAST({slicing.count} AS BIGINT), 0)"


def in_slices(slices: Slices) -> str:
    """Return the predicate that a row lies in one of `slices`."""
    return slices.predicate(DUCKDB, slice_sql(slices.slicing))


def _hash_part(hashed: str, start: int, digits: int) -> str:
    return f"CAST('0x' || substr({hashed}, {start}, {digits}) AS BIGINT)"


def _counted_text(text: str) -> str:
    return f"coalesce(length({text}) || ':' || {text}, 'N')"


def _number(iceberg_type: str, value: str) -> str:
    """Return the number as which a value of a key column travels."""
    if iceberg_type == "date":
        return f"({value} - DATE '1970-01-01')"
    if iceberg_type in ("timestamp", "timestamptz"):
        return f"epoch_us({value})"
    return f"CAST({value} AS BIGINT)"


def _text(iceberg_type: str, value: str) -> str:
    """Return a value's text, NULL for NULL."""
    inner = element_of(iceberg_type)
    if inner is not None:
        element = _counted_text(_text(inner, _EACH))
        return f"array_to_string(list_transform({value}, lambda {_EACH}: {element}), '')"
    if iceberg_type in ("float", "double"):
        # Bits, since every language writes floating-point numbers in its own way. -0 counts as 0.
        number = f"CASE WHEN {value} = 0 THEN CAST(0 AS DOUBLE) ELSE CAST({value} AS DOUBLE) END"
        bits = f"CAST(CAST({number} AS BIT) AS BIGINT)"
        return f"CASE WHEN isnan({value}) THEN 'NaN' ELSE CAST({bits} AS VARCHAR) END"
    if iceberg_type in ("date", "timestamp", "timestamptz"):
        return f"CAST({_number(iceberg_type, value)} AS VARCHAR)"
    if iceberg_type == "binary":
        return f"lower(hex({value}))"
    if decimal_size(iceberg_type) is not None:
        return DUCKDB.text(value)
    return f"CAST({value} AS VARCHAR)"
