"""DuckDB's SQL, with the values and texts that Spark's has: https://duckdb.org/docs/stable/sql/introduction.

A connection that runs it must have `MACROS`, the time zone UTC, and NULL before all values where an order
does not say.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from iceberg_datamart.core.sql.dialect import semi_joined
from iceberg_datamart.core.sql.whitelist import translated
from iceberg_datamart.errors import NeedsSparkError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MOST_DIGITS = 38
_ESCAPE = re.compile(r"\\\\|\\u[0-9a-f]{4}")
_NUMBERS = {"timestamptz": "epoch_us({})", "date": "CAST({} - DATE '1970-01-01' AS INTEGER)"}
# The instants that 64 bits hold, but for the last, which DuckDB takes for infinity.
_LAST_INSTANT = 2**63 - 2
_EACH = "_datamart_each"
# What an error says that one of `MACROS` raises for a value whose text only Spark knows.
NO_TEXT = "_datamart_needs_spark"
MACROS = (
    "datamart_year(t) AS CAST(CAST(split_part(t, '-', 1) AS INTEGER) - 1 AS VARCHAR)",
    # A date's or time's text as Java has it: years above 9999 with a sign, the year 1 BC as 0000.
    """datamart_dated(t) AS CASE WHEN contains(t, ' (BC)')
    THEN CASE WHEN t LIKE '0001-%' THEN '' ELSE '-' END
    || lpad(datamart_year(t), CAST(greatest(4, length(datamart_year(t))) AS INTEGER), '0')
    || replace(substr(t, strpos(t, '-')), ' (BC)', '')
    WHEN strpos(t, '-') > 5 THEN '+' || t ELSE t END""",
    # DuckDB leaves the 0 before the point out where it is no digit of the type.
    r"datamart_decimal(t) AS regexp_replace(t, '^(-?)\.', '\10.')",
    # To text, an instant goes as a number: in far years DuckDB's own text of it is a millisecond off.
    "datamart_micros(x TIMESTAMP WITH TIME ZONE) AS epoch_us(x), (x) AS CAST(NULL AS BIGINT)",
    """datamart_text(x) AS CASE WHEN typeof(x) = 'TIMESTAMP WITH TIME ZONE'
    THEN datamart_dated(CAST(make_timestamp(datamart_micros(x)) AS VARCHAR))
    WHEN typeof(x) IN ('DATE', 'TIMESTAMP') THEN datamart_dated(CAST(x AS VARCHAR))
    WHEN typeof(x) LIKE 'DECIMAL(%)' THEN datamart_decimal(CAST(x AS VARCHAR))
    ELSE CAST(x AS VARCHAR) END""",
    # Java's text of a decimal `t` with the digits `u`: below 0.000001 it has the exponent `e`.
    """datamart_scientific(t, u, e) AS CASE WHEN e >= -6 THEN t ELSE
    CASE WHEN t LIKE '-%' THEN '-' ELSE '' END
    || u[1] || CASE WHEN length(u) > 1 THEN '.' || u[2:] ELSE '' END || 'E' || e END""",
    """datamart_digits(t) AS CASE WHEN ltrim(t, '-0.') = '' THEN '0'
    ELSE ltrim(replace(t, '.', ''), '-0') END""",
    """datamart_java_decimal(t) AS datamart_scientific(t, datamart_digits(t),
    length(datamart_digits(t)) - 1 - length(split_part(t, '.', 2)))""",
    # Of floating-point numbers, Java's text is known where it is the same in all versions.
    rf"""datamart_java_double(t) AS CASE WHEN t = 'nan' THEN '"NaN"' WHEN t = 'inf' THEN '"Infinity"'
    WHEN t = '-inf' THEN '"-Infinity"' WHEN regexp_matches(t, '^-?[0-9]{{1,6}}\.0$') THEN t
    ELSE error('{NO_TEXT}') END""",
    # A time's text cut to milliseconds.
    """datamart_java_time(t) AS
    replace(split_part(t, '.', 1), ' ', 'T') || '.' || rpad(split_part(t, '.', 2)[:3], 3, '0')""",
    rf"""datamart_json(x) AS CASE WHEN x IS NULL THEN 'null'
    WHEN typeof(x) IN ('TINYINT', 'SMALLINT', 'INTEGER', 'BIGINT', 'BOOLEAN') THEN CAST(x AS VARCHAR)
    WHEN typeof(x) IN ('VARCHAR', 'VARCHAR[]', 'INTEGER[]', 'BIGINT[]', 'BOOLEAN[]')
    THEN CAST(to_json(x) AS VARCHAR)
    WHEN typeof(x) LIKE 'DECIMAL(%)' THEN datamart_java_decimal(datamart_text(x))
    WHEN typeof(x) IN ('DOUBLE', 'FLOAT') THEN datamart_java_double(CAST(x AS VARCHAR))
    WHEN typeof(x) = 'BLOB' THEN '"' || base64(CAST(CAST(x AS VARCHAR) AS BLOB)) || '"'
    WHEN typeof(x) = 'DATE' THEN '"' || datamart_text(x) || '"'
    WHEN typeof(x) = 'TIMESTAMP' THEN '"' || datamart_java_time(datamart_text(x)) || '"'
    WHEN typeof(x) = 'TIMESTAMP WITH TIME ZONE' THEN '"' || datamart_java_time(datamart_text(x)) || 'Z"'
    ELSE error('{NO_TEXT}') END""",
)


class DuckDbDialect:
    """See `core.sql.dialect.Dialect` for what each method does."""

    # Of columns in files it does not know how many values they have (1.5), and may hash millions of rows.
    joins_in_steps = True

    def quoted(self, *names: str) -> str:  # noqa: D102  (as in the protocol, and so below)
        return ".".join('"' + name.replace('"', '""') + '"' for name in names)

    def literal(  # noqa: D102, PLR0911  (one a family)
        self, value: Any, iceberg_type: str = "string"
    ) -> str:
        if iceberg_type == "timestamptz":
            return f"make_timestamptz({_instant(value)})"
        if iceberg_type == "timestamp":
            return f"make_timestamp({_instant(value)})"
        if iceberg_type == "date":
            return f"(DATE '1970-01-01' + CAST({int(value)} AS INTEGER))"
        if iceberg_type == "long":
            return f"CAST({int(value)} AS BIGINT)"
        if isinstance(value, float):
            return f"CAST('{value!r}' AS DOUBLE)"
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, Decimal):
            return _decimal(value)
        return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"

    def number(self, value: str, iceberg_type: str) -> str:  # noqa: D102
        return _NUMBERS.get(iceberg_type, "{}").format(value)

    def same(self, left: str, right: str) -> str:  # noqa: D102
        return f"{left} IS NOT DISTINCT FROM {right}"

    def text(self, value: str) -> str:  # noqa: D102
        return f"datamart_text({value})"

    def array(self, values: Iterable[str]) -> str:  # noqa: D102
        return f"[{', '.join(values)}]"

    def known(self, array: str) -> str:  # noqa: D102
        return f"list_filter({array}, lambda {_EACH}: {_EACH} IS NOT NULL)"

    def unnested(self, array: str) -> str:  # noqa: D102
        return f"unnest({array})"

    def among(  # noqa: D102
        self, relation: str, keys: str, same: str, *, others: bool = False
    ) -> str:
        return semi_joined(relation, keys, same, others=others)

    def row(self, columns: Sequence[str]) -> str:  # noqa: D102
        return f"row({', '.join(map(self.quoted, columns))})"

    def json(self, columns: Sequence[str]) -> str:  # noqa: D102
        parts = (
            f"{self.literal(_json_text(name) + ':')} || datamart_json({self.quoted(name)})"
            for name in columns
        )
        listed = ", ',', ".join(parts)
        return f"concat('{{', {listed}, '}}')"

    def expression(self, text: str, columns: Mapping[str, str]) -> str:  # noqa: D102
        return translated(text, columns).sql


def _instant(value: Any) -> int:
    if abs(int(value)) > _LAST_INSTANT:
        raise NeedsSparkError(f"{value} microseconds since 1970 are beyond the instants of DuckDB")
    return int(value)


def _decimal(value: Decimal) -> str:
    text = f"{value:f}"
    whole, _, fraction = text.lstrip("-").partition(".")
    digits = max(1, len(whole.lstrip("0")) + len(fraction))
    if digits > _MOST_DIGITS:
        raise NeedsSparkError(f"{text} has more digits than a decimal of DuckDB")
    return f"CAST('{text}' AS DECIMAL({digits}, {len(fraction)}))"


def _json_text(text: str) -> str:
    """Return a text as Java's Jackson writes it in JSON: as Python does, but escapes in capitals."""
    written = json.dumps(text, ensure_ascii=False)
    return _ESCAPE.sub(lambda found: found[0][:2] + found[0][2:].upper(), written)


DUCKDB = DuckDbDialect()
