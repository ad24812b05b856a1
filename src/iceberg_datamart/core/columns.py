"""A table's columns, and what the text of a type says of it, in Iceberg's words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_DECIMAL = re.compile(r"decimal\((\d+), ?(\d+)\)")
_LIST, _ARRAY = "list<", "array<"


@dataclass(frozen=True)
class Column:
    """A column by its name in the source and its Iceberg type, such as `decimal(18, 2)`."""

    name: str
    type: str
    nullable: bool = True


def types_of(columns: Iterable[Column]) -> dict[str, str]:
    """Return the type of each column by its name."""
    return {column.name: column.type for column in columns}


class DecimalSize(NamedTuple):
    """How many digits a decimal has, and how many of them stand after the point."""

    precision: int
    scale: int

    def __str__(self) -> str:
        """Return the type as Iceberg writes it."""
        return f"decimal({self.precision}, {self.scale})"


def decimal_size(kind: str) -> DecimalSize | None:
    """Return the size of a decimal, written as Iceberg, Spark or Hive do; None for other types."""
    found = _DECIMAL.fullmatch(kind)
    return None if found is None else DecimalSize(int(found[1]), int(found[2]))


def list_of(element: str) -> str:
    """Return the Iceberg type of a list."""
    return f"{_LIST}{element}>"


def element_of(kind: str) -> str | None:
    """Return the type of a list's elements, written as Iceberg, Spark or Hive do; None for other types."""
    for opening in (_LIST, _ARRAY):
        if kind.startswith(opening):
            return kind[len(opening) : -1]
    return None
