"""The verdict of `verify` and its exit code tell the truth."""

from __future__ import annotations

import pytest

from iceberg_datamart.errors import CommitConflictError, LakeError
from iceberg_datamart.verification import Difference, Differences, Verified, VerifyReport

EQUAL = Verified(5, 5, Differences(newer=2))
WRONG = Verified(5, 4, Differences(missing=1, first=(Difference("missing", {"id": "7"}),)))
BROKEN = Verified(error=LakeError("no space left"))
BUSY = Verified(error=CommitConflictError("a run merged meanwhile"))


@pytest.mark.parametrize(
    ("tables", "marts", "code"),
    [
        ([EQUAL], [EQUAL], 0),
        ([EQUAL, WRONG], [], 1),
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
    assert report.as_json()["result"] == ("equal" if code == 0 else "different")


@pytest.mark.parametrize("kind", ["missing", "stale", "extra"])
def test_one_row_of_any_kind_makes_a_table_different(kind: str) -> None:
    assert Verified(5, 5, Differences(**{kind: 1})).result == "different"


def test_rows_that_are_newer_are_no_difference() -> None:
    assert EQUAL.result == "equal"
    assert EQUAL.as_json()["newer"] == 2


def test_differences_name_their_keys() -> None:
    assert WRONG.as_json()["first"] == [{"kind": "missing", "key": {"id": "7"}, "columns": []}]
