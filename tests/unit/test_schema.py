"""Which columns a mirror gains or widens, and which changes are refused (§9)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.errors import SchemaChangeError
from iceberg_datamart.reading import Column
from iceberg_datamart.schema import SchemaChange, fits, schema_change, unfit_for_glue

plain = st.sampled_from(
    ["int", "long", "float", "double", "boolean", "string", "binary", "date", "timestamp", "timestamptz"]
)
decimals = st.integers(1, 38).flatmap(
    lambda precision: st.integers(0, precision).map(lambda scale: f"decimal({precision}, {scale})")
)
kinds = plain | decimals | st.builds("list<{}>".format, plain)


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


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ("int", "long"),
        ("float", "double"),
        ("decimal(9, 2)", "decimal(10, 2)"),
        ("decimal(9,2)", "decimal(9, 2)"),
    ],
)
def test_a_promotion_of_iceberg_fits(narrow: str, wide: str) -> None:
    assert fits(narrow, wide)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("int", "string"),
        ("string", "int"),
        ("long", "double"),
        ("int", "decimal(10, 0)"),
        ("decimal(10, 2)", "decimal(10, 3)"),
        ("decimal(10, 2)", "decimal(12, 4)"),
        ("date", "timestamp"),
        ("timestamp", "timestamptz"),
        ("list<int>", "list<string>"),
        ("int", "list<int>"),
        ("boolean", "int"),
    ],
)
def test_a_change_that_iceberg_cannot_follow_is_refused_with_both_types_and_the_mend(
    old: str, new: str
) -> None:
    with pytest.raises(SchemaChangeError) as caught:
        change({"id": "long", "amount": new}, {"id": "long", "amount": old}, ("id",))
    assert f"'amount' changed from {old} to {new}" in caught.value.message
    assert "tables.queue.columns.amount.type" in caught.value.hint
    assert "Nothing was written to 'queue'" in caught.value.hint


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
