"""Iceberg's types as Spark SQL spells them, and how values leave the JDBC wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.core.columns import decimal_size, element_of, list_of
from iceberg_datamart.core.sql.spark import quoted

if TYPE_CHECKING:
    from iceberg_datamart.core.columns import Column

_SPARK_TYPES = {"long": "bigint", "timestamptz": "timestamp", "timestamp": "timestamp_ntz"}
_ICEBERG_TYPES = {
    "bigint": "long",
    "smallint": "int",
    "tinyint": "int",
    "timestamp": "timestamptz",
    "timestamp_ntz": "timestamp",
}


def spark_type(iceberg_type: str) -> str:
    """Return the Spark SQL type of an Iceberg type."""
    element = element_of(iceberg_type)
    if element is not None:
        return f"array<{spark_type(element)}>"
    return _SPARK_TYPES.get(iceberg_type, iceberg_type)


def decoded(column: Column, wire: str) -> str:
    """Return the Spark expression that turns `wire` of a `core.source.reads.QueryRead` into the column.

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


def iceberg_type(spark_type: str) -> str:
    """Return the Iceberg type that holds what Spark calls `spark_type`; that name itself where none does."""
    element, size = element_of(spark_type), decimal_size(spark_type)
    if element is not None:
        return list_of(iceberg_type(element))
    return str(size) if size is not None else _ICEBERG_TYPES.get(spark_type, spark_type)
