"""Without Python 3.10 `make test` leaves Glue 4.0 out aloud, and where CI=true it fails."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def made(target: str, *settings: str, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if name not in {"CI", "MAKEFLAGS", "MAKELEVEL"}}
    words = ["make", "--no-print-directory", target, *settings]
    variables = {**own, **environment}
    return subprocess.run(words, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("ci", "may_pass"), [("", True), ("true", False)])
def test_a_missing_python_3_10_is_said_with_what_mends_it_and_fails_ci_alone(ci: str, may_pass: bool) -> None:
    ended = made("test-glue-4.0", "PYTHON_3_10=", "GLUE_4_0=no-such-folder", CI=ci)
    assert "NOT TESTED: Glue 4.0" in ended.stdout
    assert "make test PYTHON_3_10=/path/to/python3.10" in ended.stdout
    assert (ended.returncode == 0) == may_pass


def test_the_first_lines_of_make_test_say_how_long_it_takes_what_it_needs_and_what_it_starts() -> None:
    said = made("foreword").stdout.splitlines()
    assert "minutes" in said[0]
    assert [line.split()[0] for line in said[1:]] == ["needs", "wants", "starts", "writes"]


def test_every_target_of_the_readme_is_there() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    targets = {words.split("`")[0].split()[0] for words in readme.split("`make ")[1:]}
    assert {"check", "test", "matrix", "soak", "broken", "bench"} <= targets
    makefile = (ROOT / "Makefile").read_text("utf-8").splitlines()
    assert targets <= {line.split(":")[0] for line in makefile}
