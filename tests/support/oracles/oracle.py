"""PostgreSQL as the oracle: what mirrors and marts must hold, and a readable difference where they do not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timezone
from math import isnan
from typing import TYPE_CHECKING, Any

from psycopg import sql
from psycopg.rows import dict_row

from iceberg_datamart.lake.runtime import present_runtime

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import psycopg

    from support.worlds.laptop import Laptop

    Row = dict[str, Any]

SHADOW = "what the mirrors must hold"
_MOST_SHOWN = 8


def rows_of(connection: psycopg.Connection[Any], query: str, schema: str) -> list[Row]:
    """Return the rows of a query whose unqualified tables are those of `schema`."""
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(sql.SQL("set search_path = {}").format(sql.Identifier(schema)))
        cursor.execute("set timezone = 'UTC'; set intervalstyle = 'iso_8601'")
        # Not prepared: a statement that is fails once its columns have other types.
        found = list(cursor.execute(query, prepare=False))
        cursor.execute("reset search_path; reset intervalstyle")
        return found if present_runtime().zoneless_timestamps else [_zoned(row) for row in found]


def _zoned(row: Row) -> Row:
    """Return a row as a lake without zone-less timestamps holds it: in UTC."""
    return {
        name: value.replace(tzinfo=timezone.utc)
        if isinstance(value, datetime) and not value.tzinfo
        else value
        for name, value in row.items()
    }


def assert_same(name: str, found: Sequence[Row], expected: Sequence[Row], key: Sequence[str]) -> None:
    """Assert that two tables hold the same rows, each as often as the other; order does not matter."""
    columns = set(expected[0]) if expected else set()
    if found and expected:
        assert set(found[0]) == columns, f"{name}: columns differ: {sorted(set(found[0]) ^ columns)}"
    has, needs = Counter(map(_canonical, found)), Counter(map(_canonical, expected))
    if has == needs:
        return
    extra, missing = (
        [dict(row) for row in (has - needs).elements()],
        [dict(row) for row in (needs - has).elements()],
    )
    lines = list(_differences(extra, missing, key))
    shown = "\n  ".join(lines[:_MOST_SHOWN])
    more = f"\n  and {len(lines) - _MOST_SHOWN} more" if len(lines) > _MOST_SHOWN else ""
    message = f"{name}: holds {len(found)} rows, must hold {len(expected)}; wrong are:\n  {shown}{more}"
    raise AssertionError(message)


def _differences(extra: list[Row], missing: list[Row], key: Sequence[str]) -> Iterable[str]:
    """Yield a line for each row that is too much, lacking, or stale under the same key."""
    left = {tuple(row[column] for column in key): row for row in extra}
    for row in missing:
        place = tuple(row[column] for column in key)
        other = left.pop(place, None)
        if other is None:
            yield f"missing {dict(zip(key, place, strict=True))}: {row}"
        else:
            wrong = {c: f"{other[c]!r} instead of {row[c]!r}" for c in row if other[c] != row[c]}
            yield f"stale   {dict(zip(key, place, strict=True))}: {wrong}"
    for place, row in left.items():
        yield f"extra   {dict(zip(key, place, strict=True))}: {row}"
    doubled = len(extra) - len({tuple(row[column] for column in key) for row in extra})
    if doubled:
        yield f"doubled: {doubled} rows have a key that another one has"


def _canonical(row: Row) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((name, _comparable(value)) for name, value in row.items()))


def _comparable(value: Any) -> Any:
    """Return a value that can be hashed and equals itself: a NaN is a NaN, a list a tuple."""
    if isinstance(value, float) and isnan(value):
        return "NaN"
    return tuple(map(_comparable, value)) if isinstance(value, list) else value


@dataclass(frozen=True)
class Mirrored:
    """A source table: where it is, its key, and by a hand-written SELECT what its mirror must show.

    `gone` is the predicate of rows that count as deleted.
    """

    table: str
    key: tuple[str, ...]
    select: str
    gone: str = "false"


@dataclass(frozen=True)
class Joined:
    """A mart: its key, and the join written by hand."""

    key: tuple[str, ...]
    select: str


@dataclass(frozen=True)
class Oracle:
    """Follows a source with a copy in PostgreSQL that knows what a cursor cannot see.

    Rows deleted from the source stay in the copy until the next full load, as they must stay in the
    mirrors. Everything else is copied as a fresh session sees it when a run ends.
    """

    connection: psycopg.Connection[Any]
    schema: str
    tables: Mapping[str, Mirrored]
    marts: Mapping[str, Joined]

    def prepare(self) -> None:
        """Make the empty copy."""
        self._execute("create schema {shadow}")
        for table in self.tables.values():
            self._execute(
                "create table {shadow}.{table} as select * from {schema}.{table} where false", table
            )

    def follow(self, *, full: bool, tables: Iterable[str] | None = None) -> None:
        """Bring the copy to what the mirrors must hold after a run that read `tables` (default: all)."""
        for name in self.tables if tables is None else tables:
            table = self.tables[name]
            same = " and ".join(f'm."{column}" = s."{column}"' for column in table.key)
            seen = "true" if full else f"exists (select from {{schema}}.{{table}} as s where {same})"
            self._execute(f"delete from {{shadow}}.{{table}} as m where {seen}", table)
            kept = f"select * from {{schema}}.{{table}} where ({table.gone}) is not true"
            self._execute(f"insert into {{shadow}}.{{table}} {kept}", table)

    def check(self, laptop: Laptop, *, against_source: bool = False) -> None:
        """Assert that every mirror holds what it must, and every mart PostgreSQL's own join of that.

        `against_source` compares with the source's own tables instead of the copy.
        """
        schema = self.schema if against_source else SHADOW
        for name, table in self.tables.items():
            where = f" where ({table.gone}) is not true" if against_source else ""
            expected = rows_of(self.connection, table.select + where, schema)
            assert_same(f"mirror {name}", laptop.rows(name), expected, table.key)
        for name, mart in self.marts.items():
            if not (against_source and any(t.gone != "false" for t in self.tables.values())):
                expected = rows_of(self.connection, mart.select, schema)
                assert_same(f"mart {name}", laptop.rows(name), expected, mart.key)

    def _execute(self, text: str, table: Mirrored | None = None) -> None:
        names = {"shadow": sql.Identifier(SHADOW), "schema": sql.Identifier(self.schema)}
        if table is not None:
            names["table"] = sql.Identifier(table.table)
        self.connection.execute(sql.SQL(text).format(**names))
