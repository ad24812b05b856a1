"""Tests that share a fixture of their module or folder stay on one worker of xdist; all others go to any.

Loaded by `tests/conftest.py`, for `--dist loadgroup`. Else each worker would make such a fixture again, which
may be a demo, the job's whole life on AWS, or Terraform's plans.
"""

from __future__ import annotations

from typing import Any

import pytest

# What every test may use costs each worker little: pytest's own fixtures, and those of tests/conftest.py.
_EVERYWHERE = ("", "tests")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the module or folder whose fixture it shares, for xdist to read."""
    for item in items:
        place = shared_by(item)
        if place is not None:
            item.add_marker(pytest.mark.xdist_group(place))


def shared_by(item: pytest.Item) -> str | None:
    """Return the widest module or folder of which the test uses a fixture that is made once."""
    known: dict[str, list[Any]] = getattr(item, "_fixtureinfo").name2fixturedefs  # noqa: B009
    used = [definition for definitions in known.values() for definition in definitions]
    places = {one.baseid for one in used if one.scope != "function" and one.baseid not in _EVERYWHERE}
    return min(places, key=len, default=None)
