"""Columns of the shop that come, go, and change their names and types in a storm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

    import psycopg

    Connection = psycopg.Connection[Any]

# Kinds of columns: the type that one begins with, its wider one, and an expression that changes a value.
_KINDS = {
    "i": ("int", "bigint", "coalesce({c}, 0) + 1"),
    "n": ("numeric(8, 2)", "numeric(12, 2)", "coalesce({c}, 0) + 0.25"),
    "a": ("int[]", "bigint[]", "array_append({c}, 1)"),
    "t": ("varchar", "text", "coalesce({c}, '') || '+'"),
}
DEEDS = ("add", "drop", "rename", "widen", "remake")


@dataclass
class StormyColumns:
    """The columns that tables get and lose. Names are few, so that old ones come back; each has one kind."""

    connection: Connection
    dice: random.Random

    def present(self, table: str) -> list[str]:
        """Return the columns that the table has got, by their names, such as `customer_i2`."""
        found = self.connection.execute(
            "select column_name from information_schema.columns where table_schema = 'public' "
            "and table_name = %s and column_name similar to %s order by 1",
            [table, f"{table}\\_[inat][0-9]"],
        )
        return [name for (name,) in found]

    def sets(self, table: str) -> str:
        """Return what an UPDATE sets, besides other columns, to change a value in each of these."""
        found = self.present(table)
        return "".join(f", {name} = {_KINDS[_kind(name)][2].format(c=name)}" for name in found)

    def add(self, table: str) -> None:
        """Add a column, NULL in all rows."""
        free = self._free(table, "inat")
        if free:
            name = self.dice.choice(free)
            self._alter(table, f"add {name} {_KINDS[_kind(name)][0]}")

    def drop(self, table: str) -> None:
        self._alter(table, f"drop {self._any(table)}")

    def rename(self, table: str) -> None:
        """Give a column another name of its kind, which another one may have had."""
        old = self._any(table)
        free = self._free(table, _kind(old))
        if free:
            self._alter(table, f"rename {old} to {self.dice.choice(free)}")

    def widen(self, table: str) -> None:
        name = self._any(table)
        self._alter(table, f"alter {name} type {_KINDS[_kind(name)][1]}")

    def remake(self, table: str) -> None:
        """Drop a column and make it again, NULL in all rows, narrow or wide."""
        name = self._any(table)
        self._alter(table, f"drop {name}, add {name} {self.dice.choice(_KINDS[_kind(name)][:2])}")

    def _any(self, table: str) -> str:
        if not self.present(table):
            self.add(table)
        return self.dice.choice(self.present(table))

    def _free(self, table: str, kinds: str) -> list[str]:
        names = [f"{table}_{kind}{number}" for kind in kinds for number in (1, 2)]
        return [name for name in names if name not in self.present(table)]

    def _alter(self, table: str, change: str) -> None:
        self.connection.execute(f"alter table {table} {change}")


def _kind(name: str) -> str:
    return name[-2]
