"""Random tables of a source: layouts, keys, cursors and names; and the settings of their mirrors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support.fuzz.kinds import BY_SQL, KINDS, Kind, text

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

NAMES: tuple[str, ...] = (
    "plain",
    "select",
    "from",
    "UPPER",
    "größe 中文",
    "quote \" '",
    "back`tick",
    "do.t",
    "sp ace",
    " lead",
    "trail ",
)
NAMES += (
    "new\nline",
    "back\\slash",
    "1st",
    "per%cent %s",
    "{brace} {0}",
    "${env:HOME}",
    "?",
    "??",
    ":colon",
    "$1",
    "$$",
)
NAMES += (
    "@@",
    "semi;colon --",
    "/* block",
    "') as q; --",
    "value",
    "key",
    "element",
    "n",
    "t",
    "s",
    "k",
    "x",
    "r",
    "y",
)
NAMES += (
    "slice",
    "hash",
    "newer",
    "c0",
    "changes_of_a",
    "m" * 63,
    "row",
    "user",
    "table",
    "tab\t",
    "😀",
    "a,b",
    "[x]",
)
MIRRORS = ("plain", "Größe", "Order Items", "a-b$1", "_under", "UPPER", "select", "x" * 60, "表", "größe-2")
LAYOUTS = ("plain", "plain", "plain", "partitioned", "parent", "view")
# Cursor types, and what sets one to a value that a run has not read yet.
CLOCKS = {
    "timestamptz": "clock_timestamp()",
    "timestamp": "(clock_timestamp() at time zone 'UTC')",
    "date": "(clock_timestamp() at time zone 'UTC')::date",
    "int8": "",  # a sequence of the table's own
}
_ROWS, _POOL = 40, 70
_PARTITIONS = {"low": ("minvalue", "0"), "mid": ("0", "500"), "high": ("500", "maxvalue")}


def quoted(name: str) -> str:
    """Return an identifier of PostgreSQL."""
    return '"' + name.replace('"', '""') + '"'


@dataclass
class Table:
    """One source table and its mirror's settings.

    `pool` holds the keys that rows may have. `refs` lead to the key of `parent`, a table before this one.
    `pinned` columns are named in the settings, and so keep their names. `exact` says that the next run has
    to find everything; else rows in `hidden` may be as they were, for no cursor tells of their change; so it
    is with all that is written while its sequence is `tricked`. Where the mirror has
    the column `illegal`, the table has to be refused, and `remedy` is the statement, or the option of a run,
    by which it is read again. `columns` are those that are read; the source also has those `excluded`.
    """

    name: str
    schema: str
    relation: str
    layout: str
    key: tuple[str, ...]
    proof: str
    columns: dict[str, Kind]
    cursor: str | None
    gone: str | None
    pool: list[tuple[str, ...]]
    free: list[str]
    parent: Table | None = None
    refs: tuple[str, ...] = ()
    pinned: set[str] = field(default_factory=set)
    exact: bool = True
    hidden: set[str] = field(default_factory=set)
    detached: set[str] = field(default_factory=set)
    turned: bool = False
    tricked: bool = False
    illegal: str | None = None
    remedy: str | None = None
    excluded: dict[str, Kind] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.relation)}"

    @property
    def written(self) -> str:
        """Return where DDL goes: under a view, its table."""
        return self.part("base") if self.layout == "view" else self.place

    @property
    def sequence(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.name[:20] + ' seq')}"

    @property
    def clock(self) -> str | None:
        """Return the expression of a cursor value that runs have not read yet; None without a cursor."""
        if self.cursor is None:
            return None
        return CLOCKS[self.columns[self.cursor].sql] or f"nextval({text(self.sequence)})"

    @property
    def plain(self) -> list[str]:
        """Return the columns that are neither key nor cursor, nor lead to a parent, nor mark deleted rows."""
        taken = {*self.key, *self.refs, self.cursor, self.gone}
        return [name for name in self.columns if name not in taken]

    def part(self, name: str) -> str:
        """Return a partition, child or base of this table."""
        return f"{quoted(self.schema)}.{quoted(f'{self.name[:20]} {name}')}"

    def key_text(self, alias: str) -> str:
        """Return the expression of a text by which rows are told apart."""
        return f"jsonb_build_array({', '.join(f'{alias}.{quoted(name)}::text' for name in self.key)})::text"

    def settings(self) -> dict[str, Any]:
        """Return the mirror's settings."""
        found: dict[str, Any] = {"from": self.place, "max_delete_fraction": 1.0}
        if self.proof != "primary":
            found["primary_key"] = list(self.key)
        if self.cursor is not None:
            found["cursor"] = self.cursor
        if self.gone is not None:
            found["soft_delete"] = f"{quoted(self.gone)} and true"
        return found | ({"exclude": list(self.excluded)} if self.excluded else {})

    def row(self, dice: random.Random, key: Sequence[str], clock: str | None) -> list[str]:
        """Return the values of a new row, in the order of the columns."""
        values = dict(zip(self.key, key, strict=True))
        if self.parent is not None:
            chosen = dice.choice(self.parent.pool)
            values |= dict(zip(self.refs, chosen, strict=True))
        if self.cursor is not None and clock is not None:
            values[self.cursor] = clock
        if self.gone is not None:
            values[self.gone] = dice.choice(["false", "null", "false", "true"])
        casts = {name: values.get(name) or self.value(dice, name) for name in self.columns}
        return [f"({value})::{self.columns[name].sql}" for name, value in casts.items()]

    def value(self, dice: random.Random, name: str) -> str:
        """Return a random value of a column, NULL now and then."""
        return "null" if dice.random() < 0.15 else self.columns[name].value(dice)

    def insert(self, rows: Iterable[Sequence[str]], into: str | None = None) -> str:
        """Return the INSERT of rows whose keys are free; it returns their key texts."""
        names = ", ".join(map(quoted, self.columns))
        values = ", ".join(f"({', '.join(row)})" for row in rows)
        of_row, of_other, of_value = map(self.key_text, "rov")
        once = f"select distinct on ({of_value}) * from (values {values}) as v ({names})"
        free = f"not exists (select from {self.place} as o where {of_other} = {of_value})"
        target = f"{into or self.place} as r ({names})"
        return f"insert into {target} select {names} from ({once}) as v where {free} returning {of_row}"

    def create(self, dice: random.Random) -> list[str]:
        """Return the statements that make the table and fill it."""
        columns = [f"{quoted(name)} {kind.sql}" for name, kind in self.columns.items()]
        names = ", ".join(map(quoted, self.key))
        proof = {"primary": f"primary key ({names})", "unique": f"unique ({names})"}.get(
            "primary" if self.layout == "view" else self.proof
        )
        body = ", ".join([*columns, *([proof] if proof else [])])
        by = f" partition by range ({quoted(self.key[0])})" if self.layout == "partitioned" else ""
        made = [f"create table {self.written} ({body}){by}"]
        if self.layout == "partitioned":
            made += [
                f"create table {self.part(one)} partition of {self.place} {self.bounds(one)}"
                for one in _PARTITIONS
            ]
        if self.layout == "parent":
            made.append(f"create table {self.part('child')} () inherits ({self.place})")
        if self.layout == "view":
            made.append(self.view())
        if self.cursor is not None and self.columns[self.cursor].sql == "int8":
            owner = f"owned by {self.written}.{quoted(self.cursor)}"
            made.insert(1, f"create sequence {self.sequence} {owner}")
        keys = dice.sample(self.pool, min(_ROWS, len(self.pool)))
        return [*made, self.insert([self.row(dice, key, self.clock) for key in keys])]

    def bounds(self, partition: str) -> str:
        """Return for which keys a partition is."""
        least, greatest = _PARTITIONS[partition]
        return f"for values from ({least}) to ({greatest})"

    def view(self) -> str:
        """Return the statement that makes the view, or makes it show other rows."""
        where = f"where {quoted(self.key[0])} is not null or {str(self.turned).lower()}"
        half = f"{where} and length({self.key_text('b')}) % 7 <> 3" if self.turned else where
        return f"create or replace view {self.place} as select * from {self.written} as b {half}"


def random_table(
    dice: random.Random, number: int, names: list[str], mirrors: list[str], parent: Table | None
) -> Table:
    """Return a table with names that are taken from `names` and `mirrors`."""
    layout, mirror = dice.choice(LAYOUTS), mirrors.pop()
    kinds = [kind for kind in KINDS if kind.keys]
    columns = {names.pop(): dice.choice(kinds) for _ in range(dice.choice([1, 1, 2, 3]))}
    if layout == "partitioned":
        columns[next(iter(columns))] = BY_SQL["int4"]
    key = tuple(columns)
    pool = [tuple(_key_value(dice, columns[name]) for name in key) for _ in range(_POOL)]
    if layout == "partitioned":
        pool = [(str(dice.randint(-300, 900)), *rest) for _, *rest in pool]
    proofs = {"plain": ["primary", "primary", "unique", "none"], "partitioned": ["primary", "unique"]}
    proof = dice.choice(proofs.get(layout, ["none"]))
    if proof == "unique" and layout == "plain":
        pool.append(("null",) * len(key))
    cursor = names.pop() if dice.random() < 0.9 else None
    if cursor is not None:
        columns[cursor] = BY_SQL[dice.choice(sorted(CLOCKS))]
    refs = tuple(names.pop() for _ in parent.key) if parent is not None else ()
    columns |= dict(zip(refs, [parent.columns[name] for name in parent.key] if parent else [], strict=True))
    gone = names.pop() if dice.random() < 0.3 else None
    if gone is not None:
        columns[gone] = BY_SQL["bool"]
    columns |= {names.pop(): dice.choice(KINDS) for _ in range(dice.randint(3, 6))}
    schema, relation = f"s{number} {names.pop()}"[:40], f"t {names.pop()}"[:50]
    free = [names.pop() for _ in range(3)]
    pinned = {*key, *refs, *filter(None, [cursor, gone])}
    return Table(
        mirror, schema, relation, layout, key, proof, columns, cursor, gone, pool, free, parent, refs, pinned
    )


def _key_value(dice: random.Random, kind: Kind) -> str:
    value = kind.value(dice)
    return f"({value} + 0::float8)" if kind.sql == "float8" else value  # 0 and -0 are one key
