"""The verdict of `verify` and its exit code tell the truth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.report.verification import (
    Difference,
    Differences,
    Verified,
    VerifyReport,
    notes_of,
)
from iceberg_datamart.errors import CommitConflictError, LakeError

EQUAL = Verified(5, 5)
WAITING = Verified(5, 4, Differences(pending=2))
WRONG = Verified(5, 4, Differences(missing=1, first=(Difference("missing", {"id": "7"}),)))
BROKEN = Verified(error=LakeError("no space left"))
BUSY = Verified(error=CommitConflictError("a run merged meanwhile"))


@pytest.mark.parametrize(
    ("tables", "marts", "code"),
    [
        ([EQUAL], [EQUAL], 0),
        ([EQUAL, WRONG], [], 1),
        ([EQUAL, WAITING], [], 1),
        ([EQUAL], [WRONG], 1),
        ([BROKEN], [EQUAL], 1),
        ([BUSY], [EQUAL], 75),
        ([BUSY, WRONG], [], 1),
        ([], [], 0),
    ],
)
def test_the_exit_code_is_that_of_the_worst(tables: list[Verified], marts: list[Verified], code: int) -> None:
    report = VerifyReport(
        {str(place): each for place, each in enumerate(tables)},
        {str(place): each for place, each in enumerate(marts)},
    )
    assert report.exit_code == code
    assert (report.as_json()["result"] == "equal") == (code == 0)


@pytest.mark.parametrize("kind", ["missing", "stale", "extra"])
def test_one_row_of_any_kind_makes_a_table_different(kind: str) -> None:
    assert Verified(5, 5, Differences(**{kind: 1})).result == "different"


def test_r14_equal_is_said_of_as_many_rows_alone_that_are_all_equal() -> None:
    assert Verified(5, 5).result == "equal"
    assert Verified(100, 10).result == "different", "no row differs, and 90 are not there"
    assert Verified(5, 5, waits=True).result == "pending"
    assert Verified(100, 10, waits=True).result == "different"


@given(st.integers(0, 3), st.integers(0, 3), st.tuples(*[st.integers(0, 2)] * 4))
def test_r14_any_row_that_is_not_equal_is_told(expected: int, held: int, found: tuple[int, ...]) -> None:
    result = Verified(expected, held, Differences(*found)).result
    assert (result == "equal") == (expected == held and not any(found))
    if result == "pending":
        assert not any(found[:3])


def test_r14_rows_that_wait_for_a_run_are_not_equal() -> None:
    assert WAITING.result == "pending"
    report = VerifyReport({"a": WAITING}, {"m": EQUAL})
    assert (report.result, report.exit_code) == ("pending", 1)
    assert VerifyReport({"a": WAITING, "b": WRONG}, {}).result == "different"


def test_rejected_rows_are_missing_but_for_those_whose_older_version_stays() -> None:
    found = Differences(missing=4, stale=3, rejected_missing=1, rejected_stale=2).with_unfit(5)
    assert (found.missing, found.stale, found.rejected) == (7, 3, 6)
    notes = notes_of("item", found, reads_all=False)
    assert "6 of these rows are rejected ones, kept in 'item__rejected'" in notes[0]
    assert "4 rows differ" in notes[1]
    assert "iceberg-datamart reconcile --table item" in notes[1]


def test_deletes_are_named_with_the_command_that_finds_them() -> None:
    (note,) = notes_of("item", Differences(extra=2), reads_all=False)
    assert "deletes (2 extra): iceberg-datamart reconcile --table item" in note
    (note,) = notes_of("item", Differences(extra=2), reads_all=True)
    assert "reconcile" not in note


def test_of_what_is_equal_nothing_is_noted() -> None:
    assert notes_of("item", Differences(), reads_all=False) == ()


def test_differences_name_their_keys() -> None:
    assert WRONG.as_json()["first"] == [{"kind": "missing", "key": {"id": "7"}, "columns": []}]
