"""The SQL that people write, which is Spark's, in DuckDB's: only what both compute alike, to the last bit.

What passes depends on its row alone and says the same each time (R21): there is nothing else in the grammar.
`tests/lake/test_whitelist_exactly.py` compares the two engines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from iceberg_datamart.core.columns import decimal_size
from iceberg_datamart.core.sql.spark_grammar import parsed, refused
from iceberg_datamart.core.sql.widening import (
    NULL,
    common_type,
    literal_size,
    size_of,
    sum_type,
    wider_decimal,
)
from iceberg_datamart.errors import NeedsSparkError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from iceberg_datamart.core.columns import DecimalSize
    from iceberg_datamart.core.sql.spark_grammar import Node

_BOOLEAN, _TEXT = "boolean", "string"
_DUCKDB = {
    _BOOLEAN: "BOOLEAN",
    "int": "INTEGER",
    "long": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    _TEXT: "VARCHAR",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMPTZ",
}
_BITS = {"int": 31, "long": 63}
_SIGNS = {"==": "=", "!=": "<>", "<=>": "IS NOT DISTINCT FROM"}
# Settings of Spark's SQL that say how it works, and not what it means.
_HARMLESS = (
    *("spark.sql.catalog.", "spark.sql.extensions", "spark.sql.shuffle.", "spark.sql.adaptive."),
    *("spark.sql.codegen.", "spark.sql.files.", "spark.sql.ui.", "spark.sql.autoBroadcastJoinThreshold"),
)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_INSTANT = re.compile(rf"{_DAY.pattern} \d\d:\d\d:\d\d(?:\.\d{{1,6}})?", re.ASCII)


@dataclass(frozen=True)
class Translation:
    """An expression in DuckDB's SQL, of an Iceberg type."""

    sql: str
    type: str


@dataclass(frozen=True)
class _Value:
    """A part of an expression.

    `number` is what a literal is written as; what `fails` may overflow; what `varies` depends on a column.
    """

    sql: str
    type: str
    number: str | None = None
    fails: bool = False
    varies: bool = False


def translated(text: str, columns: Mapping[str, str]) -> Translation:
    """Return an expression over `columns`, name to Iceberg type; its result has the type that Spark gives.

    Names of columns are as DuckDB has them: their case counts, as it does in our sessions of Spark, and no
    two may differ in it alone. Raises: NeedsSparkError, naming the construct.
    """
    value = _Translator(columns).value(parsed(text))
    if value.type == NULL:
        raise refused("an expression that is always NULL")
    return Translation(f"CAST({value.sql} AS {_duckdb_type(value.type)})", value.type)


def reason_outside(text: str, columns: Mapping[str, str], *, is_predicate: bool = False) -> str | None:
    """Return why only Spark can compute an expression; None where DuckDB does so alike."""
    try:
        found = translated(text, columns)
    except NeedsSparkError as error:
        return error.message
    return f"a predicate of type {found.type}" if is_predicate and found.type != _BOOLEAN else None


def reason_in(properties: Iterable[str]) -> str | None:
    """Return which Spark setting may give people's SQL another meaning; None where none does."""
    other = (n for n in properties if n.startswith("spark.sql.") and not n.startswith(_HARMLESS))
    name = next(other, None)
    return None if name is None else f"spark.properties.{name}: what it makes of SQL is left to Spark"


def _duckdb_type(iceberg_type: str) -> str:
    size = decimal_size(iceberg_type)
    if size is not None:
        return f"DECIMAL({size.precision}, {size.scale})"
    if iceberg_type not in _DUCKDB:
        raise refused(f"a value of type {iceberg_type}")
    return _DUCKDB[iceberg_type]


def _cast(value: _Value, iceberg_type: str) -> str:
    return value.sql if value.type == iceberg_type else f"CAST({value.sql} AS {_duckdb_type(iceberg_type)})"


class _Translator:
    def __init__(self, columns: Mapping[str, str]) -> None:
        self._columns, self._lowered = columns, [name.lower() for name in columns]

    def value(self, node: Node) -> _Value:
        if node.kind == "name":
            return self._column(node.text)
        if not node.parts:
            return _literal(node)
        values = [self.value(part) for part in node.parts]
        return replace(self._made(node, values), varies=any(value.varies for value in values))

    @staticmethod
    def _made(node: Node, values: Sequence[_Value]) -> _Value:
        if any(value.fails for value in values):
            # Both optimizers compute other sums than these within an expression, or none: DuckDB makes
            # `a + 1 > 5` of integers `a > 4`, where nothing overflows.
            raise refused("a sum of integers within another expression")
        if node.kind == "compare":
            return _compared(node.text, *values)
        if node.kind == "like":
            return _like(values[0], node.parts[1])
        if node.kind == "sum":
            return _summed(node.text, values)
        if node.kind == "sign":
            return _signed(node.text, values[0])
        if node.kind == "call":
            return _called(node.text, values)
        return _OF_KIND[node.kind](values)

    def _column(self, name: str) -> _Value:
        if name not in self._columns:
            raise refused(f"the name `{name}`, which no column has,")
        if self._lowered.count(name.lower()) > 1:
            raise refused(f"the name `{name}`, which differs from another one by case alone,")
        kind = self._columns[name]
        size = decimal_size(kind)
        return _Value('"' + name.replace('"', '""') + '"', kind if size is None else str(size), varies=True)


def _like(value: _Value, pattern: Node) -> _Value:
    """Return a LIKE with a literal: how a pattern of each row is escaped, the engines see otherwise."""
    if value.type != _TEXT or pattern.kind != "text" or "\\" in pattern.text:
        raise refused("LIKE with an escape, of another type than text, or with a pattern of its row")
    return _Value(f"({value.sql} LIKE {_quoted(pattern.text)})", _BOOLEAN)


def _literal(node: Node) -> _Value:
    if node.kind == "text":
        return _Value(_quoted(node.text), _TEXT)
    if node.kind == "boolean":
        return _Value(node.text, _BOOLEAN)
    if node.kind == "null":
        return _Value("NULL", NULL)
    if node.kind == "date":
        return _Value(f"DATE '{_moment(node.text, _DAY, '%Y-%m-%d')}'", "date")
    if node.kind == "timestamp":
        form = "%Y-%m-%d %H:%M:%S.%f" if "." in node.text else "%Y-%m-%d %H:%M:%S"
        instant = _moment(node.text, _INSTANT, form)
        return _Value(f"TIMESTAMPTZ '{instant}+00'", "timestamptz")
    kind = _number_type(node)
    return _Value(f"CAST('{node.text}' AS {_duckdb_type(kind)})", kind, number=node.text)


def _number_type(node: Node) -> str:
    if node.kind != "decimal":
        number = int(node.text)
        kinds = ("long",) if node.kind == "long" else tuple(_BITS)
        for kind in kinds:
            if -(2 ** _BITS[kind]) <= number < 2 ** _BITS[kind]:
                return kind
    size = literal_size(node.text)
    found = wider_decimal(size, size)
    if found is None or node.kind == "long":
        raise refused(f"the number {node.text}")
    return found


def _moment(text: str, form: re.Pattern[str], parts: str) -> str:
    try:
        if form.fullmatch(text):
            datetime.strptime(text, parts)  # noqa: DTZ007  (only whether there is such a day)
            return text
    except ValueError:
        pass
    raise refused(f"the literal '{text}'")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _compared(sign: str, left: _Value, right: _Value) -> _Value:
    kind = _compared_as(left, right)
    if kind is None or NULL in (left.type, right.type):
        # Of NULL nothing but NULL comes out; some of these fail within Spark 3.3.
        raise refused(f"a comparison of {left.type} with {right.type}")
    _require_order(kind)
    sql = f"({_cast(left, kind)} {_SIGNS.get(sign, sign)} {_cast(right, kind)})"
    return _Value(sql, _BOOLEAN)


def _require_order(kind: str) -> None:
    """Refuse to compare fractions: DuckDB 1.5 skips Parquet's row groups by bounds that leave NaN out.

    Of these Spark, too, looks 0.0 and -0.0 up in longer lists as if they were different.
    """
    _duckdb_type(kind)
    if kind in ("float", "double"):
        raise refused(f"a comparison of {kind}")


def _compared_as(left: _Value, right: _Value) -> str | None:
    for one, other in ((left, right), (right, left)):
        size = size_of(other.type)
        if one.number is not None and decimal_size(one.type) and other.type in _BITS:
            # Out of the integer's range, Spark answers for all rows at once, also for NULL.
            return None
        if one.number is not None and size is not None and "decimal" in one.type + other.type:
            return wider_decimal(literal_size(one.number), size)
    return common_type((left.type, right.type))


def _summed(signs: str, values: Sequence[_Value]) -> _Value:
    total = values[0]
    for sign, value in zip(signs, values[1:], strict=True):
        total = _added(total, sign, value)
    return total


def _added(left: _Value, sign: str, right: _Value) -> _Value:
    kind = common_type((left.type, right.type))
    if kind in _BITS and NULL not in (left.type, right.type):
        if left.fails or not (left.varies or right.varies):
            # Spark adds the literals of a longer sum first, so that it overflows elsewhere, and computes a
            # sum of nothing else also for no row.
            raise refused("a sum of more than two integers, or of literals,")
        return _Value(f"({_cast(left, kind)} {sign} {_cast(right, kind)})", kind, fails=True)
    sizes = _addend(left, right), _addend(right, left)
    kind = None if sizes[0] is None or sizes[1] is None else sum_type(sizes[0], sizes[1])
    if kind is None or left.fails:
        raise refused(f"`{sign}` of {left.type} and {right.type}")
    return _Value(f"CAST({_cast(left, kind)} {sign} {_cast(right, kind)} AS {_duckdb_type(kind)})", kind)


def _addend(value: _Value, beside: _Value) -> DecimalSize | None:
    """Return the digits of what is added to a decimal: those of a literal that are there."""
    if value.number is not None and decimal_size(beside.type):
        return literal_size(value.number)
    return size_of(value.type)


def _signed(sign: str, value: _Value) -> _Value:
    if size_of(value.type) is None:
        raise refused(f"`{sign}` before {value.type}")
    if sign == "+":
        return _Value(value.sql, value.type)
    if value.type in _BITS and not value.varies:
        raise refused("the sign of a literal in brackets")
    if value.type in _BITS:
        return _Value(f"(-{value.sql})", value.type, fails=True)
    return _Value(f"CAST(-{value.sql} AS {_duckdb_type(value.type)})", value.type)


def _called(function: str, values: Sequence[_Value]) -> _Value:
    if function == "coalesce":
        kind, members = _alike(values)
        return _Value(f"coalesce({', '.join(members)})", kind)
    if len(values) != 2 or values[0].type == NULL:  # noqa: PLR2004
        raise refused(f"{function} of {len(values)} such values")
    same = _compared("=", values[0], values[1])
    return _Value(f"(CASE WHEN {same.sql} THEN NULL ELSE {values[0].sql} END)", values[0].type)


def _alike(values: Sequence[_Value]) -> tuple[str, list[str]]:
    """Return the type that holds each of the values, and the values in it."""
    kind = common_type(value.type for value in values)
    if kind is None:
        raise refused(f"one value of {' or '.join(dict.fromkeys(value.type for value in values))}")
    return kind, [value.sql if kind == NULL else _cast(value, kind) for value in values]


def _require_booleans(values: Iterable[_Value]) -> None:
    for value in values:
        if value.type not in (_BOOLEAN, NULL):
            raise refused(f"a condition of type {value.type}")


def _negated(values: Sequence[_Value]) -> _Value:
    _require_booleans(values)
    return _Value(f"(NOT {_cast(values[0], _BOOLEAN)})", _BOOLEAN)


def _joined(word: str, values: Sequence[_Value]) -> _Value:
    _require_booleans(values)
    return _Value("(" + f" {word} ".join(_cast(value, _BOOLEAN) for value in values) + ")", _BOOLEAN)


def _between(values: Sequence[_Value]) -> _Value:
    value, low, high = values
    return _joined("AND", [_compared(">=", value, low), _compared("<=", value, high)])


def _is_null(values: Sequence[_Value]) -> _Value:
    return _Value(f"({values[0].sql} IS NULL)", _BOOLEAN)


def _among(values: Sequence[_Value]) -> _Value:
    kind, (value, *members) = _alike(values)
    if values[0].type == NULL:
        raise refused("IN of NULL")
    _require_order(kind)
    return _Value(f"({value} IN ({', '.join(members)}))", _BOOLEAN)


def _chosen(values: Sequence[_Value]) -> _Value:
    conditions, (kind, results) = values[:-1:2], _alike([*values[1::2], values[-1]])
    _require_booleans(conditions)
    if any(condition.type == NULL for condition in conditions):
        raise refused("a condition that is NULL")
    cases = (
        f"WHEN {_cast(condition, _BOOLEAN)} THEN {result}"
        for condition, result in zip(conditions, results, strict=False)
    )
    return _Value(f"(CASE {' '.join(cases)} ELSE {results[-1]} END)", kind)


_OF_KIND = {
    "and": lambda values: _joined("AND", values),
    "or": lambda values: _joined("OR", values),
    "not": _negated,
    "between": _between,
    "is null": _is_null,
    "in": _among,
    "case": _chosen,
}
