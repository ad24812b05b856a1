"""Tests that share a fixture of their module are grouped; those that share what all may use are not."""

from __future__ import annotations

import pytest

from support.groups import shared_by

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
