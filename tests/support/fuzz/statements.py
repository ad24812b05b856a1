"""Random statements of people and applications; each knows what a cursor tells of the rows it changes."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

from support.fuzz.kinds import text
from support.fuzz.schemas import quoted

if TYPE_CHECKING:
    import random
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from support.fuzz.schemas import Table

    Connection = psycopg.Connection[Any]

WRITES: tuple[str, ...] = (
    "insert",
    "insert",
    "update",
    "update",
    "update",
    "silent_update",
    "null_cursor",
    "delete",
    "delete",
    "rekey",
    "rekey",
    "soft_delete",
)
WRITES += ("unfit", "copy", "copy_history", "truncate", "trick_sequence")
_OLD = {
    "timestamptz": "{c} - interval '1 year'",
    "timestamp": "{c} - interval '1 year'",
    "date": "{c} - 400",
    "int8": "-7",
}
_REFUSALS = (
    psycopg.errors.IntegrityError,
    psycopg.errors.DataError,
    psycopg.errors.InFailedSqlTransaction,
)


@dataclass
class Statements:
    """Writes into tables of a source. `script` is all that was said, in order."""

    connection: Connection
    other: Connection
    dice: random.Random
    tally: Counter[str]
    script: list[str] = field(default_factory=list)

    def say(self, sql: str, connection: Connection | None = None) -> list[str]:
        """Execute a statement, and return its first column; nothing where PostgreSQL refuses its values."""
        self.script.append(sql)
        try:
            # Without parameters, so that a % is none; not prepared, since tables change.
            cursor = (connection or self.connection).execute(sql.encode(), prepare=False)
        except _REFUSALS as error:
            self.script.append(f"-- {error}")
            return []
        self.tally[sql.split(maxsplit=1)[0].upper()] += 1
        return [row[0] for row in cursor.fetchall()] if cursor.description else []

    def write(self, table: Table) -> None:
        """Change rows of a table, by any means that it has."""
        self._some_of(WRITES, table)

    # --- rows

    def insert(self, table: Table) -> None:
        keys = self.dice.sample(table.pool, self.dice.randint(1, 5))
        into = table.part("child") if table.layout == "parent" and self.dice.random() < 0.5 else None
        rows = [table.row(self.dice, key, table.clock) for key in keys]
        self._told(table, self.say(table.insert(rows, into)))

    def update(self, table: Table) -> None:
        self._told(table, self._change(table, self._set(table, table.clock), self.dice.randint(1, 4)))

    def null_cursor(self, table: Table) -> None:
        """Change rows that lose their cursor value: every run reads them."""
        if table.cursor is not None and not table.tricked:
            self._told(table, self._change(table, self._set(table, "null"), 1))

    def silent_update(self, table: Table) -> None:
        table.hidden |= set(self._change(table, self._set(table, None), self.dice.randint(1, 3)))

    def delete(self, table: Table) -> None:
        some = self._some(table, self.dice.randint(1, 3))
        table.hidden |= set(
            self.say(f"delete from {table.place} as r where {some} returning {table.key_text('r')}")
        )

    def rekey(self, table: Table) -> None:
        """Give a row another key: to the mirror a deleted row, and a new one."""
        key = self.dice.choice(table.pool)
        old = self.say(f"select {table.key_text('r')} from {table.place} as r where {self._some(table, 1)}")
        if not old or "null" in key:
            return
        values = [f"({value})::{table.columns[name].sql}" for name, value in zip(table.key, key, strict=True)]
        aliased = ", ".join(
            f"{value} as {quoted(name)}" for name, value in zip(table.key, values, strict=True)
        )
        same = f"{table.key_text('o')} = {table.key_text('n')}"
        taken = f"select from {table.place} as o, (select {aliased}) as n where {same}"
        sets = [f"{quoted(name)} = {value}" for name, value in zip(table.key, values, strict=True)]
        if table.clock is not None:
            sets.append(f"{quoted(table.cursor or '')} = {table.clock}")
        where = f"{table.key_text('r')} = {text(old[0])} and not exists ({taken})"
        new = self.say(
            f"update {table.place} as r set {', '.join(sets)} where {where} returning {table.key_text('r')}"
        )
        if new:
            table.hidden |= set(old)
            self._told(table, new)

    def soft_delete(self, table: Table) -> None:
        """Mark rows as deleted, or take the mark away."""
        if table.gone is not None:
            sets = {table.gone: self.dice.choice(["true", "true", "false", "null"])}
            clock = (
                {table.cursor: table.clock} if table.cursor is not None and table.clock is not None else {}
            )
            self._told(table, self._change(table, sets | clock, 2))

    def unfit(self, table: Table) -> None:
        """Write values that no mirror can hold; not where a change of columns is still to be followed."""
        names = [name for name in table.plain if table.columns[name].unfit]
        if names and not table.exact:
            name = self.dice.choice(names)
            sets = self._set(table, table.clock) | {name: table.columns[name].unfit_value}
            self._told(table, self._change(table, sets, 1))

    def correct(self, table: Table) -> None:
        """Take all values away that no mirror can hold."""
        for name, kind in table.columns.items():
            if kind.unfit and name in table.plain:
                sets = {name: kind.value(self.dice)}
                clock = (
                    {table.cursor: table.clock}
                    if table.cursor is not None and table.clock is not None
                    else {}
                )
                where = kind.unfit.format(c=f"r.{quoted(name)}")
                self._told(table, self.say(self._update(table, sets | clock, where)))

    def copy(self, table: Table, *, old: bool = False) -> None:
        """Load rows by COPY, as new ones or as history."""
        clock = table.clock
        if old and table.cursor is not None and clock is not None:
            clock = _OLD[table.columns[table.cursor].sql].format(c=clock)
        names = ", ".join(map(quoted, table.columns))
        self.say("drop table if exists copied")
        self.say(f"create temp table copied as select {names} from {table.place} where false")
        keys = self.dice.sample(table.pool, self.dice.randint(1, 6))
        rows = [table.row(self.dice, key, clock) for key in keys]
        told = self.say(table.insert(rows, into="copied"))
        try:
            with self.connection.cursor() as cursor:
                with cursor.copy("copy copied to stdout") as out:
                    data = b"".join(bytes(part) for part in out)
                target = f"copy {table.written} ({names}) from stdin"
                self.script.append(f"{target} -- {data!r}")
                with cursor.copy(target.encode()) as into:
                    into.write(data)
        except _REFUSALS as error:
            self.script.append(f"-- {error}")
            return
        self.tally["COPY"] += 1
        if old:
            table.hidden |= set(told)
        else:
            self._told(table, told)

    def copy_history(self, table: Table) -> None:
        self.copy(table, old=True)

    def truncate(self, table: Table) -> None:
        self.say(f"truncate {table.written}")
        table.exact = True

    def trick_sequence(self, table: Table) -> None:
        """Set a cursor's sequence back: what is written until it is right again, no cursor tells."""
        if table.cursor is not None and table.columns[table.cursor].sql == "int8":
            trick = [f"select setval({text(table.sequence)}, 3)", f"alter sequence {table.sequence} restart"]
            self.say(self.dice.choice(trick))
            table.tricked = True

    def untrick(self, table: Table) -> None:
        """Set the sequence to above all values that were ever drawn."""
        if table.tricked:
            self.say(f"select setval({text(table.sequence)}, 1000000 + {sum(self.tally.values())} * 1000)")
            table.tricked = False

    @contextmanager
    def late(self, table: Table) -> Iterator[None]:
        """Write in a transaction that stays open meanwhile."""
        if table.clock is None or table.tricked:
            yield
            return
        clock = table.clock.replace("clock_timestamp()", "now()")
        self.say("begin", self.other)
        keys = self.dice.sample(table.pool, 3)
        told = self.say(table.insert([table.row(self.dice, key, clock) for key in keys]), self.other)
        told += self.say(self._update(table, self._set(table, clock), self._some(table, 2)), self.other)
        if self.other.info.transaction_status is psycopg.pq.TransactionStatus.INERROR:
            told = []  # the commit will be a rollback
        try:
            yield
        finally:
            self.say("commit", self.other)
            self._told(table, told)

    # --- what they share

    def _some_of(self, deeds: Sequence[str], table: Table) -> None:
        """Do the first deed of a few that says anything; not every table has a cursor or partitions."""
        before = len(self.script)
        for deed in self.dice.sample(deeds, len(deeds)):
            getattr(self, deed)(table)
            if len(self.script) > before:
                return

    def _told(self, table: Table, keys: Sequence[str]) -> None:
        """Know that a cursor tells of these rows, if their sequence is right."""
        table.hidden = table.hidden | set(keys) if table.tricked else table.hidden - set(keys)

    def _set(self, table: Table, clock: str | None) -> dict[str, str]:
        """Return new values of a few columns, with the cursor's where one is given."""
        names = self.dice.sample(table.plain, min(2, len(table.plain)))
        sets = {name: table.value(self.dice, name) for name in names}
        if table.parent is not None and self.dice.random() < 0.4:
            sets |= dict(zip(table.refs, self.dice.choice(table.parent.pool), strict=True))
        return sets | ({table.cursor: clock} if table.cursor is not None and clock is not None else {})

    def _change(self, table: Table, sets: dict[str, str], count: int) -> list[str]:
        return self.say(self._update(table, sets, self._some(table, count))) if sets else []

    def _update(self, table: Table, sets: dict[str, str], where: str) -> str:
        values = ", ".join(
            f"{quoted(name)} = ({value})::{table.columns[name].sql}" for name, value in sets.items()
        )
        return f"update {table.place} as r set {values} where {where} returning {table.key_text('r')}"

    def _some(self, table: Table, count: int) -> str:
        """Return the predicate of some rows `r`, the same whenever the same rows are there."""
        key, salt = table.key_text("o"), self.dice.randint(0, 10**6)
        order = f"order by md5({key} || '{salt}') limit {count}"
        return f"{table.key_text('r')} in (select {key} from {table.place} as o {order})"
