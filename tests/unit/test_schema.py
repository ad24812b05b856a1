"""Which columns a mirror gains or widens, and which changes are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.names import unfit_for_glue
from iceberg_datamart.core.plan.schema import (
    EVOLVE,
    FAIL,
    IGNORE,
    SchemaChange,
    fits,
    incompatible_columns,
    recorded_column_ids,
    renumbered,
    require_allowed,
    schema_change,
    unread_columns,
)
from iceberg_datamart.core.source.reads import SourceTable
from iceberg_datamart.errors import SchemaChangeError

plain = st.sampled_from(
    ["int", "long", "float", "double", "boolean", "string", "binary", "date", "timestamp", "timestamptz"]
)
decimals = st.integers(1, 38).flatmap(
    lambda precision: st.integers(0, precision).map(lambda scale: f"decimal({precision}, {scale})")
)
kinds = plain | decimals | st.builds("list<{}>".format, plain | decimals)
# Every type that a mirror can have, lists of them included.
SINGLE = (
    *("int", "long", "float", "double", "boolean", "string", "binary", "date", "timestamp", "timestamptz"),
    *("decimal(9, 2)", "decimal(10, 2)", "decimal(38, 2)", "decimal(10, 0)", "decimal(10, 4)"),
)
ALL = (*SINGLE, *(f"list<{kind}>" for kind in SINGLE))
_WIDER = (
    ("int", "long"),
    ("float", "double"),
    ("decimal(9, 2)", "decimal(10, 2)"),
    ("decimal(9, 2)", "decimal(38, 2)"),
    ("decimal(10, 2)", "decimal(38, 2)"),
)
WIDER = {*_WIDER, *((f"list<{old}>", f"list<{new}>") for old, new in _WIDER)}


def change(wanted: dict[str, str], present: dict[str, str], key: tuple[str, ...] = ()) -> SchemaChange:
    return schema_change("queue", [Column(name, kind) for name, kind in wanted.items()], present, key)


@given(kinds)
def test_every_type_fits_itself(kind: str) -> None:
    assert fits(kind, kind)


@given(kinds, kinds, kinds)
def test_what_fits_twice_fits_at_once(narrow: str, middle: str, wide: str) -> None:
    if fits(narrow, middle) and fits(middle, wide):
        assert fits(narrow, wide)


@given(kinds, kinds)
def test_only_the_same_type_fits_both_ways(one: str, other: str) -> None:
    assert (fits(one, other) and fits(other, one)) == (one == other)


@pytest.mark.parametrize("new", ALL)
@pytest.mark.parametrize("old", ALL)
def test_of_every_pair_of_types_a_wider_one_is_followed_a_narrower_one_fits_and_all_others_are_refused(
    old: str, new: str
) -> None:
    wanted, present = {"id": "long", "amount": new}, {"id": "long", "amount": old}
    if old == new or (new, old) in WIDER:
        assert change(wanted, present, ("id",)) == SchemaChange()
    elif (old, new) in WIDER:
        assert change(wanted, present, ("id",)) == SchemaChange(widened=(Column("amount", new),))
    else:
        with pytest.raises(SchemaChangeError) as caught:
            change(wanted, present, ("id",))
        assert f"'amount' changed from {old} to {new}" in caught.value.message
        assert "tables.queue.columns.amount.type" in caught.value.hint
        assert "backfill --table queue" in caught.value.hint
        assert "Nothing was written to 'queue'" in caught.value.hint


@pytest.mark.parametrize(
    ("narrow", "wide"), [("decimal(9,2)", "decimal(9, 2)"), ("list<list<int>>", "list<list<long>>")]
)
def test_a_type_fits_however_it_is_spelled_and_however_deep_it_lies(narrow: str, wide: str) -> None:
    assert fits(narrow, wide)


def test_all_impossible_columns_are_told_at_once_each_with_both_types() -> None:
    with pytest.raises(SchemaChangeError) as caught:
        change({"a": "string", "b": "long", "c": "int"}, {"a": "int", "b": "int", "c": "date"})
    assert caught.value.message.endswith(": 'a' from int to string, 'c' from date to int")
    assert "tables.queue.columns.<name>.type" in caught.value.hint


@given(st.dictionaries(st.sampled_from("abcdef"), kinds), st.dictionaries(st.sampled_from("abcdef"), kinds))
def test_without_its_unlike_columns_any_change_is_followed(
    wanted: dict[str, str], present: dict[str, str]
) -> None:
    unlike = incompatible_columns([Column(name, kind) for name, kind in wanted.items()], present)
    change(wanted, {name: kind for name, kind in present.items() if name not in unlike})


def test_a_key_column_is_never_recreated() -> None:
    assert incompatible_columns(
        [Column("id", "string"), Column("v", "int")], {"id": "int", "v": "date"}, ["id"]
    ) == ("v",)


def test_a_new_column_is_added_in_the_sources_order() -> None:
    found = change({"z": "int", "id": "long", "a": "string"}, {"id": "long"})
    assert found == SchemaChange(added=(Column("z", "int"), Column("a", "string")))


def test_a_wider_column_is_widened() -> None:
    found = change({"n": "long", "d": "decimal(12, 2)"}, {"n": "int", "d": "decimal(10, 2)"})
    assert found == SchemaChange(widened=(Column("n", "long"), Column("d", "decimal(12, 2)")))


def test_a_narrower_column_fits_the_mirror_as_it_is() -> None:
    assert change({"n": "int", "f": "float"}, {"n": "long", "f": "double"}) == SchemaChange()


def test_a_dropped_column_is_kept_and_said() -> None:
    assert change({"id": "long"}, {"id": "long", "old": "int", "gone": "int"}).absent == ("gone", "old")


def test_a_key_column_that_the_mirror_lacks_is_refused() -> None:
    with pytest.raises(SchemaChangeError, match="'queue_id'"):
        change({"id": "long", "queue_id": "long"}, {"id": "long"}, ("queue_id",))


def test_the_same_columns_are_no_change() -> None:
    columns = {"id": "long", "amount": "decimal(18, 2)"}
    assert change(columns, columns, ("id",)) == SchemaChange()


@given(st.dictionaries(st.sampled_from("abcdef"), kinds), st.dictionaries(st.sampled_from("abcdef"), kinds))
def test_after_the_change_every_value_of_the_source_has_its_column(
    wanted: dict[str, str], present: dict[str, str]
) -> None:
    try:
        found = change(wanted, present)
    except SchemaChangeError:
        shared = set(wanted) & set(present)
        assert any(not fits(wanted[n], present[n]) and not fits(present[n], wanted[n]) for n in shared)
        return
    after = {**present, **{column.name: column.type for column in (*found.added, *found.widened)}}
    assert set(after) == set(wanted) | set(present)
    assert all(fits(kind, after[name]) for name, kind in wanted.items())
    assert all(fits(kind, after[name]) for name, kind in present.items())
    assert set(found.absent) == set(present) - set(wanted)


@pytest.mark.parametrize("names", [["id", "isGone", "größe", "a b", "tab\there", "😀"], ["x" * 255], []])
def test_glue_takes_names_of_any_signs_in_one_line(names: list[str]) -> None:
    assert unfit_for_glue(names) is None


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["id", "ID"], "'id' and 'ID' differ by case alone"),
        (["GRÖSSE", "x", "grösse"], "'GRÖSSE' and 'grösse' differ by case alone"),
        (["new\nline"], "'new\\nline' is not one line"),
        (["bell\a"], "is not one line"),
        (["ä" * 128], "is not one line of 1 to 255 bytes"),
        ([""], "is not one line of 1 to 255 bytes"),
    ],
)
def test_names_that_glue_or_athena_cannot_have_are_told(names: list[str], words: str) -> None:
    assert words in str(unfit_for_glue(names))


# --- columns by their numbers


NUMBERS = {"id": 1, "a": 2, "b": 3}


@pytest.mark.parametrize(
    ("recorded", "present", "renamed", "recreated"),
    [
        (NUMBERS, NUMBERS, (), ()),
        (NUMBERS, {"id": 1, "b": 3, "a": 2}, (), ()),
        (NUMBERS, {**NUMBERS, "c": 4}, (), ()),
        (NUMBERS, {"id": 1, "a": 2}, (), ()),
        (NUMBERS, {"id": 1, "a": 2, "c": 3}, (("b", "c"),), ()),
        (NUMBERS, {"id": 1, "a": 2, "b": 4}, (), ("b",)),
        (NUMBERS, {"id": 1, "a": 3, "b": 2}, (("b", "a"), ("a", "b")), ()),
        (NUMBERS, {"id": 1, "a": 2, "c": 3, "b": 4}, (("b", "c"),), ("b",)),
        (NUMBERS, {"id": 1, "a": 3}, (("b", "a"),), ()),
        ({**NUMBERS, "b": 0}, NUMBERS, (), ("b",)),
        ({}, NUMBERS, (), ()),
        (NUMBERS, {}, (), ()),
    ],
    ids=[
        *("the same", "in another order", "a new one", "one dropped", "one renamed", "one recreated"),
        *("swapped", "renamed, and another of its old name", "dropped, and another renamed to it"),
        *("one that was gone", "nothing recorded", "no numbers in the source"),
    ],
)
def test_numbers_tell_which_columns_were_renamed_or_recreated(
    recorded: dict[str, int],
    present: dict[str, int],
    renamed: tuple[tuple[str, str], ...],
    recreated: tuple[str, ...],
) -> None:
    found = renumbered(SchemaChange(), recorded, present)
    assert (found.renamed, found.recreated) == (renamed, recreated)
    assert (found.full_load_reason is None) == (not renamed and not recreated)


@given(st.permutations("abc"), st.sets(st.sampled_from("abc")), st.sets(st.sampled_from("abc")))
def test_what_a_commit_recorded_is_no_news_to_the_next(
    names: list[str], gone: set[str], mirrored: set[str]
) -> None:
    numbers = {name: number for number, name in enumerate(names, start=1) if name not in gone}
    recorded = recorded_column_ids(numbers, mirrored)
    assert renumbered(SchemaChange(), recorded, numbers).full_load_reason is None
    assert set(recorded) == (set(numbers) | mirrored if numbers else set())
    assert recorded_column_ids(numbers, recorded) == recorded


def test_a_source_without_numbers_records_none() -> None:
    assert recorded_column_ids({}, ["id", "old"]) == {}


def test_why_all_rows_are_read_names_each_column() -> None:
    found = SchemaChange(renamed=(("a", "b"),), recreated=("c",))
    assert found.full_load_reason == (
        "column 'b' is new under this name: it was 'a'; column 'c' was dropped and recreated"
    )


CHANGE = SchemaChange(
    added=(Column("memo", "string"), Column("b", "int")),
    widened=(Column("amount", "decimal(12, 2)"),),
    absent=("a", "old"),
    renamed=(("a", "b"),),
    recreated=("c",),
)
PRESENT = {"amount": "decimal(10, 2)", "a": "int", "c": "int", "old": "date"}


def test_each_change_is_said_once() -> None:
    assert CHANGE.new == ("memo",)
    assert CHANGE.sentences(PRESENT) == (
        "renames 'a' to 'b'",
        "recreates 'c'",
        "adds 'memo' string",
        "widens 'amount' decimal(10, 2) to decimal(12, 2)",
        "'old' is gone from the source",
    )


def test_evolve_allows_every_change() -> None:
    require_allowed("queue", CHANGE, PRESENT, EVOLVE)


def test_fail_names_each_change_and_the_mend() -> None:
    with pytest.raises(SchemaChangeError) as caught:
        require_allowed("queue", CHANGE, PRESENT, FAIL)
    assert all(words in caught.value.message for words in CHANGE.sentences(PRESENT))
    assert "tables.queue.on_schema_change: evolve" in caught.value.hint
    assert "Nothing was written to 'queue'" in caught.value.hint
    require_allowed("queue", SchemaChange(), PRESENT, FAIL)


def test_ignore_refuses_what_would_lose_values_alone() -> None:
    with pytest.raises(SchemaChangeError, match=r"widens 'amount'.*the mirror keeps its types") as caught:
        require_allowed("queue", CHANGE, PRESENT, IGNORE)
    assert "memo" not in caught.value.message
    require_allowed("queue", SchemaChange(absent=("old",), recreated=("c",)), PRESENT, IGNORE)


def test_where_new_columns_are_ignored_key_and_cursor_are_read_all_the_same() -> None:
    columns = tuple(Column(name, "int") for name in ("id", "at", "v", "new"))
    source = SourceTable("fake:1", columns, ("id",), key_is_unique=True)
    assert unread_columns(source, ["v"], "at") == ("new",)
