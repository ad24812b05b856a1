"""How each PostgreSQL type travels: its Iceberg type, and the SELECT expression that carries it.

Timestamps and dates leave the server as numbers since 1970, so that no client zone can shift them.
A value that the Iceberg type cannot hold satisfies its `Unrepresentable` predicate, by which reads leave its
row out; should one be read nevertheless, the server raises an error that names it (R10).
Types: https://www.postgresql.org/docs/current/datatype.html
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from iceberg_datamart.core.columns import decimal_size, list_of
from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.mart.equality import OTHERWISE
from iceberg_datamart.errors import SourceError, UnfitValueError

UNFIT = "does not fit"
_PLAIN = {
    "int2": "int",
    "int4": "int",
    "int8": "long",
    "float4": "float",
    "float8": "double",
    "bool": "boolean",
    "text": "string",
    "varchar": "string",
    "bytea": "binary",
}
_CURSORS = {
    "timestamptz": CursorKind.TIMESTAMPTZ,
    "timestamp": CursorKind.TIMESTAMP,
    "date": CursorKind.DATE,
    "int2": CursorKind.INTEGER,
    "int4": CursorKind.INTEGER,
    "int8": CursorKind.INTEGER,
}
# Elements that Spark's PostgreSQL dialect reads as they are; all others travel as text[].
_PLAIN_ELEMENTS = {"int4", "int8", "float4", "float8", "bool", "text", "varchar"}
_EXACT_NUMBERS = {"numeric", "int2", "int4", "int8"}
_GREATEST_PRECISION = 38
# The last but one that 64 bits count in microseconds since 1970: the very last is rounded by `extract`.
# PostgreSQL's own end in the year 294276.
_LAST = "294247-01-10 04:00:54.775806"


@dataclass(frozen=True)
class PostgresColumn:
    """A column of the server's catalog, its domain resolved to the base type.

    `precision` and `scale` are None where a numeric has none; `element` is an array's element type;
    `dimensions` are those declared. `number` stays when the column is renamed, and is never given again.
    `length` is that of a char(n), `digits` are those that a timestamp(p) keeps of a second. The role has a
    right on it where `is_readable`. `is_deterministic` is false where its collation takes different texts for
    equal. `has_own_text` says that somebody made a cast of its type, or of its elements', to text: two values
    may have one text then. `names` is a type of it, or of its parts, whose text is names in the catalog;
    `has_money` says whether one is money.
    """

    name: str
    type_name: str
    not_null: bool
    precision: int | None = None
    scale: int | None = None
    element: str | None = None
    dimensions: int = 0
    number: int = 0
    length: int | None = None
    digits: int | None = None
    is_enum: bool = False
    is_deterministic: bool = True
    is_readable: bool = True
    has_own_text: bool = False
    names: str | None = None
    has_money: bool = False


# Two equal values have the same text, two others never do; or the mirror holds them by value.
_BY_VALUE = {
    **dict.fromkeys(("int2", "int4", "int8", "numeric"), "number"),
    "oid": "oid",  # to which -1 is equal: PostgreSQL reads an int beside an oid as one
    **dict.fromkeys(("float4", "float8"), "float"),
    **dict.fromkeys(("text", "varchar", "name"), "text"),
    **{name: name for name in ("bool", "bytea", "timestamptz", "timestamp", "date", "uuid", "inet", "cidr")},
    **{name: name for name in ("macaddr", "macaddr8", "time", "timetz", "bit", "varbit", "money", "pg_lsn")},
}
_BY_TEXT = _BY_VALUE.keys() - {"float4", "float8", "numeric"} | {"bpchar"}


def equality_of(column: PostgresColumn, configured: str | None = None) -> str:
    """Return as what PostgreSQL compares a column; see `equality.py`.

    Two char(n) are equal as their texts are where both are padded to the same length; cast to text they
    lose their padding, which PostgreSQL overlooks as well.
    """
    name = column.type_name
    if not column.is_deterministic:
        return f"{OTHERWISE}{name} with a nondeterministic collation"
    if configured == "string":
        return "text" if name in _BY_TEXT or column.is_enum else f"{OTHERWISE}{name} as a string"
    if name == "bpchar":
        return f"{OTHERWISE}char of any length" if column.length is None else f"char({column.length})"
    if column.is_enum:
        return f"enum {name}"
    return _BY_VALUE.get(name, OTHERWISE + name)


@dataclass(frozen=True)
class Unrepresentable:
    """The values that a mirror's column cannot hold: a predicate, never NULL, and a text that names one."""

    predicate: sql.Composable
    reason: sql.Composable


@dataclass(frozen=True)
class Wire:
    """The Iceberg type of a column, the expression that carries its values, and which it cannot hold."""

    type: str
    expression: sql.Composable
    unfit: Unrepresentable | None = None


def cursor_kind(column: PostgresColumn) -> CursorKind:
    """Return the kind of cursor a column makes. Raises: SourceError for a type that does not grow."""
    if column.type_name not in _CURSORS:
        message = f"cursor column '{column.name}' has type {column.type_name}"
        raise SourceError(message, hint="Use a timestamp, timestamptz, date or integer column as cursor.")
    return _CURSORS[column.type_name]


def cursor_step(column: PostgresColumn, *, is_computed: bool) -> int:
    """Return the microseconds to which a cursor's values may be rounded; 1 for all but a timestamp(p).

    Of a column that a view computes, the digits of what it is made from are not known: a second at most.
    """
    if is_computed and column.digits is None:
        return 1_000_000
    return 1 if column.digits is None else int(10 ** (6 - column.digits))


def wire(column: PostgresColumn, configured: str | None = None) -> Wire | None:  # noqa: PLR0911  (one a family)
    """Return how a column travels; None for a numeric that needs a configured decimal(p,s).

    `configured` is the type that the settings give the column: `decimal(p,s)` or `string`.
    """
    name = sql.Identifier(column.name)
    if column.names is not None:
        message = f"column '{column.name}' shows {column.names}: a name that changes while no row is written"
        raise SourceError(message, hint="Exclude the column, or read it through a view that casts it to oid.")
    if configured == "string":
        return Wire("string", _text(column))
    if configured is not None and column.type_name not in _EXACT_NUMBERS:
        message = (
            f"column '{column.name}' has type {column.type_name}, which {configured} cannot hold exactly"
        )
        raise SourceError(message, hint=f"Remove columns.{column.name}.type, or set it to string.")
    if configured is not None or column.type_name == "numeric":
        return _decimal(column, configured)
    if column.type_name in _PLAIN:
        return Wire(_PLAIN[column.type_name], name)
    if column.type_name in ("timestamptz", "timestamp", "date"):
        return _instant(column)
    if column.type_name == "bpchar":
        # A cast to text would cut the blanks that belong to a char(n), and bpcharsend depends on the client.
        return Wire("string", sql.SQL("textin(bpcharout({}))").format(name))
    if column.type_name == "oid":
        return Wire("long", sql.SQL("{}::bigint").format(name))
    if column.element is not None:
        return _array(column, column.element)
    return Wire("string", _text(column))


def needs_a_type(table: str, column: str, example: str | None) -> UnfitValueError:
    """Return the error of a numeric for which `wire` has no type; `example` is one of its values."""
    shown = "" if example is None else f", for example {example}"
    message = f"column '{column}' is numeric without a precision that Iceberg's decimal can hold{shown}"
    hint = f"Set tables.{table}.columns.{column}.type: decimal(p,s) with room for every value (p up to 38)."
    return UnfitValueError(message, hint=hint)


def _text(column: PostgresColumn) -> sql.Composable:
    """Return a value's text: by a cast, or as PostgreSQL prints it where somebody made that cast."""
    name = sql.Identifier(column.name)
    if not column.has_own_text:
        return sql.SQL("{}::text").format(name)
    return sql.SQL("case when num_nulls({c}) = 0 then format('%s', {c}) end").format(c=name)


def bounded_key(column: str) -> Unrepresentable:
    """Return that a key column cannot hold an array whose numbers do not begin at 1: a list has none."""
    reason = sql.Literal(f"an array whose subscripts do not begin at 1 in key column '{column}'")
    predicate = sql.SQL("coalesce(left({}::text, 1) = '[', false)").format(sql.Identifier(column))
    return Unrepresentable(predicate, reason)


def null_key(column: str) -> Unrepresentable:
    """Return that a key column cannot hold NULL."""
    reason = sql.Literal(f"NULL in key column '{column}'")
    return Unrepresentable(sql.SQL("{} is null").format(sql.Identifier(column)), reason)


def _instant(column: PostgresColumn) -> Wire:
    unfit = sql.SQL("({} is not null and not ({}))").format(
        sql.Identifier(column.name), _countable(column.name, column.type_name)
    )
    complaint = _complaint(column.name, f"a column of type {column.type_name}")
    return Wire(
        column.type_name, number_since_1970(column.name, column.type_name), Unrepresentable(unfit, complaint)
    )


def _countable(column: str, type_name: str) -> sql.Composed:
    """Return the predicate of the values that have a number since 1970."""
    last = {
        "timestamptz": f" and {{c}} <= timestamptz '{_LAST}+00'",
        "timestamp": f" and {{c}} <= timestamp '{_LAST}'",
    }
    return sql.SQL("isfinite({c})" + last.get(type_name, "")).format(c=sql.Identifier(column))


def number_since_1970(column: str, type_name: str) -> sql.Composed:
    """Return an expression for microseconds (days for a date) since 1970; values without one raise."""
    name = sql.Identifier(column)
    exact = "({} - date '1970-01-01')" if type_name == "date" else "(extract(epoch from {}) * 1000000)::int8"
    template = sql.SQL("case when {} or {} is null then {} else {} end")
    raised = _unfit(column, "a column of type " + type_name, "int8")
    return template.format(_countable(column, type_name), name, sql.SQL(exact).format(name), raised)


def literal_since_1970(type_name: str, value: int) -> sql.Composed:
    """Return the timestamp, date or integer literal of a number that a cursor travels as."""
    number = sql.Literal(value)
    if type_name == CursorKind.DATE.value:
        return sql.SQL("(date '1970-01-01' + {}::int)").format(number)
    if type_name == CursorKind.INTEGER.value:
        return sql.SQL("{}").format(number)
    start = "timestamptz '1970-01-01 00:00:00+00'" if type_name == "timestamptz" else "timestamp '1970-01-01'"
    template = sql.SQL("(" + start + " + {} * interval '1 second' + {} * interval '1 microsecond')")
    seconds, rest = divmod(value, 1_000_000)
    return template.format(sql.Literal(seconds), sql.Literal(rest))


def _decimal(column: PostgresColumn, configured: str | None) -> Wire | None:
    name = sql.Identifier(column.name)
    if configured is None:
        return _declared_decimal(column) if _declared_precision_fits(column) else None
    found = decimal_size(configured)
    assert found is not None  # noqa: S101  (the settings allow nothing else)
    iceberg_type, (precision, scale) = str(found), found
    fits = sql.SQL("{c} = round({c}, {s}) and abs({c}) < {limit}").format(
        c=name, s=sql.Literal(scale), limit=sql.SQL(str(10 ** (precision - scale)))
    )
    template = sql.SQL("(case when {} is null or ({}) then {} else {} end)::numeric({}, {})")
    raised = _unfit(column.name, iceberg_type, "numeric")
    size = (sql.Literal(precision), sql.Literal(scale))
    unfit = sql.SQL("({} is not null and not ({}))").format(name, fits)
    expression = template.format(name, fits, name, raised, *size)
    return Wire(iceberg_type, expression, Unrepresentable(unfit, _complaint(column.name, iceberg_type)))


def _declared_decimal(column: PostgresColumn) -> Wire:
    """Return a numeric(p,s) as it is; but it may also be NaN, which decimal cannot."""
    name, iceberg_type = sql.Identifier(column.name), f"decimal({column.precision}, {column.scale})"
    template = sql.SQL("(case when {} = 'NaN' then {} else {} end)::numeric({}, {})")
    raised = _unfit(column.name, iceberg_type, "numeric")
    size = (sql.Literal(column.precision), sql.Literal(column.scale))
    unfit = sql.SQL("({c} is not null and {c} = 'NaN')").format(c=name)
    expression = template.format(name, raised, name, *size)
    return Wire(iceberg_type, expression, Unrepresentable(unfit, _complaint(column.name, iceberg_type)))


def _declared_precision_fits(column: PostgresColumn) -> bool:
    """Return whether decimal holds it; PostgreSQL 15 also has scales below 0 and above the precision."""
    if column.precision is None or column.scale is None:
        return False
    return column.precision <= _GREATEST_PRECISION and 0 <= column.scale <= column.precision


def _array(column: PostgresColumn, element: str) -> Wire:
    name = sql.Identifier(column.name)
    if column.dimensions > 1:
        return Wire("string", sql.SQL("to_jsonb({})::text").format(name))
    # The declared dimensions bind no value: each may have others, also none, as '{}' does.
    unfit = Unrepresentable(
        sql.SQL("coalesce(array_ndims({}) > 1, false)").format(name),
        _complaint(column.name, "a list of one dimension"),
    )
    if element == "int2":
        return Wire(list_of("int"), sql.SQL("{}::int4[]").format(name), unfit)
    if element in _PLAIN_ELEMENTS:
        return Wire(list_of(_PLAIN[element]), name, unfit)
    if column.has_own_text:
        message = f"column '{column.name}' has elements of type {element}, which somebody casts to text"
        raise SourceError(message, hint=f"Set columns.{column.name}.type to string, or exclude the column.")
    return Wire(list_of("string"), sql.SQL("{}::text[]").format(name), unfit)


def _unfit(column: str, iceberg_type: str, sql_type: str) -> sql.Composed:
    """Return an expression whose cast fails on the server with a text that names the value."""
    return sql.SQL("({})::" + sql_type).format(_complaint(column, iceberg_type))


def _complaint(column: str, iceberg_type: str) -> sql.Composed:
    """Return the text that names a value, cut to 60 characters, its column and the type it does not fit."""
    words = sql.Literal(f" in column '{column}' {UNFIT} {iceberg_type}")
    return sql.SQL("left({}::text, 60) || {}").format(sql.Identifier(column), words)
