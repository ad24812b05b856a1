"""What a row must satisfy to pass a check of rows, and the values that settings compare it with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Protocol

from iceberg_datamart.core.columns import decimal_size
from iceberg_datamart.core.instants import EPOCH, microseconds
from iceberg_datamart.errors import ConfigError

if TYPE_CHECKING:
    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.core.sql.dialect import Dialect


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
    """People's own SQL, which is Spark's."""

    text: str

    def sql(self, dialect: Dialect) -> str:  # noqa: ARG002, D102
        # On lines of its own, so that a comment at its end hides nothing.
        return f"(\n{self.text}\n)"


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
    if iceberg_type == "string":
        return text
    if iceberg_type in ("int", "long"):
        return int(text)
    if decimal_size(iceberg_type) is not None:
        return _finite(text)
    if iceberg_type in ("float", "double"):
        return float(text)
    if iceberg_type == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if iceberg_type == "date":
        return (date.fromisoformat(text) - EPOCH.date()).days
    if iceberg_type in ("timestamptz", "timestamp"):
        instant = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return microseconds(instant if instant.tzinfo else instant.replace(tzinfo=timezone.utc))
    raise ValueError(iceberg_type)


def _finite(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError(text)
    return number
