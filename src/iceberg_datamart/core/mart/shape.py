"""A mart as a join tree over mirrors: its columns, its SQL, and which of its rows a change touches (R8)."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from iceberg_datamart.core.mart.arms import Arm, each_once_sql
from iceberg_datamart.core.sql.dialect import listed, matching
from iceberg_datamart.core.sql.reserved import OTHER, ROW, is_taken
from iceberg_datamart.core.sql.spark import SPARK
from iceberg_datamart.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from iceberg_datamart.core.mart.arms import Delta, Taken
    from iceberg_datamart.core.settings.model import JoinConfig, MartConfig
    from iceberg_datamart.core.sql.dialect import Dialect


@dataclass(frozen=True)
class MirrorShape:
    """The columns and the primary key of one mirror, and the types of its columns where they are known."""

    columns: tuple[str, ...]
    primary_key: tuple[str, ...]
    types: tuple[str, ...] = ()


@dataclass(frozen=True)
class Node:
    """One table of the join tree. `on` pairs the parent's columns with its own; the root has no parent."""

    table: str
    shape: MirrorShape
    parent: str | None = None
    on: tuple[tuple[str, str], ...] = ()
    how: str = "inner"


@dataclass(frozen=True)
class Output:
    """One column of the mart, and the table and column that it shows."""

    name: str
    table: str
    column: str


@dataclass(frozen=True)
class MartShape:
    """A mart with every name resolved. `key` is the union of the primary keys, under their output names."""

    name: str
    nodes: tuple[Node, ...]
    outputs: tuple[Output, ...]
    key: tuple[str, ...]
    selected: tuple[str, ...]
    expressions: Mapping[str, str]
    filter: str | None

    @property
    def tables(self) -> tuple[str, ...]:
        """Return the joined tables, the root first."""
        return tuple(node.table for node in self.nodes)

    @property
    def nullable_key(self) -> bool:
        """Return whether key columns may be NULL, which left joins make them.

        What the mart holds may have been written as another join, so that its keys always match null-safely.
        """
        return any(node.how == "left" for node in self.nodes)

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the mart's own columns, in order, without the lineage columns."""
        return (*self.selected, *self.expressions)

    def columns_after(self, changed: Iterable[str]) -> tuple[str, ...]:
        """Return the mart's own columns that may be others in a row whose key stays, for `changed` tables.

        The key has the primary key of one row of each table, so that what the other tables show stays. But
        where a left-joined table's whole primary key shows as its parent's, the key does not tell whether
        there is a match, which may come and go with any table above. Expressions may stand on any column.
        """
        others = set(changed)
        below = set(others)
        for node in self.nodes:
            if node.parent in below:
                below.add(node.table)
                if node.how == "left" and set(node.shape.primary_key) <= {own for _, own in node.on}:
                    others.add(node.table)
        shown = {output.name for output in self.outputs if output.table in others}
        return tuple(name for name in self.columns if name in shown or name in self.expressions)

    @property
    def types(self) -> dict[str, str]:
        """Return the types of the columns that expressions and filter stand on, as far as they are known."""
        known = {n.table: dict(zip(n.shape.columns, n.shape.types, strict=False)) for n in self.nodes}
        return {o.name: known[o.table][o.column] for o in self.outputs if o.column in known[o.table]}

    @property
    def definition(self) -> str:
        """Return a digest that changes when the same mirrors would make another mart."""
        parts = (
            [(node.table, node.parent, node.on, node.how) for node in self.nodes],
            [(output.name, output.table, output.column) for output in self.outputs],
            *(self.key, self.selected, list(self.expressions.items()), self.filter),
        )
        return _digest(json.dumps(parts, ensure_ascii=False, separators=(",", ":")))

    def is_defined_by(self, digest: str) -> bool:
        """Return whether a digest is that of this definition; the first digests were of Spark's SQL."""
        if digest == self.definition:
            return True
        relations = {table: SPARK.quoted(table) for table in self.tables}
        return digest == _digest(self.join_sql(SPARK, relations) + repr(self.key))

    def joined_columns(self, table: str) -> set[str]:
        """Return the columns of a table by which it is joined with another."""
        pairs = [(node, pair) for node in self.nodes for pair in node.on]
        own = {own for node, (_, own) in pairs if node.table == table}
        return own | {parents for node, (parents, _) in pairs if node.parent == table}

    def output_of(self, table: str, column: str) -> str:
        """Return the name under which the mart shows a column; a join key shows as its parent's."""
        node = self._node(table)
        for parents, own in node.on:
            if own == column and node.parent is not None:
                return self.output_of(node.parent, parents)
        return next(o.name for o in self.outputs if (o.table, o.column) == (table, column))

    def join_sql(self, dialect: Dialect, relations: Mapping[str, str]) -> str:
        """Return the SELECT of the whole mart from `relations`, a relation for each table."""
        values, types = [dialect.quoted(name) for name in self.selected], self.types
        for name, text in self.expressions.items():
            values.append(f"{_closed(dialect.expression(text, types))} AS {dialect.quoted(name)}")
        where = f" WHERE {_closed(dialect.expression(self.filter, types))}" if self.filter else ""
        return f"SELECT {', '.join(values)} FROM ({self.outputs_sql(dialect, relations)}) AS {ROW}{where}"

    def outputs_sql(self, dialect: Dialect, relations: Mapping[str, str]) -> str:
        """Return the SELECT of all columns that the mart can show; expressions and filter stand on it."""
        quoted = dialect.quoted
        aliases = {table: f"_datamart_{position}" for position, table in enumerate(self.tables)}
        shown = ", ".join(f"{aliases[o.table]}.{quoted(o.column)} AS {quoted(o.name)}" for o in self.outputs)
        root, *others = self.nodes
        joins = [f"{relations[root.table]} AS {aliases[root.table]}"]
        for node in others:
            on = " AND ".join(
                f"{aliases[node.table]}.{quoted(own)} = {aliases[node.parent or '']}.{quoted(parents)}"
                for parents, own in node.on
            )
            joins.append(f"{node.how.upper()} JOIN {relations[node.table]} AS {aliases[node.table]} ON {on}")
        return f"SELECT {shown} FROM {' '.join(joins)}"

    def taken_sql(self, dialect: Dialect, relations: Mapping[str, str], arms: Sequence[Taken]) -> str:
        """Return the SELECT of the mart's rows that any arm takes, once each; of all of them without arms.

        An arm's keys restrict the table that shows them before it is joined. A left-joined one cannot be:
        its rows would be missed as matches, so the join is restricted.
        """
        taken = [self._joined_for(dialect, relations, arm) for arm in arms]
        whole = [] if arms else [f"({self.join_sql(dialect, relations)})"]
        return each_once_sql(dialect, taken or whole, self.columns, arms)

    def _joined_for(self, dialect: Dialect, relations: Mapping[str, str], arm: Taken) -> str:
        """Return the relation of the rows that an arm takes."""
        own = {output.name: output.column for output in self.outputs if output.name in arm.outputs}
        tables = {output.table for output in self.outputs if output.name in arm.outputs}
        if len(tables) > 1 or any(self._node(table).how == "left" for table in tables):
            return arm.rows_of(dialect, f"({self.join_sql(dialect, relations)})")
        [table] = tables
        narrowed = {**relations, table: arm.rows_of(dialect, relations[table], own)}
        if dialect.joins_in_steps:
            return f"({self._in_steps_sql(dialect, narrowed, table)})"
        return f"({self.join_sql(dialect, narrowed)})"

    def _in_steps_sql(self, dialect: Dialect, relations: Mapping[str, str], first: str) -> str:
        """Return `join_sql`, whose tables first lose the rows that match none of the table before.

        It begins at `first`, which is not left-joined, and goes from each table to those next to it.
        """
        names = {table: f"_datamart_step_{position}" for position, table in enumerate(self.tables)}
        steps, waiting = {first: self._step_sql(dialect, first, relations[first])}, [first]
        for table in waiting:
            for other, pairs in self._joined_with(table):
                if other not in steps:
                    same = " AND ".join(
                        f"{ROW}.{dialect.quoted(own)} = {OTHER}.{dialect.quoted(known)}"
                        for own, known in pairs
                    )
                    rows = dialect.among(relations[other], names[table], same)
                    steps[other] = self._step_sql(dialect, other, rows)
                    waiting.append(other)
        written = ", ".join(f"{names[table]} AS MATERIALIZED ({select})" for table, select in steps.items())
        return f"WITH {written} {self.join_sql(dialect, names)}"

    def _step_sql(self, dialect: Dialect, table: str, rows: str) -> str:
        return f"SELECT {listed(dialect, self._node(table).shape.columns, ROW)} FROM {rows} AS {ROW}"

    def _joined_with(self, table: str) -> list[tuple[str, list[tuple[str, str]]]]:
        """Return the tables next to one in the tree, each with its columns paired with those of that one."""
        node = self._node(table)
        above = [] if node.parent is None else [(node.parent, list(node.on))]
        below = [
            (n.table, [(own, parents) for parents, own in n.on]) for n in self.nodes if n.parent == table
        ]
        return above + below

    def arm(self, dialect: Dialect, table: str, delta: Delta, changed: str) -> Arm:
        """Return the mart rows that the changed rows of `table` can touch; `changed` holds their keys.

        An inner-joined table's rows are found by its own key. A left-joined one's first match replaces
        a mart row that carries NULL, and its last match leaves one, so all mart rows that share the
        parent's join value are taken: the values that the changed rows have now, and had before.
        """
        node = self._node(table)
        if node.how == "inner":
            pairs = [(name, name) for name in node.shape.primary_key]
            return self._arm(dialect, node.table, pairs, changed)
        own = tuple(own for _, own in node.on)
        by_key = matching(dialect, node.shape.primary_key, OTHER, ROW, null_safe=True)
        matches = " AND ".join(f"{ROW}.{dialect.quoted(name)} IS NOT NULL" for name in own)
        values = " UNION ".join(
            f"SELECT {listed(dialect, own, ROW)} FROM {relation} AS {ROW} "
            f"WHERE {matches} AND EXISTS (SELECT 1 FROM {changed} AS {OTHER} WHERE {by_key})"
            for relation in (delta.now, delta.before)
        )
        return self._arm(dialect, node.parent or "", node.on, f"({values})")

    def _arm(self, dialect: Dialect, table: str, pairs: Sequence[tuple[str, str]], relation: str) -> Arm:
        """Return the arm of the rows whose columns of `table` are those of `relation` paired with them."""
        outputs = tuple(self.output_of(table, column) for column, _ in pairs)
        shown = ", ".join(
            f"{dialect.quoted(own)} AS {dialect.quoted(output)}"
            for output, (_, own) in zip(outputs, pairs, strict=True)
        )
        return Arm(outputs, f"SELECT DISTINCT {shown} FROM {relation} AS {ROW}")

    def _node(self, table: str) -> Node:
        return next(node for node in self.nodes if node.table == table)


def mart_shape(name: str, config: MartConfig, mirrors: Mapping[str, MirrorShape]) -> MartShape:
    """Return the mart that the settings describe. Raises: ConfigError for names that do not resolve."""
    nodes = [Node(config.from_, mirrors[config.from_])]
    for position, join in enumerate(config.joins):
        nodes.append(_joined(nodes, join, mirrors, f"marts.{name}.joins[{position}]"))
    resolved = _inner_where_descendants_are(nodes)
    outputs = _named(name, resolved)
    _require_free(name, (*(output.name for output in outputs), *config.expressions))
    shape = MartShape(name, resolved, outputs, (), (), dict(config.expressions), config.filter)
    key = _distinct(
        shape.output_of(node.table, column) for node in resolved for column in node.shape.primary_key
    )
    needed = tuple(
        shape.output_of(node.parent or "", column)
        for node in resolved
        if node.how == "left"
        for column, _ in node.on
    )
    return replace(shape, key=key, selected=_selected(name, config, outputs, key + needed))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _joined(nodes: Sequence[Node], join: JoinConfig, mirrors: Mapping[str, MirrorShape], where: str) -> Node:
    shape = mirrors[join.table]
    for _, own in join.on:
        if own not in shape.columns:
            raise ConfigError(f"{where}: table '{join.table}' has no column '{own}'", hint="Correct `on`.")
    wanted = {parents for parents, _ in join.on}
    candidates = [n for n in nodes if join.to in (None, n.table) and wanted <= set(n.shape.columns)]
    if not candidates:
        names = ", ".join(sorted(wanted))
        hint = "Name the parent's columns in `on` as {parent column: own column}, and the parent in `to`."
        raise ConfigError(
            f"{where}: no table joined before '{join.table}' has the columns {names}", hint=hint
        )
    return Node(join.table, shape, candidates[0].table, join.on, join.how)


def _inner_where_descendants_are(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Return the tree, left joins made inner where an inner join below drops their NULL rows anyway."""
    inner: set[str | None] = set()
    for node in reversed(nodes):
        if node.how == "inner" or node.table in inner:
            inner |= {node.table, node.parent}
    return tuple(replace(n, how="inner") if n.table in inner else n for n in nodes)


def _named(mart: str, nodes: Sequence[Node]) -> tuple[Output, ...]:
    """Return all tables' columns; names that collide, whatever their case, get the table's as prefix."""
    shown = [
        Output(column, node.table, column)
        for node in nodes
        for column in node.shape.columns
        if column not in {own for _, own in node.on}
    ]
    for _ in range(2):
        counts = Counter(output.name.lower() for output in shown)
        shown = [replace(o, name=f"{o.table}_{o.column}") if counts[o.name.lower()] > 1 else o for o in shown]
    twice = [name for name, count in Counter(o.name.lower() for o in shown).items() if count > 1]
    if twice:
        hint = "Exclude one of the columns from its table."
        raise ConfigError(f"marts.{mart}: two columns would both be named '{twice[0]}'", hint=hint)
    return tuple(shown)


def _require_free(mart: str, columns: Iterable[str]) -> None:
    """Raise ConfigError where a mart would have a column of a name that its SQL or Iceberg needs."""
    taken = next(filter(is_taken, columns), None)
    if taken is not None:
        hint = "Names that begin with '_datamart_' are taken: name the table or the expression otherwise."
        raise ConfigError(f"marts.{mart}: it cannot have a column '{taken}'", hint=hint)


def _selected(
    mart: str, config: MartConfig, outputs: Sequence[Output], needed: Sequence[str]
) -> tuple[str, ...]:
    names = [output.name for output in outputs]
    shown = names if config.columns is None else [n for n in names if n in (*config.columns, *needed)]
    taken = Counter(name.lower() for name in (*shown, *config.expressions))
    twice = [name for name in config.expressions if taken[name.lower()] > 1]
    if twice:
        hint = f"Leave the column out of marts.{mart}.columns, or rename the expression."
        raise ConfigError(f"marts.{mart}.expressions: there is another column '{twice[0]}'", hint=hint)
    if config.columns is None:
        return tuple(names)
    unknown = [name for name in config.columns if name not in names]
    if unknown:
        hint = f"The mart can show: {', '.join(names)}."
        raise ConfigError(f"marts.{mart}.columns: there is no column '{unknown[0]}'", hint=hint)
    return tuple(shown)


def _closed(text: str) -> str:
    """Return SQL of the settings so that a comment at its end hides nothing behind it."""
    return f"{text}\n" if "--" in text.rpartition("\n")[2] else text


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
