"""The types that Spark gives to what it computes of two types (ANSI mode, 3.3 and 3.5), as Iceberg has them.

Of decimals only where no digit is lost: Spark shortens what would be longer than 38 digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.core.columns import DecimalSize, decimal_size

if TYPE_CHECKING:
    from collections.abc import Iterable

NULL = "null"
_MOST_DIGITS = 38
# What an integer is where it meets a decimal.
_DIGITS = {"int": DecimalSize(10, 0), "long": DecimalSize(20, 0)}


def size_of(iceberg_type: str) -> DecimalSize | None:
    """Return the digits of a decimal or an integer; None for other types."""
    return decimal_size(iceberg_type) or _DIGITS.get(iceberg_type)


def common_type(types: Iterable[str]) -> str | None:
    """Return the type of a value that is of one of `types`; NULL for nothing but NULLs, None for no type."""
    found = NULL
    for each in types:
        wider = each if found == NULL else found if each == NULL else _wider(found, each)
        if wider is None:
            return None
        found = wider
    return found


def _wider(one: str, other: str) -> str | None:
    if one == other:
        return one
    if {one, other} == _DIGITS.keys():
        return "long"
    sizes = size_of(one), size_of(other)
    return None if sizes[0] is None or sizes[1] is None else wider_decimal(sizes[0], sizes[1])


def wider_decimal(one: DecimalSize, other: DecimalSize) -> str | None:
    """Return the decimal that holds all values of both; None where none does."""
    scale = max(one.scale, other.scale)
    whole = max(one.precision - one.scale, other.precision - other.scale)
    return _decimal(whole + scale, scale)


def sum_type(one: DecimalSize, other: DecimalSize) -> str | None:
    """Return the decimal that Spark makes of a sum or difference; None where that may lose digits."""
    scale = max(one.scale, other.scale)
    whole = max(one.precision - one.scale, other.precision - other.scale)
    return _decimal(whole + scale + 1, scale)


def literal_size(digits: str) -> DecimalSize:
    """Return the size of a number as it is written, such as -00.50."""
    whole, _, fraction = digits.lstrip("-").partition(".")
    significant = (whole + fraction).lstrip("0")
    return DecimalSize(max(len(significant), len(fraction), 1), len(fraction))


def _decimal(precision: int, scale: int) -> str | None:
    return str(DecimalSize(precision, scale)) if precision <= _MOST_DIGITS else None
