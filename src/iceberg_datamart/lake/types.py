"""Iceberg's types as PyIceberg has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyiceberg.schema import Schema
from pyiceberg.types import IcebergType, ListType, NestedField

from iceberg_datamart.core.columns import element_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from iceberg_datamart.core.columns import Column


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
