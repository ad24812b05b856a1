"""How wide PostgreSQL's rows are as they travel, told without fetching their values where that can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from iceberg_datamart.core.columns import element_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iceberg_datamart.sources.postgres.types import PostgresColumn, Wire

WIDTH = "_datamart_width"
# Of these the server knows the length without reading what it stores apart (TOAST).
_PLAIN = {"text", "varchar", "bpchar", "bytea"}
# What is stored in so few bytes is no wide text: the server compresses to a hundredth at best.
_SHORT = 200
_OVERHEAD = 16  # bytes of a column in PostgreSQL's protocol and of a short value


def row_width(columns: Sequence[PostgresColumn], wires: Sequence[Wire]) -> sql.Composable:
    """Return the expression of a row's bytes as it travels; never NULL."""
    wide = [
        _width(column, wire)
        for column, wire in zip(columns, wires, strict=True)
        if _has_any_length(wire.type)
    ]
    return sql.SQL(" + ").join([sql.Literal(_OVERHEAD * len(columns)), *wide])


def _has_any_length(iceberg_type: str) -> bool:
    return iceberg_type in ("string", "binary") or element_of(iceberg_type) is not None


def _width(column: PostgresColumn, wire: Wire) -> sql.Composable:
    name = sql.Identifier(column.name)
    if column.type_name in _PLAIN:
        return sql.SQL("coalesce(octet_length({})::int8, 0)").format(name)
    template = (
        "coalesce(case when pg_column_size({c}) > {short} then octet_length(({w})::text)::int8 end, {short})"
    )
    return sql.SQL(template).format(c=name, w=wire.expression, short=sql.Literal(_SHORT))
