"""Crash points: each stands at one place, costs nothing unless a test names it, and kills for good."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from iceberg_datamart import crash_points
from iceberg_datamart.crash_points import POINTS, VARIABLE, Trap, crash_point

PACKAGE = Path(crash_points.__file__).parent


class Crash(BaseException):
    """Ends what it is raised in, as a kill would."""


def crash(_: str) -> None:
    raise Crash


def test_each_point_stands_at_one_place() -> None:
    calls = [
        node
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "crash_point"
    ]
    named = Counter(
        argument.value for call in calls for argument in call.args if isinstance(argument, ast.Constant)
    )
    assert named == dict.fromkeys(POINTS, 1)


def test_no_trap_is_set_unless_the_variable_says_so() -> None:
    assert crash_points.trap is None
    for point in POINTS:
        crash_point(point)


def test_a_trap_springs_at_its_visit_and_at_every_point_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash_points, "trap", Trap("staged", 2, crash))
    crash_point("published")
    crash_point("staged")
    crash_point("published")
    for _ in range(2):
        with pytest.raises(Crash):
            crash_point("staged")
        with pytest.raises(Crash):
            crash_point("published")


def test_a_point_without_a_number_means_its_first_visit() -> None:
    assert (Trap.parsed("staged").point, Trap.parsed("staged").visit) == ("staged", 1)
    assert (Trap.parsed("staged#3").point, Trap.parsed("staged#3").visit) == ("staged", 3)


def test_the_variable_kills_the_process_which_names_the_point_last() -> None:
    script = (
        "from iceberg_datamart.crash_points import crash_point\n"
        "for _ in range(3): crash_point('published'); print('passed', flush=True); crash_point('staged')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, VARIABLE: "staged#2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -9
    assert done.stdout == "passed\n" * 2
    assert done.stderr == "crash point staged\n"
