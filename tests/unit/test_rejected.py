"""Rejected rows: told apart in SQL, and by digests that know equal rows from the same row read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from iceberg_datamart.core.source.reads import MOST_REJECTED_TEXT, RejectedRow
from iceberg_datamart.errors import UnfitValueError
from iceberg_datamart.lake.rejected import digests
from iceberg_datamart.sources.postgres.rejects import (
    fitting,
    if_fitting,
    rejected_rows,
    unfits_of,
)
from iceberg_datamart.sources.postgres.types import PostgresColumn, wire

if TYPE_CHECKING:
    from collections.abc import Iterator

rows = st.lists(st.builds(RejectedRow, st.sampled_from("ab"), st.sampled_from("xyz")), max_size=12)


@given(rows=rows, again=st.randoms())
def test_the_same_rows_have_the_same_digests_in_any_order(
    rows: list[RejectedRow], again: st.DataObject
) -> None:
    shuffled = list(rows)
    again.shuffle(shuffled)  # type: ignore[attr-defined]
    assert digests(shuffled) == digests(rows)


@given(rows=rows, more=rows)
def test_each_of_equal_rows_has_a_digest_and_keeps_it_when_others_come(
    rows: list[RejectedRow], more: list[RejectedRow]
) -> None:
    few, many = digests(rows), digests(rows + more)
    assert sorted(few.values()) == sorted(rows)
    assert few.items() <= many.items()
    assert len(many) == len(rows) + len(more)


def test_reason_and_row_are_not_run_together() -> None:
    assert digests([RejectedRow("ab", "c")]).keys() != digests([RejectedRow("a", "bc")]).keys()


def test_r10_of_rows_that_would_fill_the_memory_no_more_are_read() -> None:
    read = []

    def long_rows() -> Iterator[tuple[str, str]]:
        for number in range(10_000):
            read.append(number)
            yield "NULL in key column 'id'", "x" * (MOST_REJECTED_TEXT // 4)

    with pytest.raises(UnfitValueError, match="rows of more than 256 MB of JSON cannot be held") as caught:
        rejected_rows("measure", long_rows())
    assert len(read) == 5
    assert "tables.measure.columns" in caught.value.hint


def column(name: str, kind: str, *, not_null: bool = True) -> PostgresColumn:
    return PostgresColumn(name, kind, not_null)


def fits(*columns: PostgresColumn, key: str = "id") -> str:
    wires = [found for each in columns if (found := wire(each)) is not None]
    return fitting(unfits_of(columns, wires, [key])).as_string(None)


def test_a_table_that_any_row_of_fits_is_read_without_a_further_condition() -> None:
    columns = [column("id", "int8"), column("name", "text", not_null=False), column("ok", "bool")]
    assert fits(*columns) == "true"
    assert if_fitting((), sql.Identifier("name")).as_string(None) == '"name"'


def test_null_is_told_apart_in_key_columns_that_allow_it_only() -> None:
    assert fits(column("id", "int8"), column("v", "int8", not_null=False)) == "true"
    assert fits(column("id", "int8", not_null=False)) == 'not ("id" is null)'


def test_no_condition_is_null_for_a_null() -> None:
    assert fits(column("id", "int8"), column("at", "timestamptz", not_null=False)) == (
        'not (("at" is not null and not (isfinite("at") and "at" <= timestamptz '
        "'294247-01-10 04:00:54.775806+00')))"
    )
