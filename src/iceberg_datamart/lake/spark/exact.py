"""Values cast to the types that mirrors have, as Spark's SQL: exactly, or the read fails with the column.

Spark's own casts of text round decimals and floats, cut digits of time, and take `12:30` for today.
"""

from __future__ import annotations

from iceberg_datamart.core.columns import Column, decimal_size, element_of
from iceberg_datamart.core.sql.spark import literal
from iceberg_datamart.errors import SourceError
from iceberg_datamart.lake.spark.types import spark_type

# How an error begins that `failures` knows again.
UNFIT = "does not fit"
_EACH = "_datamart_each"
_WHOLE = ("tinyint", "smallint", "int", "bigint")
_WIDER = {("float", "double"), ("timestamp_ntz", "timestamp")}
_NUMBER = r"^\s*[-+]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][-+]?[0-9]+)?\s*$"
_MANTISSA = r"^\s*[-+]?([0-9.]*)"
_NOT_FINITE = ("nan", *(f"{sign}{word}" for word in ("inf", "infinity") for sign in ("", "+", "-")))
_DAY = r"[+]?[0-9]{4,6}-[0-9]{1,2}-[0-9]{1,2}"
_CLOCK = r"[0-9]{1,2}:[0-9]{1,2}(:[0-9]{1,2}([.][0-9]{0,6}0*)?)?"
_ZONE = r"([A-Za-z][A-Za-z0-9_/+:-]*|[-+][0-9:]+)?"
# Text of a date or an instant in full. Of what stands after its microseconds, nothing but noughts is exact.
_TIMES = {
    "date": rf"^\s*{_DAY}([ T]0{{1,2}}:0{{1,2}}(:0{{1,2}}([.]0*)?)?Z?)?\s*$",
    "timestamp": rf"^\s*{_DAY}([ T]{_CLOCK}\s*{_ZONE})?\s*$",
}
_TIMES["timestamp_ntz"] = _TIMES["timestamp"]
# As many digits are told apart by every double or float, and as many tell each of them.
_DIGITS_OF_ALL, _DIGITS_OF_DOUBLE, _DIGITS_OF_ALL_FLOATS = 15, 17, 6
# Where all doubles are whole numbers, and more than a bigint holds.
_HUGE = "9.2E18"


def exact_cast(value: str, have: str, column: Column) -> str:
    """Return the expression of a value with its column's type. Raises: SourceError where that rounds.

    `have` is the type that Spark reads.
    """
    want = spark_type(column.type)
    inner, held = element_of(column.type), element_of(have)
    if inner is not None and held is not None and not _holds(want, have):
        element = exact_cast(_EACH, held, Column(column.name, inner))
        return f"transform({value}, {_EACH} -> {element})"
    if want == have:
        return value
    if (have, want) == ("binary", "string"):
        return _checked(
            value, f"encode(decode({value}, 'UTF-8'), 'UTF-8') = {value}", column, f"hex({value})"
        )
    if have == "string" and inner is None:
        return _checked(value, _is_exact(value, want), column, value)
    if not _holds(want, have):
        message = f"the source has column '{column.name}' as {have}, which {want} may not hold exactly"
        raise SourceError(message, hint="Run its crawler again, or set the column's type in `columns`.")
    return f"CAST({value} AS {want})"


def _checked(value: str, condition: str, column: Column, shown: str) -> str:
    """Return the cast of a value for which a condition holds; for others the expression fails."""
    want = spark_type(column.type)
    said = literal(f"column '{column.name}' {UNFIT} {column.type}: ")
    refused = f"CAST(raise_error(concat({said}, {shown})) AS {want})"
    return (
        f"CASE WHEN {value} IS NULL THEN CAST(NULL AS {want}) "
        f"WHEN coalesce({condition}, false) THEN CAST({value} AS {want}) ELSE {refused} END"
    )


def _is_exact(value: str, want: str) -> str:
    """Return the condition that a cast of text changes nothing of what it says."""
    known = f"try_cast({value} AS {want}) IS NOT NULL"
    if want in _TIMES:
        return f"{value} RLIKE {literal(_TIMES[want])} AND {known}"
    size = decimal_size(want)
    if size is not None:
        return f"{value} RLIKE {literal(_NUMBER)} AND {_has_scale(value, size.scale)} AND {known}"
    if want in ("double", "float"):
        names = ", ".join(literal(name) for name in _NOT_FINITE)
        exact = _exact_double(value) if want == "double" else _exact_float(value)
        return (
            f"CASE WHEN lower(trim({value})) IN ({names}) THEN true "
            f"WHEN NOT {value} RLIKE {literal(_NUMBER)} THEN false ELSE {exact} END"
        )
    return known


def _digits(value: str) -> str:
    """Return a number's digits without sign, point, exponent, and noughts at either end."""
    mantissa = f"regexp_extract({value}, {literal(_MANTISSA)}, 1)"
    return f"regexp_replace(replace({mantissa}, '.', ''), '^0+|0+$', '')"


def _has_scale(value: str, scale: int) -> str:
    """Return whether a number, in any notation, has no more than `scale` digits behind its point."""
    mantissa = f"regexp_extract({value}, {literal(_MANTISSA)}, 1)"
    exponent = f"regexp_extract({value}, {literal('[eE]([-+]?[0-9]+)')}, 1)"
    behind = f"length(regexp_extract({mantissa}, {literal('[.]([0-9]*)$')}, 1))"
    digits = f"replace({mantissa}, '.', '')"
    noughts = f"length({digits}) - length(regexp_replace({digits}, '0+$', ''))"
    shift = f"CASE WHEN {exponent} = '' THEN 0 ELSE CAST({exponent} AS int) END"
    return f"({_digits(value)} = '' OR {behind} - ({noughts}) - ({shift}) <= {scale})"


def _exact_double(value: str) -> str:
    """Return whether a double says what the text does.

    Whole numbers have to be equal. Others are the nearest double, which 17 digits tell from its neighbours.
    """
    number, digits = f"CAST({value} AS double)", _digits(value)
    whole = f"CAST({number} AS bigint)"
    return (
        f"CASE WHEN abs({number}) = double('infinity') THEN false "
        f"WHEN {number} = 0 THEN {digits} = '' "
        f"WHEN length({digits}) <= {_DIGITS_OF_ALL} THEN true "
        f"WHEN length({digits}) > {_DIGITS_OF_DOUBLE} AND abs({number}) >= {_HUGE} THEN false "
        f"WHEN abs({number}) >= {_HUGE} THEN true "
        f"WHEN CAST({whole} AS double) = {number} THEN {digits} = {_digits(f'CAST({whole} AS string)')} "
        f"ELSE length({digits}) <= {_DIGITS_OF_DOUBLE} END"
    )


def _exact_float(value: str) -> str:
    """Return whether a float, printed with as many digits as the text has, is the text's number."""
    number, digits = f"CAST({value} AS double)", f"length({_digits(value)})"
    single = f"CAST(CAST({value} AS float) AS double)"
    place = f"pow(10, floor(log10(abs({number}))) - {digits} + 1)"
    return (
        f"CASE WHEN abs({single}) = double('infinity') THEN false "
        f"WHEN {single} = 0 THEN {digits} = 0 "
        f"WHEN {digits} <= {_DIGITS_OF_ALL_FLOATS} THEN true "
        f"ELSE abs({number} - {single}) <= 0.500001D * {place} END"
    )


def _holds(want: str, have: str) -> bool:
    """Return whether every value of one of Spark's types is one of the other's."""
    want, have = want.replace(" ", ""), have.replace(" ", "")
    if want in (have, "string") or (have, want) in _WIDER:
        return True
    elements = element_of(want), element_of(have)
    if elements[0] is not None and elements[1] is not None:
        return _holds(elements[0], elements[1])
    if want in _WHOLE and have in _WHOLE:
        return _WHOLE.index(have) <= _WHOLE.index(want)
    large, small = decimal_size(want), decimal_size(have)
    if large is None or small is None:
        return False
    return large.scale >= small.scale and large.precision - large.scale >= small.precision - small.scale
