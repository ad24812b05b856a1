"""Which engine works on a step: asked for, installed, or needed."""

from __future__ import annotations

import pytest

from iceberg_datamart.core.engines import (
    AUTO,
    IN_PROCESS,
    SPARK,
    EngineChoice,
    Engines,
    engine_of,
)
from iceberg_datamart.core.plan.obstacles import layout_obstacles
from iceberg_datamart.core.state.history import TableHistory
from iceberg_datamart.errors import MissingPartError, NeedsSparkError

BOTH = frozenset({SPARK, IN_PROCESS})


@pytest.mark.parametrize("obstacles", [(), ("'t' is partitioned",)])
def test_spark_does_all_that_it_is_asked_for(obstacles: tuple[str, ...]) -> None:
    assert engine_of(Engines(SPARK, BOTH), obstacles) == EngineChoice(SPARK, "the settings ask for it")


def test_auto_works_in_process_until_something_needs_spark() -> None:
    found = engine_of(Engines(AUTO, BOTH), ())
    assert found == EngineChoice(IN_PROCESS, "nothing of it needs Spark", yields=True)


def test_without_spark_nothing_yields_to_it() -> None:
    assert not engine_of(Engines(AUTO, frozenset({IN_PROCESS})), ()).yields


def test_auto_gives_the_first_reason_for_spark() -> None:
    assert engine_of(Engines(AUTO, BOTH), ("first", "second")) == EngineChoice(SPARK, "first")


def test_auto_takes_spark_without_duckdb() -> None:
    found = engine_of(Engines(AUTO, frozenset({SPARK})), ())
    assert found == EngineChoice(SPARK, "DuckDB is not installed")


def test_what_needs_spark_is_refused_in_process() -> None:
    with pytest.raises(NeedsSparkError) as caught:
        engine_of(Engines(IN_PROCESS, BOTH), ("'t' is partitioned",))
    assert caught.value.message == "this needs Spark: 't' is partitioned"
    assert "engine: auto" in caught.value.hint


@pytest.mark.parametrize(
    ("asked", "installed", "obstacles", "says"),
    [
        (SPARK, IN_PROCESS, (), "Spark is needed, and not installed: the settings ask for it"),
        (AUTO, IN_PROCESS, ("'t' is partitioned",), "Spark is needed, and not installed: 't' is partitioned"),
        (IN_PROCESS, SPARK, (), "DuckDB is needed, and not installed: the settings ask for it"),
    ],
)
def test_an_engine_that_is_not_installed_is_named_with_what_installs_it(
    asked: str, installed: str, obstacles: tuple[str, ...], says: str
) -> None:
    with pytest.raises(MissingPartError) as caught:
        engine_of(Engines(asked, frozenset({installed})), obstacles)
    assert caught.value.message == says
    assert caught.value.hint.startswith("pip install")


@pytest.mark.parametrize(
    ("history", "properties", "reasons"),
    [
        (None, {}, []),
        (None, {"write.merge.mode": "merge-on-read", "write.format.default": "parquet"}, []),
        (None, {"write.merge.mode": "copy-on-write"}, ["'t' has write.merge.mode=copy-on-write"]),
        (None, {"write.format.default": "orc"}, ["'t' has write.format.default=orc"]),
        (None, {"format-version": "3"}, ["'t' is to have format version 3"]),
        (None, {"format-version": "two"}, ["'t' is to have format version two"]),
        (TableHistory({}, (), (), is_partitioned=True), {}, ["'t' is partitioned"]),
        (TableHistory({}, (), (), format_version=3), {}, ["'t' has format version 3"]),
        (
            TableHistory({}, (), (), properties={"write.format.default": "avro"}),
            {},
            ["'t' has write.format.default=avro"],
        ),
        # What the settings say of it comes with the next commit.
        (
            TableHistory({}, (), (), properties={"write.format.default": "avro"}),
            {"write.format.default": "parquet"},
            [],
        ),
    ],
)
def test_a_layout_that_only_spark_writes_is_an_obstacle(
    history: TableHistory | None, properties: dict[str, str], reasons: list[str]
) -> None:
    assert list(layout_obstacles("t", history, properties)) == reasons
