"""What tests cost is summed up by test, told the dearest first, and printed as a table's row."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.timings import Recorder, Timings, dearest, read, rows

if TYPE_CHECKING:
    from pathlib import Path


def report(nodeid: str, when: str, seconds: float, outcome: str = "passed") -> pytest.TestReport:
    location = ("tests/x.py", 1, "x")
    made = {"nodeid": nodeid, "location": location, "keywords": {}, "outcome": outcome, "longrepr": None}
    return pytest.TestReport(**made, when=when, duration=seconds)  # type: ignore[arg-type]


def test_the_file_holds_each_tests_seconds_and_worst_outcome_without_its_group(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "new" / "glue-5.1.json")
    for name in ("x.py::a", "x.py::b[k@v]", "x.py::c[k]@x.py"):
        recorder.pytest_runtest_logreport(report(name, "setup", 1.5))
        recorder.pytest_runtest_logreport(report(name, "call", 2.0, "failed" if "a" in name else "passed"))
        recorder.pytest_runtest_logreport(report(name, "teardown", 0.25))
    recorder.pytest_sessionfinish()
    (found,) = read(tmp_path / "new")
    assert found.tests == {"x.py::a": 3.75, "x.py::b[k@v]": 3.75, "x.py::c[k]": 3.75}
    assert found.outcomes == {"x.py::a": "failed", "x.py::b[k@v]": "passed", "x.py::c[k]": "passed"}
    assert found.runtime == "glue-5.1"
    assert json.loads((tmp_path / "new" / "glue-5.1.json").read_text("utf-8"))["commit"] == found.commit


def test_the_dearest_come_first_whatever_the_runtime() -> None:
    five = Timings("glue-5.1", "abc", "2026-01-01", tests={"a": 1.0, "b": 30.0})
    four = Timings("glue-4.0", "abc", "2026-01-02", tests={"a": 20.0})
    lines = dearest([five, four], 2)
    assert [line.split() for line in lines] == [
        ["30.0", "s", "glue-5.1", "b"],
        ["20.0", "s", "glue-4.0", "a"],
    ]


def test_a_row_counts_the_outcomes() -> None:
    outcomes = {"a": "passed", "b": "skipped", "c": "failed", "d": "passed"}
    one = Timings("glue-4.0", "abc1234", "2026-01-02T03:04:05+00:00", seconds=1234.5, outcomes=outcomes)
    assert rows([one]) == ["| abc1234 | 2026-01-02 | glue-4.0 | 2 | 1 | 1 | 1,234 |"]
