"""Rows of a PostgreSQL table as an Arrow table, by COPY: quicker than fetching them one by one."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from psycopg import sql
from pyarrow import csv

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

    Connection = psycopg.Connection[Any]

_TYPES = {
    "bool": pa.bool_(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
}
# An array comes as JSON, for CSV has none.
_ARRAY = "text[]"


def copied(connection: Connection, table: str, cursor: str, since: str | datetime | None) -> pa.Table:
    """Return the rows whose cursor value is at least `since`; all, where that is None."""
    name = sql.Identifier("public", table)
    described = connection.execute(sql.SQL("select * from {} limit 0").format(name)).description or ()
    arrays = [column.name for column in described if column.type_display == _ARRAY]
    types = {column.name: _type(column) for column in described}
    condition = sql.SQL("true")
    if since is not None:
        condition = sql.SQL("{} >= {}::timestamptz").format(sql.Identifier(cursor), sql.Literal(str(since)))
    values = [
        sql.SQL("to_jsonb({})" if column in arrays else "{}").format(sql.Identifier(column))
        for column in types
    ]
    statement = sql.SQL("copy (select {} from {} where {}) to stdout (format csv)")
    text = BytesIO()
    with connection.cursor().copy(statement.format(sql.SQL(", ").join(values), name, condition)) as rows:
        for row in rows:
            text.write(row)
    found = _parsed(text, types)
    for column in arrays:
        found = _with_lists(found, column)
    return found


def _type(column: psycopg.Column) -> pa.DataType:
    if column.type_display.startswith("numeric"):
        return pa.decimal128(column.precision, column.scale)
    return _TYPES.get(column.type_display, pa.string())


def _parsed(text: BytesIO, types: dict[str, pa.DataType]) -> pa.Table:
    if text.tell() == 0:
        return pa.schema(list(types.items())).empty_table()
    text.seek(0)
    return csv.read_csv(
        text,
        csv.ReadOptions(column_names=list(types)),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(
            column_types=types,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )


def _with_lists(rows: pa.Table, column: str) -> pa.Table:
    lists = [json.loads(text) if text is not None else None for text in rows[column].to_pylist()]
    at = rows.schema.get_field_index(column)
    return rows.set_column(at, column, pa.array(lists, pa.list_(pa.string())))
