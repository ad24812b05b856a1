"""What PostgreSQL tells of a table's slices: their digests, computed by the server, and which rows they hold.

A row's hash is the MD5 of its columns' texts, each behind its length; `lake/spark/digests.py` writes the same
texts of the same values, and tests/e2e/test_reconcile.py holds both sides together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from iceberg_datamart.core.columns import element_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iceberg_datamart.core.source.slices import Slices, Slicing
    from iceberg_datamart.sources.postgres.types import Wire

_NULL = sql.SQL("'N'")


def digests_query(  # noqa: PLR0913, PLR0917  (one clause of the statement each)
    relation: sql.Composable,
    wires: Sequence[Wire],
    slicing: Slicing,
    key: Wire,
    where: sql.Composable,
    width: sql.Composable,
) -> sql.Composed:
    """Return the query of (slice, rows, two sums, greatest width) over the rows for which `where` holds."""
    row = sql.SQL(" || ").join(_counted_text(_text(wire.type, wire.expression)) for wire in wires)
    return sql.SQL(
        "select _datamart_slice, count(*), sum({first}), sum({second}), max(_datamart_width) from "
        "(select {width} as _datamart_width, {slice} as _datamart_slice, "
        "md5(convert_to({row}, 'UTF8')) as _datamart_hash from {relation} where {where}) "
        "as _datamart_q group by _datamart_slice"
    ).format(
        first=_number_of(1),
        second=_number_of(16),
        slice=slice_of(slicing, key),
        width=width,
        row=row,
        relation=relation,
        where=where,
    )


def slice_of(slicing: Slicing, key: Wire) -> sql.Composable:
    """Return the expression of a row's slice."""
    if slicing.width is not None:
        return sql.SQL("({}::int8 / {}::int8)").format(key.expression, sql.Literal(slicing.width))
    text = _text(key.type, key.expression)
    hashed = sql.SQL("('x' || substr(md5(convert_to({}, 'UTF8')), 1, 7))::bit(28)::int8").format(text)
    return sql.SQL("({} % {})").format(hashed, sql.Literal(slicing.count))


def in_slices(slices: Slices, key: Wire) -> sql.Composable:
    """Return the predicate that a row lies in one of `slices`; an index on an integer key serves."""
    if slices.named is None:
        return sql.SQL("true")
    named = sql.SQL("{} = any({}::int8[])").format(
        slice_of(slices.slicing, key), sql.Literal(list(slices.named))
    )
    if not slices.numbers or slices.slicing.column.type not in ("int", "long"):
        return named
    ranges = sql.SQL(" or ").join(
        sql.SQL("{} between {} and {}").format(key.expression, sql.Literal(low), sql.Literal(high))
        for low, high in slices.ranges()
    )
    return sql.SQL("({}) and {}").format(ranges, named)


def _counted_text(text: sql.Composable) -> sql.Composed:
    return sql.SQL("coalesce(length({}) || ':' || {}, {})").format(text, text, _NULL)


def _number_of(start: int) -> sql.Composed:
    """Return 60 bits of the hash as a number, from hexadecimal digit `start` on."""
    return sql.SQL("('x' || substr(_datamart_hash, {}, 15))::bit(60)::int8").format(sql.Literal(start))


def _text(iceberg_type: str, value: sql.Composable) -> sql.Composable:
    """Return a value's text, NULL for NULL."""
    inner = element_of(iceberg_type)
    if inner is not None:
        element = _counted_text(_text(inner, sql.SQL("_datamart_e")))
        joined = (
            "(select coalesce(string_agg({}, '' order by _datamart_o), '') "
            "from unnest({}) with ordinality as _datamart_u(_datamart_e, _datamart_o))"
        )
        return sql.SQL("(case when {} is not null then " + joined + " end)").format(value, element, value)
    if iceberg_type in ("float", "double"):
        # Bits, since every language writes floating-point numbers in its own way. -0 counts as 0.
        bits = "('x' || encode(float8send({} + 0.0::float8), 'hex'))::bit(64)::int8::text"
        template = "(case when {}::float8 = 'NaN' then 'NaN' else " + bits + " end)"
        return sql.SQL(template).format(value, sql.SQL("{}::float8").format(value))
    if iceberg_type == "binary":
        return sql.SQL("encode({}, 'hex')").format(value)
    return sql.SQL("{}::text").format(value)
