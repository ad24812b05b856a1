"""No width of rows makes a fetch, a row group or a batch larger than the budget, but a row that is wider."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.source.reads import QueryRead
from iceberg_datamart.core.source.widths import (
    BATCH_SIZE,
    BUDGET,
    MOST_ROWS,
    WIDE,
    fetch_size,
    inherited_properties,
    table_properties,
)

widths = st.integers(0, 2**31)


@given(widths)
def test_a_fetch_holds_no_more_than_the_budget_or_one_row(widest: int) -> None:
    rows = fetch_size(widest)
    assert 1 <= rows <= MOST_ROWS
    assert rows == 1 or rows * widest <= BUDGET
    assert rows == MOST_ROWS or (rows + 1) * widest > BUDGET


def test_rows_of_no_known_width_are_fetched_as_narrow_ones() -> None:
    assert fetch_size(0) == MOST_ROWS


@given(widths, widths)
def test_a_table_gets_properties_for_wide_rows_alone_and_only_smaller_ones(one: int, other: int) -> None:
    first = table_properties(one, {})
    assert bool(first) == (one > WIDE)
    second = table_properties(other, first)
    assert bool(second) == (other > WIDE and (not first or fetch_size(other) < int(first[BATCH_SIZE])))


def test_people_may_have_set_a_smaller_batch() -> None:
    assert table_properties(WIDE + 1, {BATCH_SIZE: "2"}) == {}


def test_a_mart_reads_its_rows_as_the_widest_of_its_mirrors_are_read() -> None:
    wide, wider = table_properties(2**20, {}), table_properties(2**23, {})
    assert inherited_properties([{}, wide, wider], {}) == wider
    assert inherited_properties([wide], wider) == {}
    assert inherited_properties([{}, {BATCH_SIZE: "7"}], {}) == {}, "this one is not of a wide table"


def test_wide_rows_that_are_read_apart_are_read_once() -> None:
    whole = QueryRead("jdbc:", "(select 1) as q", ("a", "b"), "", (), widest=2**20)
    read = whole.reading_wide_rows_apart("w")
    assert read.predicates == (f"a and w <= {WIDE}", f"b and w <= {WIDE}")
    assert read.apart == f"w > {WIDE}"
