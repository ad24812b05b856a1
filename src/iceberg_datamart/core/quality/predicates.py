"""What a row must satisfy to pass a check of rows, and the values that settings compare it with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Protocol

from iceberg_datamart.core.columns import decimal_size, types_of
from iceberg_datamart.core.instants import EPOCH, microseconds
from iceberg_datamart.errors import ConfigError

if TYPE_CHECKING:
    from iceberg_datamart.core.columns import Column, DecimalSize
    from iceberg_datamart.core.sql.dialect import Dialect

_BITS = {"int": 31, "long": 63}
_DAY = re.compile(r"(?P<day>\d{4}-\d\d-\d\d)")
_INSTANT = re.compile(
    rf"{_DAY.pattern}(?:[ T](?P<time>\d\d:\d\d(?::\d\d)?)(?:[.](?P<fraction>\d{{1,6}}))?)?"
    r"(?P<zone>Z|[-+]\d\d:\d\d)?"
)


class Predicate(Protocol):
    """What a row satisfies, or is NULL for it, where it passes a check."""

    def sql(self, dialect: Dialect) -> str:
        """Return it as SQL."""


@dataclass(frozen=True)
class NotNull:
    """All `columns` have a value."""

    columns: tuple[str, ...]

    def sql(self, dialect: Dialect) -> str:  # noqa: D102  (as in the protocol, and so below)
        return "(" + " AND ".join(f"{dialect.quoted(name)} IS NOT NULL" for name in self.columns) + ")"


@dataclass(frozen=True)
class OneOf:
    """A column has one of `values`."""

    column: Column
    values: tuple[Any, ...]

    def sql(self, dialect: Dialect) -> str:  # noqa: D102
        values = ", ".join(dialect.literal(value, self.column.type) for value in self.values)
        return f"({dialect.quoted(self.column.name)} IN ({values}))"


@dataclass(frozen=True)
class Between:
    """A column is not below `low` and not above `high`, closed; None is no bound."""

    column: Column
    low: Any
    high: Any

    def sql(self, dialect: Dialect) -> str:  # noqa: D102
        parts = (
            f"{dialect.quoted(self.column.name)} {sign} {dialect.literal(value, self.column.type)}"
            for sign, value in ((">=", self.low), ("<=", self.high))
            if value is not None
        )
        return f"({' AND '.join(parts)})"


@dataclass(frozen=True)
class Expression:
    """People's own SQL, which is Spark's, over a table's `columns`."""

    text: str
    columns: tuple[Column, ...] = ()

    def sql(self, dialect: Dialect) -> str:  # noqa: D102
        # On lines of its own, so that a comment at its end hides nothing.
        return f"(\n{dialect.expression(self.text, types_of(self.columns))}\n)"


@dataclass(frozen=True)
class NoVerdict:
    """A column that says whether the row fails, as `verdicts_sql` adds it, is false."""

    column: str

    def sql(self, dialect: Dialect) -> str:  # noqa: D102
        return f"(NOT {dialect.quoted(self.column)})"


def typed_value(place: str, text: str, iceberg_type: str) -> Any:
    """Return the value of a column's type that `text` says, as `Dialect.literal` takes it.

    An instant without an offset is in UTC. Raises: ConfigError, naming `place`, for a text that is no such
    value.
    """
    try:
        return _typed_value(text, iceberg_type)
    except (ValueError, InvalidOperation):
        message = f"{place}: {text!r} is no value of a column of type {iceberg_type}"
        raise ConfigError(message, hint="Correct the value, or use a check of type expression.") from None


def _typed_value(text: str, iceberg_type: str) -> Any:  # noqa: PLR0911  (one a family)
    size = decimal_size(iceberg_type)
    if iceberg_type == "string":
        return text
    if iceberg_type in _BITS:
        return _whole(text, _BITS[iceberg_type])
    if size is not None:
        return _decimal(text, size)
    if iceberg_type in ("float", "double"):
        return float(text)
    if iceberg_type == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if iceberg_type == "date":
        return (_moment(text, _DAY).date() - EPOCH.date()).days
    if iceberg_type in ("timestamptz", "timestamp"):
        instant = _moment(text, _INSTANT)
        return microseconds(instant if instant.tzinfo else instant.replace(tzinfo=timezone.utc))
    raise ValueError(iceberg_type)


def _whole(text: str, bits: int) -> int:
    number = int(text)
    if not -(2**bits) <= number < 2**bits:
        raise ValueError(text)
    return number


def _decimal(text: str, size: DecimalSize) -> Decimal:
    number = Decimal(text)
    # Python counts a digit before the point of 0, too.
    if not number.is_finite() or (number and number.adjusted() >= size.precision - size.scale):
        raise ValueError(text)
    return number


def _moment(text: str, form: re.Pattern[str]) -> datetime:
    """Return the moment that a text says in one form: Python 3.11 reads more forms than 3.10 does."""
    found = form.fullmatch(text.strip())
    if found is None:
        raise ValueError(text)
    parts = found.groupdict(default="")
    fraction = f".{parts['fraction']:0<6}" if parts.get("fraction") else ""
    zone = "+00:00" if parts.get("zone") == "Z" else parts.get("zone", "")
    return datetime.fromisoformat(f"{parts['day']}T{parts.get('time') or '00:00'}{fraction}{zone}")
