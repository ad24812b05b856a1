"""Random marts over random tables: their settings, and the same join for PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.fuzz.schemas import quoted

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

    from support.fuzz.kinds import Kind
    from support.fuzz.schemas import Table

# By type: expressions in Spark's SQL and in PostgreSQL's. Those of the last line are true or false.
_TEXTS = [
    ("length({c})", "length({c})"),
    ("concat({c}, '!')", "({c} || '!')"),
    ("coalesce({c}, 'no')", "coalesce({c}, 'no')"),
]
_EXPRESSIONS = {
    "int4": [("CAST({c} AS BIGINT) * 3 + 1", "({c}::int8 * 3 + 1)"), ("{c} % 7", "({c} % 7)")],
    "text": _TEXTS,
    "varchar(400)": _TEXTS,
    "numeric(12,4)": [("abs({c})", "abs({c})"), ("CASE WHEN {c} > 0 THEN 'more' ELSE 'less' END",) * 2],
    "float8": [("{c} > 0",) * 2],
    "bool": [("NOT {c}",) * 2, ("coalesce({c}, true)",) * 2],
    "date": [("{c} > DATE'2000-01-01'",) * 2],
    "timestamptz": [("{c} < TIMESTAMP'2000-01-01 00:00:00Z'", "{c} < timestamptz '2000-01-01 00:00:00Z'")],
}
_ALWAYS = ("{c} IS NOT NULL", "(num_nulls({c}) = 0)")


@dataclass(frozen=True)
class Join:
    """A table that hangs on one that stands earlier, by pairs of the parent's columns and its own."""

    table: Table
    parent: Table
    on: tuple[tuple[str, str], ...]
    how: str


@dataclass
class Mart:
    """A join tree. Expressions and filter are pairs: as Spark reads them, and as PostgreSQL does."""

    name: str
    root: Table
    joins: list[Join]
    expressions: dict[str, tuple[str, str]]
    filter: tuple[str, str] | None

    @property
    def tables(self) -> list[Table]:
        return [self.root, *(join.table for join in self.joins)]

    def settings(self) -> dict[str, Any]:
        """Return the mart's settings."""
        joins = [
            {"table": j.table.name, "on": dict(j.on), "how": j.how, "to": j.parent.name} for j in self.joins
        ]
        found: dict[str, Any] = {"from": self.root.name, "joins": joins}
        found["expressions"] = {name: spark for name, (spark, _) in self.expressions.items()}
        return found | ({"filter": self.filter[0]} if self.filter else {})

    def shown(self, held: Mapping[str, Mapping[str, Kind]]) -> dict[str, str]:
        """Return the mart's columns and the expression of each; `held` are the columns of the mirrors."""
        hidden = {(join.table.name, own) for join in self.joins for _, own in join.on}
        found = {
            name: kind.shown.format(c=quoted(name))
            for table in self.tables
            for name, kind in held[table.name].items()
            if (table.name, name) not in hidden
        }
        return found | {name: sql for name, (_, sql) in self.expressions.items()}

    def select(self, held: Mapping[str, Mapping[str, Kind]], places: Mapping[str, str]) -> str:
        """Return the join for PostgreSQL, over a relation for each mirror."""
        hidden = {(join.table.name, own) for join in self.joins for _, own in join.on}
        alias = {table.name: f"j{number}" for number, table in enumerate(self.tables)}
        columns = ", ".join(
            f"{alias[table.name]}.{quoted(name)}"
            for table in self.tables
            for name in held[table.name]
            if (table.name, name) not in hidden
        )
        joins = f"{places[self.root.name]} as {alias[self.root.name]}"
        for join in self.joins:
            own, parent = alias[join.table.name], alias[join.parent.name]
            on = " and ".join(f"{own}.{quoted(o)} = {parent}.{quoted(p)}" for p, o in join.on)
            joins += f" {join.how} join {places[join.table.name]} as {own} on {on}"
        where = f" where {self.filter[1]}" if self.filter else ""
        shown = ", ".join(self.shown(held).values())
        return f"select {shown} from (select {columns} from {joins}) as j{where}"


def random_marts(dice: random.Random, tables: Sequence[Table]) -> list[Mart]:
    """Return marts of children and parents, both ways, and one of all tables that hang together."""
    children = [table for table in tables if table.parent is not None]
    child = dice.choice(children)
    assert child.parent is not None
    up = _joined(dice, child, child.parent, up=True)
    down = _joined(dice, child.parent, child, up=False)
    chain = [_joined(dice, table.parent, table, up=False) for table in children if table.parent is not None]
    return [
        _finished(dice, "up", child, [up]),
        _finished(dice, "down", child.parent, [down]),
        _finished(dice, "Mart ä-$1", tables[0], chain),
    ]


def _joined(dice: random.Random, parent: Table, table: Table, *, up: bool) -> Join:
    pairs = zip(parent.refs, table.key, strict=True) if up else zip(parent.key, table.refs, strict=True)
    return Join(table, parent, tuple(pairs), dice.choice(["inner", "left"]))


def _finished(dice: random.Random, name: str, root: Table, joins: list[Join]) -> Mart:
    expressions: dict[str, tuple[str, str]] = {}
    choices = [(table, column) for table in (root, *(j.table for j in joins)) for column in table.plain]
    for number, (table, column) in enumerate(dice.sample(choices, min(3, len(choices)))):
        table.pinned.add(column)
        pair = dice.choice([*_EXPRESSIONS.get(table.columns[column].sql, []), _ALWAYS])
        expressions[f"{name[0]} e{number}"] = _filled(pair, column)
    chosen = [(table, column) for table, column in choices if column in table.pinned]
    where = _filled(_ALWAYS, dice.choice(chosen)[1]) if chosen and dice.random() < 0.3 else None
    return Mart(name, root, joins, expressions, where)


def _filled(pair: tuple[str, str], column: str) -> tuple[str, str]:
    spark, sql = pair
    return spark.replace("{c}", "`" + column.replace("`", "``") + "`"), sql.replace("{c}", quoted(column))
