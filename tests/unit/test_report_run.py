"""What a run tells: outcomes as documented, and an exit code that is true (D9)."""

from __future__ import annotations

import json
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.report.run import FAILED, MERGED, SKIPPED, UNCHANGED, Outcome, RunReport
from iceberg_datamart.errors import (
    AuditError,
    CommitConflictError,
    DatamartError,
    LakeError,
    SourceUnreachableError,
    TimestampFileConflictError,
    TimestampFileError,
)

GOOD = Outcome(MERGED, rows_read=3, inserted=2, updated=1, snapshot_id=7, watermark="5", seconds=0.12345)
CONFLICT, BROKEN = CommitConflictError("another run committed"), LakeError("no space left", hint="Make room.")


def failed(error: DatamartError) -> Outcome:
    return Outcome(FAILED, error=error)


def report(*outcomes: Outcome, error: DatamartError | None = None) -> RunReport:
    tables = {f"t{number}": outcome for number, outcome in enumerate(outcomes)}
    return RunReport("run-1", tables, {}, error=error)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([], 0),
        ([GOOD, Outcome(UNCHANGED), Outcome(SKIPPED, reason="the source is empty")], 0),
        ([GOOD, failed(BROKEN)], 1),
        ([GOOD, failed(CONFLICT)], 75),
        ([failed(CONFLICT), failed(CONFLICT)], 75),
        ([failed(CONFLICT), failed(BROKEN)], 1),
        ([failed(SourceUnreachableError("lost"))], 75),
    ],
)
def test_the_exit_code_says_whether_trying_again_is_all_it_needs(outcomes: list[Outcome], code: int) -> None:
    assert report(*outcomes).exit_code == code


@pytest.mark.parametrize(
    ("outcome", "error", "code"),
    [
        (GOOD, TimestampFileConflictError("moved"), 75),
        (GOOD, TimestampFileError("malformed"), 2),
        (failed(CONFLICT), TimestampFileConflictError("moved"), 75),
        (failed(BROKEN), TimestampFileConflictError("moved"), 1),
        (failed(BROKEN), TimestampFileError("malformed"), 1),
    ],
)
def test_an_error_of_the_timestamp_file_counts_as_well(
    outcome: Outcome, error: DatamartError, code: int
) -> None:
    assert report(outcome, error=error).exit_code == code


errors = st.sampled_from([None, CONFLICT, BROKEN, TimestampFileConflictError("moved")])


@given(st.lists(errors, max_size=4), st.lists(errors, max_size=2), errors)
def test_d9_success_is_told_if_and_only_if_nothing_failed(
    tables: list[DatamartError | None], marts: list[DatamartError | None], last: DatamartError | None
) -> None:
    outcomes = [[GOOD if error is None else failed(error) for error in each] for each in (tables, marts)]
    named = [{str(number): outcome for number, outcome in enumerate(each)} for each in outcomes]
    found = RunReport("run-1", named[0], named[1], error=last)
    good = not any((*tables, *marts, last))
    assert (found.exit_code == 0) == good
    assert found.as_json()["status"] == ("succeeded" if good else "failed")
    assert len(found.failures) == sum(error is not None for error in (*tables, *marts, last))


def test_an_outcome_is_the_documented_object() -> None:
    assert GOOD.as_json() == {
        "outcome": "merged",
        "rows_read": 3,
        "inserted": 2,
        "updated": 1,
        "deleted": 0,
        "rejected": 0,
        "dropped": 0,
        "snapshot_id": 7,
        "staged_snapshot_id": None,
        "watermark": "5",
        "complete_through": None,
        "seconds": 0.123,
        "engine": None,
        "error": None,
        "reason": None,
        "warnings": [],
    }


def test_a_failure_carries_its_type_its_message_and_its_mend() -> None:
    error = {"type": "LakeError", "message": "no space left", "hint": "Make room."}
    assert failed(BROKEN).as_json()["error"] == error
    assert report(error=BROKEN).as_json()["error"] == error


def test_a_snapshot_that_failed_an_audit_is_named() -> None:
    found = failed(AuditError("staged snapshot 8 fails", staged_snapshot_id=8)).as_json()
    assert (found["staged_snapshot_id"], found["snapshot_id"]) == (8, None)
    assert failed(BROKEN).staged_snapshot_id is None


def test_a_report_is_the_documented_object_and_plain_json() -> None:
    found = RunReport(
        "run-1", {"a": GOOD}, {"m": failed(BROKEN)}, 1.23456, "2026-03-01 12:00:00", ("a warning",)
    ).as_json()
    assert list(found) == [
        "run_id",
        "status",
        "tables",
        "marts",
        "timestamp",
        "seconds",
        "phases",
        "warnings",
        "error",
    ]
    assert (found["run_id"], found["seconds"], found["warnings"]) == ("run-1", 1.235, ["a warning"])
    assert json.loads(json.dumps(found)) == found


def test_every_deliberate_error_has_one_of_the_documented_exit_codes() -> None:
    kinds = [DatamartError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert {kind.exit_code for kind in kinds} <= {1, 2, 75}
    for kind, other in product(kinds, kinds):
        if issubclass(kind, other) and other.retryable:
            assert kind.retryable
