"""Iceberg's types as Spark SQL and PyIceberg spell them, and how values leave the JDBC wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyiceberg.schema import Schema
from pyiceberg.types import IcebergType, ListType, NestedField

from iceberg_datamart.core.columns import element_of
from iceberg_datamart.core.sql import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from iceberg_datamart.core.columns import Column

_SPARK_TYPES = {"long": "bigint", "timestamptz": "timestamp", "timestamp": "timestamp_ntz"}


def spark_type(iceberg_type: str) -> str:
    """Return the Spark SQL type of an Iceberg type."""
    element = element_of(iceberg_type)
    if element is not None:
        return f"array<{spark_type(element)}>"
    return _SPARK_TYPES.get(iceberg_type, iceberg_type)


def decoded(column: Column, wire: str) -> str:
    """Return the Spark expression that turns `wire` of a `core.source.reads.JdbcRead` into the column.

    The session's time zone must be UTC: the cast to timestamp_ntz goes through it.
    """
    name, value = quoted(column.name), quoted(wire)
    if column.type == "timestamptz":
        return f"timestamp_micros({value}) AS {name}"
    if column.type == "timestamp":
        return f"CAST(timestamp_micros({value}) AS timestamp_ntz) AS {name}"
    if column.type == "date":
        return f"date_from_unix_date({value}) AS {name}"
    return f"CAST({value} AS {spark_type(column.type)}) AS {name}"


def shown(columns: Iterable[tuple[str, str]]) -> list[str]:
    """Return the expressions of columns, by name and Spark type, as messages show their values.

    Times are text: Python has none before year 1 or after 9999, and PySpark shifts them to the local zone.
    """
    return [
        f"CAST({quoted(name)} AS STRING) AS {quoted(name)}"
        if "date" in kind or "timestamp" in kind
        else quoted(name)
        for name, kind in columns
    ]


def iceberg_schema(columns: Sequence[Column], key: Iterable[str]) -> Schema:
    """Return the schema of a new table, with `key` as its identifier fields.

    There are none where one of them may be NULL, is a floating-point number or a list: Iceberg refuses those.
    """
    identifiers = set(key)
    counter = iter(range(len(columns) + 1, 3 * len(columns) + 1))
    fields = [
        NestedField(position, column.name, iceberg_type(column.type, counter), required=not column.nullable)
        for position, column in enumerate(columns, start=1)
    ]
    ids = [field.field_id for field in fields if field.name in identifiers]
    usable = all(field.required for field in fields if field.name in identifiers) and not any(
        column.type in ("float", "double") or element_of(column.type)
        for column in columns
        if column.name in identifiers
    )
    return Schema(*fields, identifier_field_ids=ids if usable else [])


def widened_place(column: Column) -> tuple[tuple[str, ...], IcebergType]:
    """Return the path and the type of what changes in a wider column: of a list, its element."""
    path, kind = [column.name], column.type
    while (element := element_of(kind)) is not None:
        path, kind = [*path, "element"], element
    return tuple(path), iceberg_type(kind, ())


def iceberg_type(text: str, element_ids: Iterable[int]) -> IcebergType:
    """Return PyIceberg's type for its own text; a list's element takes the next of `element_ids`."""
    inner = element_of(text)
    if inner is not None:
        element = iceberg_type(inner, element_ids)
        return ListType(next(iter(element_ids)), element, element_required=False)
    return NestedField(1, "x", text).field_type
