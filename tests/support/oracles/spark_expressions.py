"""Expressions of Spark's SQL over typed columns, as people might write them, and rows with nasty values."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

INT, LONG = 2**31 - 1, 2**63 - 1
_INFINITE, _NAN = float("inf"), float("nan")
_ZONED = [
    datetime(1, 1, 1, tzinfo=timezone.utc),
    datetime(1969, 12, 31, 23, 59, 59, 999999, timezone.utc),
    datetime(2024, 2, 29, 12, 30, 0, 500000, timezone.utc),
    datetime(9999, 12, 31, 23, 59, 59, 999999, timezone.utc),
]
_TEXTS = [
    "",
    " ",
    "a",
    "A",
    "a ",
    "ab",
    "aB\n",
    "é",
    "e\u0301",
    "ß",
    "😀",
    "a😀b",
    "%",
    "a_b",
    "a\\%b",
    "'",
    "\x7f",
    "a\0b",
    "İ",
]
_WIDE = Decimal("9999999999999999999999999999.9999999999")
# Of each type: its values, and two columns of it. One name needs quotes, one is a word of SQL.
VALUES: dict[str, list[Any]] = {
    "int": [0, 1, -1, 2, 7, INT, -INT - 1],
    "long": [0, 1, -1, INT + 1, 7, LONG, -LONG - 1],
    "decimal(12, 2)": [
        Decimal(x) for x in ("0.00", "1.00", "-0.01", "7.50", "9999999999.99", "-9999999999.99")
    ],
    "decimal(2, 2)": [Decimal(x) for x in ("0.00", "0.99", "-0.99", "0.50")],
    "decimal(38, 10)": [
        Decimal(0).quantize(Decimal("1E-10")),
        _WIDE,
        _WIDE.copy_negate(),
        Decimal("7.5000000000"),
    ],
    "decimal(38, 0)": [Decimal(0), Decimal(10**38 - 1), Decimal(1 - 10**38), Decimal(7)],
    "string": _TEXTS,
    "boolean": [True, False],
    "double": [
        0.0,
        -0.0,
        1.5,
        0.1,
        -7.25,
        _INFINITE,
        -_INFINITE,
        _NAN,
        5e-324,
        1.7976931348623157e308,
        9007199254740992.0,
    ],
    "float": [0.0, -0.0, 1.5, _INFINITE, -_INFINITE, _NAN, 1e-45],
    "date": [date(1, 1, 1), date(1582, 10, 10), date(1970, 1, 1), date(2024, 2, 29), date(9999, 12, 31)],
    "timestamptz": _ZONED,
    "timestamp": [each.replace(tzinfo=None) for each in _ZONED],
}
NAMES: dict[str, tuple[str, str]] = {
    "int": ("i", "date"),
    "long": ("l", "L2"),
    "decimal(12, 2)": ("amount", "fee"),
    "decimal(2, 2)": ("rate", "share"),
    "decimal(38, 10)": ("w", "wide"),
    "decimal(38, 0)": ("n", "big"),
    "string": ("s", "a b"),
    "boolean": ("b", "flag"),
    "double": ("f", "g"),
    "float": ("f4", "g4"),
    "date": ("d", "end"),
    "timestamptz": ("t", "t2"),
    "timestamp": ("z", "z2"),
}
_QUOTED = ("a b", "end")
_NUMBERS = ("int", "long", "decimal(12, 2)", "decimal(2, 2)", "decimal(38, 10)", "decimal(38, 0)")
_LITERALS = {
    "int": ("0", "1", "-1", "7", "2147483647", "-2147483648", "- 2", "(7)", "-(7)", "+1"),
    "long": ("2147483648", "-2147483649", "7L", "9223372036854775807", "-9223372036854775808L"),
    "decimal(12, 2)": ("0.0", "0.00", "1.50", "007.50", "-0.01", "9223372036854775808", "9999999999.99"),
    "decimal(2, 2)": ("0.99", "0.5", "-0.990"),
    "decimal(38, 10)": ("7.5000000000", "12345678901234567890.12"),
    "decimal(38, 0)": ("99999999999999999999999999999999999999", "7"),
    "string": ("''", "'a'", "'A'", "'a '", "'it\\'s'", "'\\\\'", "'a\\nb'", "'😀'", "'%'", "'\"'"),
    "boolean": ("true", "FALSE"),
    "date": ("DATE '2024-02-29'", "date '0001-01-01'", "DATE '1582-10-10'"),
    "timestamptz": ("TIMESTAMP '2024-02-29 12:30:00.5'", "timestamp '1969-12-31 23:59:59.999999'"),
}
_PATTERNS = (
    "''",
    "'%'",
    "'a%'",
    "'%b'",
    "'_'",
    "'a_b'",
    "'%a%'",
    "'a%b'",
    "'__'",
    "'%%'",
    "'é'",
    "'_%_'",
    "'a\\n%'",
)
_COMPARISONS = ("=", "==", "<>", "!=", "<", "<=", ">", ">=", "<=>")


def rows(kinds: list[str], number: int = 24) -> list[dict[str, Any]]:
    """Return rows with every value of every type, the first with none."""
    chance = random.Random(7)  # noqa: S311  (no secret)
    columns = {name: _spread(VALUES[kind], number, chance) for kind in kinds for name in NAMES[kind]}
    return [dict.fromkeys(columns)] + [
        {name: values[at] for name, values in columns.items()} for at in range(number)
    ]


def _spread(values: list[Any], number: int, chance: random.Random) -> list[Any]:
    found = [*values, None, *chance.choices(values, k=number)][:number]
    chance.shuffle(found)
    return found


def columns(kinds: list[str]) -> dict[str, str]:
    """Return the type of each column."""
    return {name: kind for kind in kinds for name in NAMES[kind]}


@dataclass(frozen=True)
class Expressions:
    """Draws expressions over the columns of some types, and some that fit no types."""

    kinds: list[str]
    chance: random.Random

    def any(self, depth: int = 3) -> str:
        """Return an expression of any type."""
        return self.boolean(depth) if self._one_in(2) else self.of(self.chance.choice(self.kinds), depth)

    def of(self, kind: str, depth: int) -> str:
        """Return an expression of a type, or of one like it."""
        if kind == "boolean":
            return self.boolean(depth)
        if kind in _NUMBERS and self._one_in(4):
            kind = self.chance.choice(_NUMBERS)
        return self._leaf(kind) if depth <= 0 or self._one_in(2) else self._compound(kind, depth - 1)

    def _one_in(self, number: int) -> bool:
        return self.chance.randrange(number) == 0

    def _leaf(self, kind: str) -> str:
        if self._one_in(10):
            return "NULL"
        if kind in _LITERALS and self._one_in(3):
            return self.chance.choice(_LITERALS[kind])
        name = self.chance.choice(NAMES[kind])
        return f"`{name}`" if name in _QUOTED or self._one_in(2) else name

    def _compound(self, kind: str, depth: int) -> str:
        forms = ["coalesce", "nullif", "case", "simple case", "closed"]
        form = self.chance.choice([*forms, "sum", "sum", "sign"] if kind in _NUMBERS[2:] else forms)
        one, other, third = (self.of(kind, depth) for _ in range(3))
        otherwise = f" ELSE {third}" if self._one_in(2) else ""
        if form == "case":
            conditions = self.boolean(depth), self.boolean(depth)
            return f"CASE WHEN {conditions[0]} THEN {one} WHEN {conditions[1]} THEN {other}{otherwise} END"
        asked = self.chance.choice(self.kinds)
        return {
            "sum": f"{one} {self.chance.choice('+-')} {other}",
            "sign": f"{self.chance.choice('+-')} {one}",
            "coalesce": f"Coalesce({', '.join([one, other, third][: self.chance.randint(1, 3)])})",
            "nullif": f"nullif({one}, {other})",
            "closed": f"({one})",
            "simple case": f"case {self.of(asked, depth)} WHEN {self.of(asked, depth)} THEN {one}"
            f"{otherwise} end",
        }[form]

    def boolean(self, depth: int) -> str:
        """Return a predicate."""
        if depth <= 0:
            return self._leaf("boolean")
        kind, no = self.chance.choice(self.kinds), self.chance.choice(["", "NOT "])
        one, other, third = (self.of(kind, depth - 1) for _ in range(3))
        left, right = self.boolean(depth - 1), self.boolean(depth - 1)
        among = [self.of(kind, depth - 2) for _ in range(self.chance.choice((1, 2, 3, 12)))]
        joined = f"{left} {self.chance.choice(['and', 'OR'])} {right}"
        return self.chance.choice(
            [
                *[f"{one} {self.chance.choice(_COMPARISONS)} {other}"] * 3,
                joined,
                f"({joined})",
                f"NOT {left}",
                f"{one} IS {no}NULL",
                f"{one} {no}IN ({', '.join(among)})",
                f"{self.of('string', depth - 1)} {no}like {self.chance.choice(_PATTERNS)}",
                f"{one} {no}BETWEEN {other} AND {third}",
                self._compound("boolean", depth - 1),
            ]
        )
