"""Tests that share a fixture of their module are grouped; those that share what all may use are not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.groups import shared_by

TESTS = Path(__file__).parents[1]
HERE = "tests/unit/test_groups.py"


@pytest.fixture(scope="module")
def dear() -> int:
    return 1


@pytest.fixture
def derived(dear: int) -> int:
    return dear


@pytest.fixture
def cheap() -> int:
    return 2


@pytest.mark.usefixtures("dear")
def test_a_test_that_uses_a_fixture_of_its_module_is_grouped_by_it(request: pytest.FixtureRequest) -> None:
    assert shared_by(request.node) == HERE
    assert [mark.args for mark in request.node.iter_markers("xdist_group")] == [(HERE,)]


@pytest.mark.usefixtures("derived")
def test_so_is_one_that_uses_it_through_another_fixture(request: pytest.FixtureRequest) -> None:
    assert shared_by(request.node) == HERE


@pytest.mark.usefixtures("cheap", "tmp_path")
def test_fixtures_of_one_test_and_pytests_own_group_nothing(request: pytest.FixtureRequest) -> None:
    assert shared_by(request.node) is None
    assert list(request.node.iter_markers("xdist_group")) == []


MODULE = """
import pytest

@pytest.fixture(scope="module")
def dear(): ...

def test_it(dear): ...
"""


def test_xdist_sees_the_groups(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_one.py").write_text(MODULE)
    words = (
        "-p",
        "support.groups",
        "-v",
        "-n",
        "1",
        "--dist",
        "loadgroup",
        "--rootdir",
        ".",
        "--basetemp",
        "own",
        "tests",
    )
    told = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "test_it@tests/test_one.py" in told
