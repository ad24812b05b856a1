"""Runs the generated SELECTs in SQLite: another engine, in a dialect of its own."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.core.sql.reserved import OTHER, ROW
from iceberg_datamart.core.sql.spark import SparkDialect

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# FULL OUTER JOIN came with 3.39: https://www.sqlite.org/releaselog/3_39_0.html
needs_full_join = pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 39), reason="SQLite 3.39 is needed")


class SqliteDialect(SparkDialect):
    """As far as the tests need it; SQLite takes names in backticks, too."""

    joins_in_steps = True

    def same(self, left: str, right: str) -> str:
        return f"{left} IS {right}"

    def among(self, relation: str, keys: str, same: str, *, others: bool = False) -> str:
        found = f"EXISTS (SELECT 1 FROM {keys} AS {OTHER} WHERE {same})"
        return f"(SELECT * FROM {relation} AS {ROW} WHERE {'NOT ' if others else ''}{found})"


SQLITE = SqliteDialect()


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
        """Return the rows of a SELECT."""
        return self._connection.execute(select).fetchall()

    def columns(self, select: str) -> list[str]:
        """Return the names of a SELECT's columns."""
        return [each[0] for each in self._connection.execute(select).description]
