"""Iceberg's types as DuckDB has them, and the types that columns have on their way here."""

from __future__ import annotations

from itertools import count

import pyarrow as pa  # type: ignore[import-untyped]

from iceberg_datamart.core.columns import decimal_size, element_of, list_of
from iceberg_datamart.errors import NeedsSparkError
from iceberg_datamart.lake.in_process.scans import duckdb_type as duckdb_type_of
from iceberg_datamart.lake.types import iceberg_type as parsed

_LIST = "[]"
_ICEBERG_TYPES = {
    "TINYINT": "int",
    "SMALLINT": "int",
    "INTEGER": "int",
    "BIGINT": "long",
    "VARCHAR": "string",
    "BLOB": "binary",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
}
_ARROW_TYPES = {
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    # As numbers since 1970.
    "date": pa.int32(),
    "timestamptz": pa.int64(),
    "timestamp": pa.int64(),
}
_INSTANTS = {
    "date": pa.date32(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "timestamp": pa.timestamp("us"),
}


def duckdb_type(iceberg_type: str) -> str:
    """Return DuckDB's type for an Iceberg type. Raises: NeedsSparkError where it has none."""
    found = duckdb_type_of(parsed(iceberg_type, count(1)))
    if found is None:
        raise NeedsSparkError(f"a column of type {iceberg_type} is not read in process")
    return found


def iceberg_type(duckdb_type: str) -> str:
    """Return the Iceberg type that holds what DuckDB calls so; that name itself where none does."""
    if duckdb_type.endswith(_LIST):
        return list_of(iceberg_type(duckdb_type.removesuffix(_LIST)))
    size = decimal_size(duckdb_type.lower().replace(",", ", "))
    return str(size) if size is not None else _ICEBERG_TYPES.get(duckdb_type, duckdb_type.lower())


def travelling_type(iceberg_type: str) -> pa.DataType:
    """Return Arrow's type of a column as PostgreSQL sends it; text for what has no text of its own."""
    size = decimal_size(iceberg_type)
    return pa.decimal128(*size) if size is not None else _ARROW_TYPES.get(iceberg_type, pa.string())


def instant_type(iceberg_type: str) -> pa.DataType | None:
    """Return Arrow's type of a time that travels as a number since 1970; None for other types."""
    return _INSTANTS.get(iceberg_type)


def element_type(iceberg_type: str) -> str | None:
    """Return the type of a list's elements; None for others. Raises: NeedsSparkError for nested lists."""
    element = element_of(iceberg_type)
    if element is not None and element_of(element) is not None:
        raise NeedsSparkError(f"a column of type {iceberg_type} is not read in process")
    return element
