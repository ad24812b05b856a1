"""A table cut into slices by its key, digested on both sides: equal slices are never transferred."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceberg_datamart.core.sql.bounds import ranges_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.core.sql.dialect import Dialect

# Types whose values travel as whole numbers: see `core.source.reads.QueryRead`.
_NUMBERS = ("int", "long", "date", "timestamp", "timestamptz")
_HALF = ("int", "date")
# Naming more slices than this costs more than reading the whole table.
_MOST_NAMED = 4096


@dataclass(frozen=True)
class Slicing:
    """How rows fall into slices, the same way in the source and in the mirror.

    With `width`, a slice is that many neighbouring values of the first key column: the quotient, cut
    towards zero. Without, the key's text decides by its hash. `count` is about how many slices there are.
    """

    column: Column
    width: int | None
    count: int

    @classmethod
    def of(cls, column: Column, low: int | None, high: int | None, count: int) -> Slicing:
        """Return the slicing of key values from `low` to `high`, closed, into about `count` slices."""
        if not is_number(column):
            return cls(column, None, count)
        span = 1 if low is None or high is None else high - low + 1
        return cls(column, max(1, -(-span // count)), count)


@dataclass(frozen=True)
class Slices:
    """Some slices of a table by their numbers, and how many rows the source has in them."""

    slicing: Slicing
    numbers: tuple[int, ...]
    rows: int

    @property
    def named(self) -> tuple[int, ...] | None:
        """Return the slices' numbers, or None where they are so many that the whole table is read."""
        return self.numbers if len(self.numbers) <= _MOST_NAMED else None

    def predicate(self, dialect: Dialect, number: str) -> str:
        """Return the predicate that a row lies in one of them; `number` is the expression of its slice."""
        if self.named is None:
            return "true"
        if not self.numbers:
            return "false"
        return f"{number} IN ({', '.join(dialect.literal(each, 'long') for each in self.named)})"

    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Return at most 31 ranges of key values, closed, that hold the slices; none for hashed keys."""
        width = self.slicing.width
        if width is None or self.named is None:
            return ()
        # Past the ends of the type there is no value, and no literal.
        bits = 31 if self.slicing.column.type in _HALF else 63
        low, high = -(2**bits), 2**bits - 1
        found = ranges_of(self.numbers)
        return tuple(
            (max(_least(first, width), low), min(_greatest(last, width), high)) for first, last in found
        )


@dataclass(frozen=True)
class SliceDigest:
    """What one slice holds: how many rows, and two sums over their hashes, which no order changes."""

    rows: int
    sums: tuple[int, int]


def is_number(column: Column) -> bool:
    """Return whether a key column's values travel as whole numbers."""
    return column.type in _NUMBERS


def differing(
    slicing: Slicing, source: Mapping[int, SliceDigest], mirror: Mapping[int, SliceDigest]
) -> Slices:
    """Return the slices that do not hold the same rows on both sides."""
    numbers = sorted(n for n in source.keys() | mirror.keys() if source.get(n) != mirror.get(n))
    return Slices(slicing, tuple(numbers), sum(source[n].rows for n in numbers if n in source))


def _least(number: int, width: int) -> int:
    """Return the least value of a slice; slice 0 reaches to both sides of zero."""
    return number * width if number > 0 else (number - 1) * width + 1


def _greatest(number: int, width: int) -> int:
    return (number + 1) * width - 1 if number >= 0 else number * width
