"""A mart's names and keys, and the proof that its maintenance finds every row that a change touches (R8)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceberg_datamart.config import MartConfig
from iceberg_datamart.errors import ConfigError
from iceberg_datamart.mart import Delta, MartShape, MirrorShape, changed_keys_sql, mart_shape, restricted_sql
from iceberg_datamart.sql import changeset_sql
from sqlite_engine import Engine, needs_full_join

if TYPE_CHECKING:
    from collections.abc import Mapping

Row = tuple[Any, ...]
Tables = dict[str, dict[Row, Row]]

SIX = {
    "account": MirrorShape(("account_id", "name", "updated_at"), ("account_id",)),
    "account_metadata": MirrorShape(("account_id", "legal_name", "updated_at"), ("account_id",)),
    "queue": MirrorShape(("queue_id", "account_id", "name", "updated_at"), ("queue_id",)),
    "settlement": MirrorShape(("transaction_id", "queue_id", "amount"), ("transaction_id",)),
}


def mart(*joins: dict[str, Any], **others: Any) -> MartConfig:
    return MartConfig.model_validate({"from": "account", "joins": list(joins), **others})


def shape(*joins: dict[str, Any], mirrors: Mapping[str, MirrorShape] = SIX, **others: Any) -> MartShape:
    return mart_shape("m", mart(*joins, **others), mirrors)


METADATA = {"table": "account_metadata", "on": ["account_id"]}
QUEUE = {"table": "queue", "on": ["account_id"]}
SETTLEMENT = {"table": "settlement", "on": ["queue_id"]}


# --- names


def test_join_keys_appear_once_and_colliding_names_get_their_table() -> None:
    assert shape(METADATA, QUEUE, SETTLEMENT).columns == (
        "account_id",
        "account_name",
        "account_updated_at",
        "legal_name",
        "account_metadata_updated_at",
        "queue_id",
        "queue_name",
        "queue_updated_at",
        "transaction_id",
        "amount",
    )


def test_the_key_is_the_union_of_the_primary_keys() -> None:
    assert shape(METADATA, QUEUE, SETTLEMENT).key == ("account_id", "queue_id", "transaction_id")


def test_a_join_key_shows_as_the_column_of_the_topmost_parent() -> None:
    found = shape(METADATA, {"table": "queue", "on": ["account_id"], "to": "account_metadata"})
    assert found.output_of("queue", "account_id") == "account_id"
    assert found.output_of("account_metadata", "account_id") == "account_id"
    assert found.output_of("queue", "name") == "queue_name"


def test_names_that_differ_in_case_alone_collide() -> None:
    mirrors = {"account": MirrorShape(("id", "Name"), ("id",)), "b": MirrorShape(("id", "name"), ("id",))}
    found = shape({"table": "b", "on": ["id"]}, mirrors=mirrors)
    assert found.columns == ("id", "account_Name", "b_name")


def test_a_column_that_is_named_like_a_prefixed_one_gets_its_own_prefix() -> None:
    mirrors = {**SIX, "settlement": MirrorShape(("transaction_id", "queue_id", "queue_name"), ("transaction_id",))}
    found = shape(QUEUE, SETTLEMENT, mirrors=mirrors)
    assert found.output_of("queue", "name") == "queue_name"
    assert found.output_of("settlement", "queue_name") == "settlement_queue_name"


def test_two_columns_that_would_have_one_name_are_refused() -> None:
    mirrors = {
        "account": MirrorShape(("id", "b_c_d", "x"), ("id",)),
        "b": MirrorShape(("id", "c_d", "x"), ("id",)),
        "b_c": MirrorShape(("id", "d", "c_d"), ("id",)),
        "account_b": MirrorShape(("id", "c_d", "d"), ("id",)),
    }
    joins = [{"table": name, "on": ["id"]} for name in ("b", "b_c", "account_b")]
    with pytest.raises(ConfigError, match="two columns would both be named"):
        shape(*joins, mirrors=mirrors)


def test_an_expression_that_takes_the_name_of_a_shown_column_is_refused() -> None:
    with pytest.raises(ConfigError, match="legal_name"):
        shape(METADATA, expressions={"legal_name": "upper(legal_name)"})


def test_an_expression_may_take_the_name_of_a_column_that_is_not_shown() -> None:
    found = shape(METADATA, columns=["name"], expressions={"legal_name": "upper(legal_name)"})
    assert found.columns == ("account_id", "name", "legal_name")


def test_a_selection_keeps_the_key_and_what_left_joins_are_found_by() -> None:
    left = {"table": "queue", "on": {"name": "name"}, "how": "left"}
    found = shape(left, columns=["queue_updated_at"])
    assert found.key == ("account_account_id", "queue_id")
    assert found.columns == ("account_account_id", "name", "queue_id", "queue_updated_at")


def test_a_selected_column_that_no_table_has_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="'updated_at'") as caught:
        shape(METADATA, columns=["updated_at"])
    assert "account_updated_at" in caught.value.hint


@pytest.mark.parametrize(
    ("join", "message"),
    [
        ({"table": "queue", "on": ["nothing"]}, "table 'queue' has no column 'nothing'"),
        ({"table": "settlement", "on": ["queue_id"]}, "no table joined before 'settlement' has the columns queue_id"),
        ({"table": "queue", "on": {"legal_name": "name"}, "to": "account"}, "has the columns legal_name"),
    ],
)
def test_a_join_on_columns_that_are_not_there_is_refused(join: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        shape(join)
    assert message in caught.value.message
    assert "marts.m.joins[0]" in caught.value.message


def test_the_parent_is_the_first_table_that_has_the_columns() -> None:
    parents = [node.parent for node in shape(METADATA, QUEUE, SETTLEMENT).nodes]
    assert parents == [None, "account", "account", "queue"]


# --- kinds of joins


def kinds(*joins: dict[str, Any]) -> list[str]:
    return [node.how for node in shape(*joins).nodes]


def test_an_inner_join_below_makes_a_left_join_inner() -> None:
    assert kinds(METADATA, {**QUEUE, "how": "left"}, SETTLEMENT) == ["inner", "inner", "inner", "inner"]


def test_a_left_join_stays_left_above_left_joins_and_beside_inner_ones() -> None:
    assert kinds(METADATA, {**QUEUE, "how": "left"}, {**SETTLEMENT, "how": "left"}) == [
        "inner",
        "inner",
        "left",
        "left",
    ]


def test_keys_may_be_null_only_where_a_left_join_is_left() -> None:
    assert not shape({**QUEUE, "how": "left"}, SETTLEMENT).null_safe
    assert shape({**QUEUE, "how": "left"}).null_safe


# --- the definition


def test_the_same_settings_make_the_same_definition() -> None:
    assert shape(METADATA, QUEUE).definition == shape(METADATA, QUEUE).definition


def test_every_setting_that_changes_rows_changes_the_definition() -> None:
    left = {**QUEUE, "how": "left"}
    other_parent = {"table": "queue", "on": ["account_id"], "to": "account_metadata"}
    wider = {**SIX, "queue": MirrorShape((*SIX["queue"].columns, "note"), ("queue_id",))}
    other_key = {**SIX, "queue": MirrorShape(SIX["queue"].columns, ("queue_id", "account_id", "name"))}
    variants = [
        shape(METADATA, QUEUE),
        shape(METADATA, left),
        shape(METADATA, other_parent),
        shape(METADATA),
        shape(METADATA, QUEUE, filter="legal_name IS NOT NULL"),
        shape(METADATA, QUEUE, columns=["legal_name"]),
        shape(METADATA, QUEUE, expressions={"twice": "queue_id * 2"}),
        shape(METADATA, QUEUE, mirrors=wider),
        shape(METADATA, QUEUE, mirrors=other_key),
    ]
    assert len({each.definition for each in variants}) == len(variants)


# --- any tree

COLUMNS = ("id", "ID", "x", "a_x", "b_x", "a_b_x", "A_x")


@st.composite
def any_tree(draw: st.DrawFn) -> tuple[MartConfig, dict[str, MirrorShape]]:
    tables = draw(st.lists(st.sampled_from(["a", "b", "a_b", "c"]), min_size=2, max_size=4, unique=True))
    mirrors, joins = {}, []
    for name in tables:
        columns = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, unique=True))
        key = draw(st.lists(st.sampled_from(columns), min_size=1, max_size=2, unique=True))
        mirrors[name] = MirrorShape(tuple(columns), tuple(key))
    for position, name in enumerate(tables[1:], 1):
        parent = draw(st.sampled_from(tables[:position]))
        pair = st.tuples(st.sampled_from(mirrors[parent].columns), st.sampled_from(mirrors[name].columns))
        on = dict(draw(st.lists(pair, min_size=1, max_size=2)))
        joins.append({"table": name, "on": on, "how": draw(st.sampled_from(["inner", "left"])), "to": parent})
    return MartConfig.model_validate({"from": tables[0], "joins": joins}), mirrors


@given(any_tree())
def test_names_are_unique_whatever_their_case_and_the_same_each_time(
    tree: tuple[MartConfig, dict[str, MirrorShape]],
) -> None:
    config, mirrors = tree
    try:
        found = mart_shape("m", config, mirrors)
    except ConfigError as error:
        assert "two columns would both be named" in error.message  # noqa: PT017  (or none is raised)
        return
    assert mart_shape("m", config, mirrors) == found
    assert len({name.lower() for name in found.columns}) == len(found.columns)


@given(any_tree(), st.data())
def test_what_maintenance_needs_is_always_selected(
    tree: tuple[MartConfig, dict[str, MirrorShape]], data: st.DataObject
) -> None:
    config, mirrors = tree
    try:
        names = mart_shape("m", config, mirrors).columns
    except ConfigError:
        return
    some = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    found = mart_shape("m", config.model_copy(update={"columns": tuple(some)}), mirrors)
    assert {*found.key, *some} <= set(found.selected) <= set(names)
    for node in found.nodes:
        assert {found.output_of(node.table, column) for column in node.shape.primary_key} <= set(found.key)
        if node.how == "left":
            parents = {found.output_of(node.parent or "", column) for column, _ in node.on}
            assert parents <= set(found.selected)


# --- maintenance, run by SQLite on small data

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
    """One mart and its mirrors in SQLite, maintained with the statements that the lake runs."""

    def __init__(self, shape: MartShape, before: Tables, now: Tables) -> None:
        self.shape, self.engine = shape, Engine()
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
        return self.shape.join_sql({table: f"`{table}_{when}`" for table in self.shape.tables})

    def arms(self) -> list[tuple[Any, str, str]]:
        changed = [node for node in self.shape.nodes if self.before[node.table] != self.now[node.table]]
        found = []
        for node in changed:
            deletes = bool(set(self.before[node.table]) - set(self.now[node.table]))
            delta = Delta(f"`{node.table}_now`", f"`{node.table}_before`", ("new",), deletes)
            keys = f"({changed_keys_sql(delta, node.shape.primary_key)})"
            arm = self.shape.arm(node.table, delta, keys)
            found.append((arm, f"({arm.keys})", "true"))
        return found

    def changes(self) -> list[Row]:
        """Return the changeset that the lake merges, each row with its change."""
        arms = self.arms()
        if not arms:
            return []
        names = self.shape.columns
        new = restricted_sql(f"({self.join('now')})", names, arms)
        old = restricted_sql("`mart`", names, arms)
        select = changeset_sql(
            new=f"({new})",
            old=f"({old})",
            key=self.shape.key,
            columns=names,
            full=True,
            null_safe=self.shape.null_safe,
        )
        return self.engine.rows(select)

    def taken(self, relation: str) -> set[Row]:
        """Return the rows of a relation that any arm takes."""
        arms = self.arms()
        return set(self.engine.rows(restricted_sql(relation, self.shape.columns, arms))) if arms else set()

    def key_of(self, row: Row) -> Row:
        return tuple(row[self.shape.columns.index(name)] for name in self.shape.key)

    def merged(self) -> list[Row]:
        """Return the mart's rows after the MERGE; refuse what a MERGE would."""
        rows = {self.key_of(row): row for row in self.old_rows}
        for *values, change in self.changes():
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
@settings(max_examples=150, deadline=None)
@given(histories())
def test_r8_the_maintained_mart_equals_the_join_of_its_mirrors(
    history: tuple[MartShape, Tables, Tables],
) -> None:
    maintained = MaintainedMart(*history)
    assert in_any_order(maintained.merged()) == in_any_order(maintained.new_rows)
    maintained.engine.close()


@settings(max_examples=80, deadline=None)
@given(histories())
def test_r8_every_row_that_differs_is_taken_by_some_arm(history: tuple[MartShape, Tables, Tables]) -> None:
    maintained = MaintainedMart(*history)
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
    if not maintained.shape.null_safe:
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
    assert restricted_sql("`mart`", ["a", "b"], []) == "SELECT r.`a`, r.`b` FROM `mart` AS r"
