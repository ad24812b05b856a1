"""Which tests run on Spark, too, and what only `make matrix` runs; loaded by `tests/conftest.py`."""

from __future__ import annotations

import pytest

from iceberg_datamart.core.engines import AUTO, SPARK
from iceberg_datamart.lake.runtime import present_runtime
from support.worlds.laptop import usual_engine


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run on Spark, too, what is marked `engines`, and in `make matrix` what differs between its runtimes."""
    marks = {mark.name for mark in metafunc.definition.iter_markers()}
    if "engine" not in metafunc.fixturenames or "spark" in marks or usual_engine() != AUTO:
        return
    if "engines" in marks:
        metafunc.parametrize("engine", [AUTO, SPARK], indirect=True)
    elif "runtime" in marks:
        on_spark = pytest.param(SPARK, marks=pytest.mark.matrix)
        metafunc.parametrize("engine", [AUTO, on_spark], indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark `matrix` what would run on Spark by `engines("matrix")`, or on a runtime by `matrix_on`."""
    for item in items:
        engines = item.get_closest_marker("engines")
        on_spark = engines is not None and "matrix" in engines.args and _is_on_spark(item)
        runtimes = item.get_closest_marker("matrix_on")
        if on_spark or (runtimes is not None and present_runtime().name in runtimes.args):
            item.add_marker(pytest.mark.matrix)


def _is_on_spark(item: pytest.Item) -> bool:
    """Return whether a parameter of the test says so; Glue 4.0's tests have none, as all are on Spark."""
    given = getattr(item, "callspec", None)
    return given is not None and SPARK in given.params.values()
