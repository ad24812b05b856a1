"""A table cut into slices: every value in one, ranges that hold theirs, differences found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.source.slices import SliceDigest, Slices, Slicing, differing

KEY = Column("id", "long", nullable=False)
numbers = st.integers(-(2**40), 2**40)
digests = st.dictionaries(
    st.integers(-5, 5), st.builds(SliceDigest, st.integers(1, 3), st.tuples(st.just(0), st.just(0)))
)


def slice_of(value: int, width: int) -> int:
    """Return the quotient cut towards zero, as SQL divides."""
    return abs(value) // width * (1 if value >= 0 else -1)


@given(st.sets(numbers, min_size=1), st.integers(1, 2000))
def test_the_ranges_of_some_slices_hold_every_value_in_them(values: set[int], count: int) -> None:
    slicing = Slicing.of(KEY, min(values), max(values), count)
    assert slicing.width is not None
    width = slicing.width
    found = Slices(slicing, tuple(sorted({slice_of(value, width) for value in values})), len(values))
    assert len(found.ranges()) <= 31
    assert all(any(low <= value <= high for low, high in found.ranges()) for value in values)


@given(numbers, st.integers(1, 2**30))
def test_the_range_of_one_slice_holds_nothing_else(value: int, width: int) -> None:
    number = slice_of(value, width)
    ((low, high),) = Slices(Slicing(KEY, width, 1), (number,), 1).ranges()
    assert low <= value <= high
    assert slice_of(low, width) == slice_of(high, width) == number
    assert slice_of(low - 1, width) != number
    assert slice_of(high + 1, width) != number


@given(numbers, numbers, st.integers(1, 65_536))
def test_a_slicing_makes_no_more_slices_than_asked_for(one: int, other: int, count: int) -> None:
    low, high = min(one, other), max(one, other)
    width = Slicing.of(KEY, low, high, count).width
    assert width is not None
    assert slice_of(high, width) - slice_of(low, width) <= count


def test_an_empty_table_is_sliced() -> None:
    assert Slicing.of(KEY, None, None, 1024).width == 1


def test_keys_that_are_no_numbers_are_hashed() -> None:
    hashed = Slicing.of(Column("code", "string"), None, None, 1024)
    assert hashed.width is None
    assert Slices(hashed, (1, 2), 5).ranges() == ()


@pytest.mark.parametrize(("kind", "bits"), [("long", 63), ("timestamptz", 63), ("int", 31), ("date", 31)])
def test_no_range_goes_past_the_ends_of_its_type(kind: str, bits: int) -> None:
    low, high = -(2**bits), 2**bits - 1
    slicing = Slicing.of(Column("id", kind), low, high, 1000)
    assert slicing.width is not None
    numbers = tuple(sorted({slice_of(value, slicing.width) for value in (low, 0, high)}))
    ranges = Slices(slicing, numbers, 3).ranges()
    assert (ranges[0][0], ranges[-1][1]) == (low, high)
    assert len(ranges) == 3


def test_of_very_many_slices_none_is_named() -> None:
    many = Slices(Slicing(KEY, 1, 1), tuple(range(5000)), 5000)
    assert many.named is None
    assert many.ranges() == ()


@given(digests, digests)
def test_slices_differ_where_either_side_holds_other_rows(
    source: dict[int, SliceDigest], mirror: dict[int, SliceDigest]
) -> None:
    found = differing(Slicing(KEY, 1, 1), source, mirror)
    for number in source.keys() | mirror.keys():
        assert (number in found.numbers) == (source.get(number) != mirror.get(number))
    assert found.rows == sum(digest.rows for number, digest in source.items() if number in found.numbers)
