"""What a record tells of its run; nothing but a record is taken for one, and no run fails for it."""

from __future__ import annotations

import json
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.plan.facts import RunRequest
from iceberg_datamart.core.report.record import RunRecord, parse_record
from iceberg_datamart.core.report.run import FAILED, MERGED, UNCHANGED, Outcome, RunReport
from iceberg_datamart.errors import CatalogUnreachableError, DatamartError, LakeError
from iceberg_datamart.run.recording import Recording, recorded
from support.fakes.ports import NOON, FakeClock, configured

DONE = RunReport(
    "run-1",
    {
        "queue": Outcome(MERGED, inserted=3, updated=2),
        "account": Outcome(FAILED, error=LakeError("no space")),
    },
    {"mart": Outcome(MERGED, deleted=1), "still": Outcome(UNCHANGED)},
    error=DatamartError("late", hint="Wait."),
)


def recording() -> Recording:
    return Recording(configured("queue"), RunRequest("reconcile", ("queue",)), "run-1", FakeClock())


def recorded_run(report: RunReport | None, error: BaseException | None = None) -> list[RunRecord]:
    """Return the records of a run that ends with a report, or with an error, or both."""
    kept: list[RunRecord] = []
    run = recording()
    with recorded(run, {"a list": kept.append}, lambda: {"python": "3.11"}):
        run.planned(lambda: {"steps": []})
        run.report = report
        if error is not None:
            raise error
    return kept


def test_a_record_tells_what_changed_and_each_error_that_of_the_whole_run_first() -> None:
    (record,) = recorded_run(DONE)
    assert (record.load_type, record.status, record.exit_code) == ("reconcile", "failed", 1)
    assert (record.changed, record.rows) == (("queue", "mart"), 6)
    assert [(name, error["message"]) for name, error in record.errors.items()] == [
        (None, "late"),
        ("account", "no space"),
    ]
    later = {**json.loads(record.content()), "a key of a later version": 1}
    assert parse_record(record.content()) == parse_record(json.dumps(later).encode()) == record


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_a_file_with_junk_in_a_place_of_it_is_no_record_or_one_that_can_be_told(data: st.DataObject) -> None:
    (record,) = recorded_run(DONE)
    whole = json.loads(record.content())
    place = data.draw(st.sampled_from([whole, whole["report"], whole["report"]["tables"]["queue"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(junk)
    found = parse_record(json.dumps(whole).encode())
    if found is not None:
        assert (found.rows, found.changed, found.errors, found.seconds) is not None


@given(st.binary(max_size=30) | junk.map(lambda value: json.dumps(value).encode()))
def test_what_is_no_record_is_none(content: bytes) -> None:
    assert parse_record(content) is None


@pytest.mark.parametrize("error", [CatalogUnreachableError("away", hint="Wait."), ZeroDivisionError("a bug")])
def test_a_run_without_a_report_is_recorded_with_what_ended_it(error: Exception) -> None:
    kept: list[RunRecord] = []
    with pytest.raises(type(error)), recorded(recording(), {"a list": kept.append}, dict):
        raise error
    (record,) = kept
    assert (record.run_id, record.report["run_id"], record.plan) == ("run-1", "run-1", None)
    assert (record.exit_code, record.failed) == (getattr(error, "exit_code", 1), True)
    assert str(error) in record.errors[None]["message"]
    assert record.started == record.ended == NOON


def test_a_run_that_is_interrupted_leaves_nothing() -> None:
    kept: list[RunRecord] = []
    with pytest.raises(KeyboardInterrupt), recorded(recording(), {"a list": kept.append}, dict):
        raise KeyboardInterrupt
    assert kept == []


def test_no_run_fails_for_its_record_or_its_plan_whatever_is_wrong_with_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object) -> NoReturn:
        raise ZeroDivisionError("a bug")

    run, kept = recording(), []
    with recorded(run, {"a broken place": broken, "a list": kept.append}, dict):
        run.planned(broken)
        run.report = DONE
    assert caplog.messages == ["this run is not recorded in a broken place: a bug"]
    assert [record.report for record in kept] == [DONE.as_json()], "the other place has it"
