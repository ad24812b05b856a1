"""What mirrors and marts must hold after a run, told by PostgreSQL, and read by PyIceberg."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import isnan
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]

from support.fuzz.schemas import quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import psycopg

    from support.fuzz.kinds import Kind
    from support.fuzz.marts import Mart
    from support.fuzz.schemas import Table
    from support.worlds.laptop import Laptop

    Row = tuple[Any, ...]

_MOST_SHOWN = 5
_SETTINGS = """
    set timezone = 'UTC'; set intervalstyle = 'iso_8601'; set extra_float_digits = 1; set search_path = public
"""


class WrongError(AssertionError):
    """A mirror or mart does not hold what it must."""


@dataclass(frozen=True)
class Present:
    """What a relation of PostgreSQL has, by key texts: rows that fit, and the keys of those that do not."""

    rows: Mapping[str, Row]
    unfit: Collection[str]
    gone: Collection[str]


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a mirror, and the key texts of the rows that are as they were before the run."""

    wrong: Sequence[str]
    kept: Collection[str]


def judged(
    found: Mapping[Row, Sequence[Row]],
    source: Present,
    before: Present,
    keys: Mapping[str, Row],
    may_be_old: Collection[str],
) -> Verdict:
    """Return the verdict on a mirror's rows, which `found` holds by key.

    A row must be the source's. One that no mirror can hold must be as it was before, and those of
    `may_be_old` may be.
    """
    wrong, kept = [], set()
    for text, key in keys.items():
        has = found.get(key, ())
        now, old = source.rows.get(text), before.rows.get(text)
        allowed = {old} if text in source.unfit else {now}
        if text in may_be_old:
            allowed.add(old)
        if text in source.unfit and text in source.gone:
            allowed.add(None)
        held = has[0] if has else None
        if len(has) > 1:
            wrong.append(f"{text}: held {len(has)} times")
        elif held not in allowed:
            wrong.append(f"{text}: held {held}, must be {' or '.join(map(str, allowed))}")
        elif held == old and (held != now or text in source.unfit):
            kept.add(text)  # also where it is not there yet, as history that was loaded by COPY
    wrong += [f"{key}: held, and was never there" for key in found.keys() - set(keys.values())]
    return Verdict(wrong, kept)


@dataclass
class Judge:
    """Keeps a copy in PostgreSQL of what the mirrors must hold, for what no cursor tells stays as it was."""

    connection: psycopg.Connection[Any]
    laptop: Laptop
    tally: Counter[str]
    held: dict[str, dict[str, Kind]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the place of the copies."""
        self.connection.execute("create schema held")

    def mirror(self, table: Table, *, exact: bool) -> None:
        """Judge a mirror after a run that read its table. Raises: WrongError."""
        exact = exact or table.exact or table.cursor is None
        columns, first = table.columns, table.name not in self.held
        source = self._present(table, table.place)
        before = source if first else self._present(table, self._copy(table.name))
        keys = self._keys(table, [table.place] if first else [table.place, self._copy(table.name)])
        rows = self._rows(table.name, list(columns))
        where = [list(columns).index(name) for name in table.key]
        found: dict[Row, list[Row]] = {}
        for row in rows:
            found.setdefault(tuple(row[at] for at in where), []).append(row)
        old = Present({}, (), ()) if first else before
        verdict = judged(found, source, old, keys, () if exact else table.hidden)
        self._told(table.name, len(rows), verdict.wrong)
        self._copy_again(table, verdict.kept, first=first)
        table.hidden &= set(verdict.kept)
        table.exact = False

    def mart(self, mart: Mart) -> None:
        """Judge a mart by PostgreSQL's join of the copies. Raises: WrongError."""
        shown = list(mart.shown(self.held))
        found = Counter(self._rows(mart.name, shown))
        places = {table.name: self._copy(table.name) for table in mart.tables}
        expected = Counter(self._asked(mart.select(self.held, places)))
        wrong = [f"missing {times} times {row}" for row, times in (expected - found).items()]
        wrong += [f"too much {times} times {row}" for row, times in (found - expected).items()]
        self._told(mart.name, found.total(), wrong)

    def _told(self, name: str, rows: int, wrong: Sequence[str]) -> None:
        self.tally["tables compared"] += 1
        self.tally["rows compared"] += rows
        if wrong:
            raise WrongError(f"{name}: {len(wrong)} rows are wrong:\n  " + "\n  ".join(wrong[:_MOST_SHOWN]))

    def _present(self, table: Table, place: str) -> Present:
        """Return the rows of a relation; of a copy with columns that are gone, as far as they are there."""
        there = table.columns if place == table.place else self.held[table.name]
        shown = [
            kind.shown.format(c=f"r.{quoted(name)}") if name in there else "null"
            for name, kind in table.columns.items()
        ]
        tests = [
            kind.unfit.format(c=f"r.{quoted(name)}")
            for name, kind in table.columns.items()
            if kind.unfit and name in there
        ]
        tests += [f"r.{quoted(name)} is null" for name in table.key]
        gone = "false" if table.gone is None else f"(r.{quoted(table.gone)} is true)"
        unfit = f"coalesce({' or '.join(tests)}, false)"
        texts = self._asked(
            f"select {table.key_text('r')}, {unfit}, {gone}, {', '.join(shown)} from {place} as r"
        )
        return Present(
            {text: tuple(row) for text, bad, left, *row in texts if not bad and not left},
            {text for text, bad, _, *_ in texts if bad},
            {text for text, _, left, *_ in texts if left},
        )

    def _keys(self, table: Table, places: Sequence[str]) -> dict[str, Row]:
        """Return the keys of all rows that are there, by their texts; a key with a NULL is none."""
        shown = [table.columns[name].shown.format(c=f"r.{quoted(name)}") for name in table.key]
        asked = " union all ".join(
            f"select {table.key_text('r')}, {', '.join(shown)} from {place} as r" for place in places
        )
        return {text: tuple(key) for text, *key in self._asked(asked) if None not in key}

    def _copy_again(self, table: Table, kept: Collection[str], *, first: bool) -> None:
        """Make the copy what the mirror holds: the source's rows, and those that it kept."""
        new, old, names = "held.new", self._copy(table.name), ", ".join(map(quoted, table.columns))
        rows = ", ".join("'" + text.replace("'", "''") + "'" for text in kept)
        chosen = f"({rows})" if kept else "(null)"
        left = "false" if table.gone is None else f"(r.{quoted(table.gone)} is true)"
        self._ask(f"create table {new} as select {names} from {table.place} as r")
        tests = [
            kind.unfit.format(c=f"r.{quoted(name)}") for name, kind in table.columns.items() if kind.unfit
        ]
        tests += [
            left,
            *(f"r.{quoted(name)} is null" for name in table.key),
            f"{table.key_text('r')} in {chosen}",
        ]
        self._ask(f"delete from {new} as r where {' or '.join(tests)}")
        if kept and not first:
            there = [quoted(name) for name in table.columns if name in self.held[table.name]]
            some = f"where {table.key_text('r')} in {chosen}"
            self._ask(
                f"insert into {new} ({', '.join(there)}) select {', '.join(there)} from {old} as r {some}"
            )
        self._ask(f"drop table if exists {old}; alter table {new} rename to {quoted(table.name)}")
        self.held[table.name] = dict(table.columns)

    def _rows(self, name: str, columns: Sequence[str]) -> list[Row]:
        """Return the rows that PyIceberg finds; instants and dates as numbers since 1970."""
        table = self.laptop.table(name).scan().to_arrow()
        missing = [column for column in columns if column not in table.column_names]
        if missing:
            raise WrongError(f"{name}: has no column {missing}")
        values = [_plain(table.column(column)).to_pylist() for column in columns]
        return [tuple(map(comparable, row)) for row in zip(*values, strict=True)]

    def _asked(self, sql: str) -> list[Row]:
        return [tuple(map(comparable, row)) for row in self._ask(sql).fetchall()]

    def _ask(self, sql: str) -> psycopg.Cursor[Any]:
        self.connection.execute(_SETTINGS)
        return self.connection.execute(sql.encode(), prepare=False)

    @staticmethod
    def _copy(name: str) -> str:
        return f"held.{quoted(name)}"


def comparable(value: Any) -> Any:
    """Return a value that can be hashed and equals itself: a NaN is a NaN, a list a tuple."""
    if isinstance(value, float) and isnan(value):
        return "NaN"
    return tuple(map(comparable, value)) if isinstance(value, list) else value


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64())
    return column.cast(pa.int32()) if pa.types.is_date32(column.type) else column
