"""A mart's maintenance finds every row that a change touches (R8): small data, run by SQLite."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.mart.arms import (
    Arm,
    Delta,
    Taken,
    changed_keys_sql,
    joined_arms,
    restricted_sql,
)
from iceberg_datamart.core.mart.shape import MartShape, MirrorShape, Node, mart_shape
from iceberg_datamart.core.settings.model import MartConfig
from iceberg_datamart.core.sql.bounds import one_of
from iceberg_datamart.core.sql.changeset import Sides, changeset_sql
from iceberg_datamart.core.sql.reserved import ROW
from support.oracles.sqlite_engine import SQLITE, Engine, needs_full_join

Row = tuple[Any, ...]
Tables = dict[str, dict[Row, Row]]

QUEUE = {"table": "queue", "on": ["account_id"]}
SETTLEMENT = {"table": "settlement", "on": ["queue_id"]}

small = st.none() | st.integers(0, 2)
PLAIN = MirrorShape(("id", "ref", "v"), ("id",))
TWO = MirrorShape(("id", "part", "ref", "v"), ("id", "part"))


@st.composite
def small_marts(draw: st.DrawFn) -> MartShape:
    """Return a mart of two to four tables, joined by any columns in any way, with or without a filter."""
    tables = [f"t{number}" for number in range(draw(st.integers(2, 4)))]
    mirrors = {name: draw(st.sampled_from([PLAIN, PLAIN, TWO])) for name in tables}
    joins = []
    for position, name in enumerate(tables[1:], 1):
        on = {draw(st.sampled_from(["id", "ref", "v"])): draw(st.sampled_from(["id", "ref"]))}
        if draw(st.integers(0, 4)) == 0:
            on["v"] = "v"
        parent = draw(st.sampled_from(tables[:position]))
        joins.append({"table": name, "on": on, "to": parent, "how": draw(st.sampled_from(["inner", "left"]))})
    config = {"from": "t0", "joins": joins}
    names = mart_shape("mart", MartConfig.model_validate(config), mirrors).columns
    if draw(st.booleans()):
        name = draw(st.sampled_from(names))
        config["filter"] = draw(st.sampled_from([f"`{name}` > 0", f"`{name}` IS NULL"]))
    if draw(st.booleans()):
        config["columns"] = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    return mart_shape("mart", MartConfig.model_validate(config), mirrors)


@st.composite
def small_rows(draw: st.DrawFn, shape: MirrorShape) -> dict[Row, Row]:
    keys = st.tuples(*(st.integers(0, 2) for _ in shape.primary_key))
    values = st.tuples(*(small for column in shape.columns if column not in shape.primary_key))
    return draw(st.dictionaries(keys, values, max_size=4))


@st.composite
def changed_rows(draw: st.DrawFn, shape: MirrorShape, before: dict[Row, Row]) -> dict[Row, Row]:
    """Return `before` after some inserts, updates and deletes."""
    gone = draw(st.sets(st.sampled_from(sorted(before)))) if before and draw(st.booleans()) else set()
    written = draw(small_rows(shape)) if draw(st.booleans()) else {}
    return {key: values for key, values in before.items() if key not in gone} | written


@st.composite
def histories(draw: st.DrawFn) -> tuple[MartShape, Tables, Tables]:
    """Return a mart, its mirrors when it consumed them, and its mirrors now."""
    found = draw(small_marts())
    before = {node.table: draw(small_rows(node.shape)) for node in found.nodes}
    now = {node.table: draw(changed_rows(node.shape, before[node.table])) for node in found.nodes}
    return found, before, now


class MaintainedMart:
    """One mart and its mirrors in SQLite, maintained with the statements that the lake runs.

    With `lists`, keys are said as literals wherever they can be.
    """

    def __init__(self, shape: MartShape, before: Tables, now: Tables, *, lists: bool = True) -> None:
        self.shape, self.engine, self.lists = shape, Engine(), lists
        self.before, self.now = before, now
        for node in shape.nodes:
            columns = [*node.shape.columns, "_run_id"]
            old, new = before[node.table], now[node.table]
            runs = {key: "old" if old.get(key) == values else "new" for key, values in new.items()}
            self.engine.put(f"{node.table}_before", columns, [(*k, *v, "old") for k, v in old.items()])
            self.engine.put(f"{node.table}_now", columns, [(*k, *v, runs[k]) for k, v in new.items()])
        self.old_rows, self.new_rows = self.joined("before"), self.joined("now")
        self.engine.put("mart", shape.columns, self.old_rows)

    def joined(self, when: str) -> list[Row]:
        return self.engine.rows(self.join(when))

    def join(self, when: str) -> str:
        return self.shape.join_sql(SQLITE, self.relations(when))

    def relations(self, when: str) -> dict[str, str]:
        return {table: f"`{table}_{when}`" for table in self.shape.tables}

    def arms(self) -> list[Taken]:
        arms = joined_arms(self._arm(node) for node in self._changed)
        return [self._taken(arm) for arm in arms]

    @property
    def _changed(self) -> list[Node]:
        return [node for node in self.shape.nodes if self.before[node.table] != self.now[node.table]]

    def _arm(self, node: Node) -> Arm:
        deletes = bool(set(self.before[node.table]) - set(self.now[node.table]))
        delta = Delta(f"`{node.table}_now`", f"`{node.table}_before`", ("new",), deletes)
        return self.shape.arm(
            SQLITE, node.table, delta, f"({changed_keys_sql(SQLITE, delta, node.shape.primary_key)})"
        )

    def _taken(self, arm: Arm) -> Taken:
        columns = [Column(name, "int") for name in arm.outputs]
        rows = self.engine.rows(arm.keys)
        listed = self.lists and one_of(SQLITE, columns, rows, ROW) is not None
        return Taken(arm.outputs, columns, rows, None if listed else f"({arm.keys})")

    def changes(self) -> list[Row]:
        """Return the changeset that the lake merges, each row with its change."""
        arms = self.arms()
        if not arms:
            return []
        names = self.shape.columns
        new = self.shape.taken_sql(SQLITE, self.relations("now"), arms)
        sides = Sides(f"({new})", "", self.shape.key, names, null_safe=True, compared=self.compared())
        old = restricted_sql(SQLITE, "`mart`", sides.of_old, arms)
        return self.engine.rows(changeset_sql(SQLITE, replace(sides, old=f"({old})"), full=True))

    def compared(self) -> tuple[str, ...]:
        return self.shape.columns_after(node.table for node in self._changed)

    def taken(self, relation: str) -> set[Row]:
        """Return the rows of a relation that any arm takes; refuse a row that is taken twice."""
        arms = self.arms()
        rows = self.engine.rows(restricted_sql(SQLITE, relation, self.shape.columns, arms)) if arms else []
        assert len(set(rows)) == len(rows)
        return set(rows)

    def key_of(self, row: Row) -> Row:
        return tuple(row[self.shape.columns.index(name)] for name in self.shape.key)

    def merged(self) -> list[Row]:
        """Return the mart's rows after the MERGE; refuse what a MERGE would."""
        rows = {self.key_of(row): row for row in self.old_rows}
        for *values, _, change in self.changes():
            row = tuple(values)
            assert (change == "insert") == (self.key_of(row) not in rows)
            assert rows.get(self.key_of(row)) != row or change == "delete", "an equal row is written again"
            if change == "delete":
                del rows[self.key_of(row)]
            else:
                rows[self.key_of(row)] = row
        return list(rows.values())


def in_any_order(rows: list[Row]) -> Counter[Row]:
    return Counter(rows)


@needs_full_join
@settings(max_examples=120, deadline=None)
@given(histories(), st.booleans())
def test_r8_the_maintained_mart_equals_the_join_of_its_mirrors(
    history: tuple[MartShape, Tables, Tables], lists: bool
) -> None:
    maintained = MaintainedMart(*history, lists=lists)
    assert in_any_order(maintained.merged()) == in_any_order(maintained.new_rows)
    maintained.engine.close()


@settings(max_examples=80, deadline=None)
@given(histories(), st.booleans())
def test_r8_every_row_that_differs_is_taken_by_some_arm(
    history: tuple[MartShape, Tables, Tables], lists: bool
) -> None:
    maintained = MaintainedMart(*history, lists=lists)
    old, new = set(maintained.old_rows), set(maintained.new_rows)
    assert old - new <= maintained.taken("`mart`")
    assert new - old <= maintained.taken(f"({maintained.join('now')})")
    maintained.engine.close()


@settings(max_examples=60, deadline=None)
@given(histories())
def test_no_two_rows_of_a_mart_share_its_key(history: tuple[MartShape, Tables, Tables]) -> None:
    maintained = MaintainedMart(*history)
    keys = [maintained.key_of(row) for row in maintained.new_rows]
    assert len(set(keys)) == len(keys)
    if not maintained.shape.nullable_key:
        assert not any(None in key for key in keys)
    maintained.engine.close()


def chain(how: str) -> MartShape:
    """Return account ⋈ queue on account_id ⋈ settlement on queue_id, of three small tables."""
    mirrors = {
        "account": MirrorShape(("account_id", "name"), ("account_id",)),
        "queue": MirrorShape(("queue_id", "account_id"), ("queue_id",)),
        "settlement": MirrorShape(("transaction_id", "queue_id"), ("transaction_id",)),
    }
    joins = [{**QUEUE, "how": how}, {**SETTLEMENT, "how": how}]
    return mart_shape("mart", MartConfig.model_validate({"from": "account", "joins": joins}), mirrors)


BEFORE: Tables = {
    "account": {(1,): ("a",), (2,): ("b",)},
    "queue": {(10,): (1,), (20,): (2,)},
    "settlement": {(100,): (10,), (200,): (20,)},
}


@needs_full_join
@pytest.mark.parametrize("how", ["inner", "left"])
@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("account", {(1,): ("renamed",), (2,): ("b",)}),
        ("account", {(2,): ("b",)}),
        ("queue", {(10,): (2,), (20,): (2,)}),
        ("queue", {(10,): (None,), (20,): (2,)}),
        ("queue", {(10,): (1,)}),
        ("settlement", {(100,): (20,), (200,): (20,)}),
        ("settlement", {(100,): (99,), (200,): (20,)}),
        ("settlement", {(100,): (10,)}),
        ("settlement", {}),
        ("settlement", {**BEFORE["settlement"], (300,): (10,)}),
    ],
    ids=[
        "an account renamed",
        "an account deleted",
        "a queue moved",
        "a queue without account",
        "a queue deleted",
        "a settlement moved",
        "a settlement without queue",
        "a last match deleted",
        "all deleted",
        "a second match",
    ],
)
def test_d1_a_change_on_one_side_alone_reaches_the_mart(how: str, table: str, rows: dict[Row, Row]) -> None:
    maintained = MaintainedMart(chain(how), BEFORE, {**BEFORE, table: rows})
    assert maintained.changes()
    assert in_any_order(maintained.merged()) == in_any_order(maintained.new_rows)
    maintained.engine.close()


@needs_full_join
def test_a_first_match_replaces_the_row_that_carries_nulls() -> None:
    before: Tables = {"account": {(1,): ("a",)}, "queue": {}, "settlement": {}}
    maintained = MaintainedMart(chain("left"), before, {**before, "queue": {(10,): (1,)}})
    assert maintained.old_rows == [(1, "a", None, None)]
    assert in_any_order(maintained.merged()) == in_any_order([(1, "a", 10, None)])
    maintained.engine.close()


def rated(how: str) -> MartShape:
    """Return account ⋈ rating on account_id and grade ⋈ band on grade; the key is the account's alone."""
    mirrors = {
        "account": MirrorShape(("account_id", "grade", "name"), ("account_id",)),
        "rating": MirrorShape(("account_id", "grade"), ("account_id",)),
        "band": MirrorShape(("grade", "title"), ("grade",)),
    }
    joins = [
        {"table": "rating", "on": ["account_id", "grade"], "how": how},
        {"table": "band", "on": ["grade"], "to": "rating", "how": how},
    ]
    return mart_shape("mart", MartConfig.model_validate({"from": "account", "joins": joins}), mirrors)


@needs_full_join
def test_r8_a_match_that_is_lost_further_up_takes_what_an_unchanged_table_showed() -> None:
    before: Tables = {"account": {(1,): (5, "a")}, "rating": {(1,): (5,)}, "band": {(5,): ("good",)}}
    maintained = MaintainedMart(rated("left"), before, {**before, "rating": {(1,): (6,)}})
    assert maintained.old_rows == [(1, 5, "a", "good")]
    assert maintained.merged() == [(1, 5, "a", None)]
    maintained.engine.close()


def test_what_can_change_in_a_row_is_what_changed_tables_show_and_matches_that_the_key_does_not_tell() -> (
    None
):
    assert chain("left").columns_after(["account"]) == ("account_id", "name")
    assert rated("left").columns_after(["account"]) == ("account_id", "grade", "name", "title")
    assert rated("left").columns_after(["rating"]) == ("title",)
    assert rated("left").columns_after(["band"]) == ("title",)
    assert rated("inner").columns_after(["account"]) == ("account_id", "grade", "name")
    assert rated("inner").columns_after(["rating"]) == ()


@needs_full_join
def test_r3_mirrors_that_did_not_change_leave_the_mart_alone() -> None:
    maintained = MaintainedMart(chain("left"), BEFORE, BEFORE)
    assert maintained.changes() == []
    maintained.engine.close()


def test_a_change_takes_only_the_rows_it_can_touch() -> None:
    maintained = MaintainedMart(chain("inner"), BEFORE, {**BEFORE, "queue": {(10,): (2,), (20,): (2,)}})
    assert maintained.taken("`mart`") == {(1, "a", 10, 100)}
    maintained.engine.close()


def test_without_arms_everything_is_compared() -> None:
    assert (
        restricted_sql(SQLITE, "`mart`", ["a", "b"], [])
        == f"SELECT {ROW}.`a`, {ROW}.`b` FROM `mart` AS {ROW}"
    )
