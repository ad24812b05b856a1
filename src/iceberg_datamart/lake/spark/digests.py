"""Digests of a mirror's slices, computed by Spark from the same texts as the source's.

`sources/postgres/digests.py` writes the same texts of the same values. The session's time zone must be UTC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.core.columns import decimal_size, element_of
from iceberg_datamart.core.source.slices import SliceDigest
from iceberg_datamart.core.sql.spark import SPARK, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import SparkSession

    from iceberg_datamart.core.source.slices import Slices, Slicing


_SLICE, _HASH, _EACH = "_datamart_slice", "_datamart_hash", "_datamart_each"
# Up to this scale no decimal is spelled with an exponent, and up to the other there is room for a digit more.
_PLAIN_SCALE, _GREATEST_SCALE = 6, 36


def slice_digests(
    session: SparkSession, relation: str, columns: Mapping[str, str], slicing: Slicing
) -> dict[int, SliceDigest]:
    """Return what each slice of a mirror holds: one scan. `columns` are digested: name to Iceberg type."""
    row = (
        "concat("
        + ", ".join(_counted_text(_text(kind, quoted(name))) for name, kind in columns.items())
        + ")"
    )
    text = (
        f"SELECT {_SLICE}, count(*), {_sum_of(1)}, {_sum_of(16)} "
        f"FROM (SELECT {slice_sql(slicing)} AS {_SLICE}, md5({row}) AS {_HASH} FROM {relation}) "
        f"GROUP BY {_SLICE}"
    )
    found = session.sql(text).collect()
    return {row[0]: SliceDigest(row[1], (int(row[2]), int(row[3]))) for row in found}


def slice_sql(slicing: Slicing) -> str:
    """Return the expression of a row's slice."""
    name, kind = quoted(slicing.column.name), slicing.column.type
    # A mirror may have NULL in its key where another tool wrote it: such rows are of slice 0, too.
    if slicing.width is not None:
        return f"coalesce({_number(kind, name)} DIV {slicing.width}L, 0L)"
    return f"coalesce({_hash_part(f'md5({_text(kind, name)})', 1, 7)} % {slicing.count}L, 0L)"


def in_slices(slices: Slices) -> str:
    """Return the predicate that a row lies in one of `slices`."""
    return slices.predicate(SPARK, slice_sql(slices.slicing))


def _sum_of(start: int) -> str:
    return f"sum(CAST({_hash_part(_HASH, start, 15)} AS DECIMAL(20, 0)))"


def _hash_part(hashed: str, start: int, digits: int) -> str:
    return f"CAST(conv(substr({hashed}, {start}, {digits}), 16, 10) AS BIGINT)"


def _counted_text(text: str) -> str:
    return f"coalesce(concat(CAST(length({text}) AS STRING), ':', {text}), 'N')"


def _number(iceberg_type: str, value: str) -> str:
    """Return the number as which a value of a key column travels."""
    if iceberg_type == "date":
        return f"CAST(unix_date({value}) AS BIGINT)"
    if iceberg_type in ("timestamp", "timestamptz"):
        return f"unix_micros(CAST({value} AS timestamp))"
    return f"CAST({value} AS BIGINT)"


def _decimal_text(value: str, scale: int) -> str:
    """Return a decimal's text without an exponent, which Spark 3.3 writes for values near 0.

    Ends with Spark 3.3: https://issues.apache.org/jira/browse/SPARK-39749
    """
    shifted = f"CAST(CAST(abs({value}) AS DECIMAL({scale + 1}, {scale})) + 1 AS STRING)"
    small = f"concat(CASE WHEN {value} < 0 THEN '-' ELSE '' END, '0', substr({shifted}, 2))"
    return f"CASE WHEN abs({value}) < 0.000001BD THEN {small} ELSE CAST({value} AS STRING) END"


def _text(iceberg_type: str, value: str) -> str:
    """Return a value's text, NULL for NULL."""
    inner = element_of(iceberg_type)
    if inner is not None:
        element = _counted_text(_text(inner, _EACH))
        return f"array_join(transform({value}, {_EACH} -> {element}), '')"
    if iceberg_type in ("float", "double"):
        # Bits, since every language writes floating-point numbers in its own way. -0 counts as 0.
        number = f"(CAST({value} AS DOUBLE) + 0.0D)"
        bits = f"java_method('java.lang.Double', 'doubleToLongBits', {number})"
        return f"CASE WHEN {value} IS NULL THEN NULL WHEN isnan({value}) THEN 'NaN' ELSE {bits} END"
    if iceberg_type in ("date", "timestamp", "timestamptz"):
        return f"CAST({_number(iceberg_type, value)} AS STRING)"
    if iceberg_type == "binary":
        return f"lower(hex({value}))"
    decimal = decimal_size(iceberg_type)
    if decimal is not None and _PLAIN_SCALE < decimal.scale <= _GREATEST_SCALE:
        return _decimal_text(value, decimal.scale)
    return f"CAST({value} AS STRING)"
