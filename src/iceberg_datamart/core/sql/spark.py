"""Spark's SQL: https://spark.apache.org/docs/latest/sql-ref.html."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from iceberg_datamart.core.sql.dialect import semi_joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_NUMBERS = {"timestamptz": "unix_micros({})", "date": "unix_date({})"}
_EACH = "_datamart_each"


class SparkDialect:
    """See `core.sql.dialect.Dialect` for what each method does."""

    joins_in_steps = False

    def quoted(self, *names: str) -> str:  # noqa: D102  (as in the protocol, and so below)
        return ".".join("`" + name.replace("`", "``") + "`" for name in names)

    def literal(  # noqa: D102, PLR0911  (one a family)
        self, value: Any, iceberg_type: str = "string"
    ) -> str:
        if iceberg_type == "timestamptz":
            return f"timestamp_micros({int(value)}L)"
        if iceberg_type == "date":
            return f"date_from_unix_date({int(value)})"
        if iceberg_type == "timestamp":
            return f"CAST(timestamp_micros({int(value)}L) AS timestamp_ntz)"
        if iceberg_type == "long":
            return f"{int(value)}L"
        if isinstance(value, float):
            return f"CAST('{value!r}' AS double)"
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, (int, Decimal)):
            return f"{value:f}BD" if isinstance(value, Decimal) else str(value)
        return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"

    def number(self, value: str, iceberg_type: str) -> str:  # noqa: D102
        return _NUMBERS.get(iceberg_type, "{}").format(value)

    def same(self, left: str, right: str) -> str:  # noqa: D102
        return f"{left} <=> {right}"

    def expression(self, text: str, columns: Mapping[str, str]) -> str:  # noqa: ARG002, D102
        return text

    def text(self, value: str) -> str:  # noqa: D102
        return f"CAST({value} AS STRING)"

    def array(self, values: Iterable[str]) -> str:  # noqa: D102
        return f"array({', '.join(values)})"

    def known(self, array: str) -> str:  # noqa: D102
        return f"filter({array}, {_EACH} -> {_EACH} IS NOT NULL)"

    def unnested(self, array: str) -> str:  # noqa: D102
        return f"explode({array})"

    def among(  # noqa: D102
        self, relation: str, keys: str, same: str, *, others: bool = False
    ) -> str:
        return semi_joined(relation, keys, same, others=others)

    def row(self, columns: Sequence[str]) -> str:  # noqa: D102
        return f"struct({', '.join(map(self.quoted, columns))})"

    def json(self, columns: Sequence[str]) -> str:  # noqa: D102
        return f"to_json({self.row(columns)}, map('ignoreNullFields', 'false'))"


SPARK = SparkDialect()
# For modules that write nothing but Spark's SQL.
quoted, literal = SPARK.quoted, SPARK.literal
