"""Runs the generated SELECTs in SQLite: another engine that reads the same text, but for one operator."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# FULL OUTER JOIN came with 3.39: https://www.sqlite.org/releaselog/3_39_0.html
needs_full_join = pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 39), reason="SQLite 3.39 is needed")


class Engine:
    """A database in memory; tables are replaced whole."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:")

    def close(self) -> None:
        self._connection.close()

    def put(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
        """Replace the table `name` by `rows`; return its name."""
        listed = ", ".join(f"`{column}`" for column in columns)
        marks = ", ".join("?" for _ in columns)
        self._connection.execute(f"DROP TABLE IF EXISTS `{name}`")
        self._connection.execute(f"CREATE TABLE `{name}` ({listed})")
        self._connection.executemany(f"INSERT INTO `{name}` VALUES ({marks})", rows)
        return f"`{name}`"

    def rows(self, select: str) -> list[tuple[Any, ...]]:
        """Return the rows of a SELECT. SQLite spells Spark's null-safe `<=>` as IS."""
        return self._connection.execute(select.replace(" <=> ", " IS ")).fetchall()

    def columns(self, select: str) -> list[str]:
        """Return the names of a SELECT's columns."""
        return [each[0] for each in self._connection.execute(select.replace(" <=> ", " IS ")).description]
