"""A mart's names, keys and joins; that its maintenance is exact is in test_mart_shape_maintenance.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.mart.shape import MartShape, MirrorShape, mart_shape
from iceberg_datamart.core.settings.model import MartConfig
from iceberg_datamart.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

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


@pytest.mark.parametrize("name", ["_datamart", "_DATAMART"])
def test_a_name_that_the_marts_sql_needs_is_refused_also_where_a_prefix_makes_it(name: str) -> None:
    mirrors = {
        "account": MirrorShape(("id", "row"), ("id",)),
        name: MirrorShape(("id", "row"), ("id",)),
    }
    with pytest.raises(ConfigError, match=rf"marts\.m: it cannot have a column '{name}_row'"):
        shape({"table": name, "on": ["id"]}, mirrors=mirrors)
    with pytest.raises(ConfigError, match="cannot have a column '_file'"):
        shape(METADATA, expressions={"_file": "name"})


def test_names_that_differ_in_case_alone_collide() -> None:
    mirrors = {"account": MirrorShape(("id", "Name"), ("id",)), "b": MirrorShape(("id", "name"), ("id",))}
    found = shape({"table": "b", "on": ["id"]}, mirrors=mirrors)
    assert found.columns == ("id", "account_Name", "b_name")


def test_a_column_that_is_named_like_a_prefixed_one_gets_its_own_prefix() -> None:
    mirrors = {
        **SIX,
        "settlement": MirrorShape(("transaction_id", "queue_id", "queue_name"), ("transaction_id",)),
    }
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
        (
            {"table": "settlement", "on": ["queue_id"]},
            "no table joined before 'settlement' has the columns queue_id",
        ),
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
    assert not shape({**QUEUE, "how": "left"}, SETTLEMENT).nullable_key
    assert shape({**QUEUE, "how": "left"}).nullable_key


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
    for each in variants:
        assert [other for other in variants if other.is_defined_by(each.definition)] == [each]


# The digest of the mart below as commit 72d2f93 computed it.
BEFORE = "a243a1875a92a659"


def test_a_definition_written_before_it_was_free_of_spark_s_text_is_still_known() -> None:
    assert shape(METADATA, QUEUE, filter="legal_name IS NOT NULL").is_defined_by(BEFORE)
    assert not shape(METADATA, QUEUE).is_defined_by(BEFORE)


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
