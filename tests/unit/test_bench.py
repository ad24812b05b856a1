"""The benchmark's table says what was measured, and whether a target was met."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT)
    return import_module("bench.results")


def measured(operation: str, datamart: list[float], handwritten: list[float]) -> Any:
    module = import_module("bench.measure")
    timing = import_module("bench.contestants").Timing
    found = module.Measured(operation)
    for name, seconds in (("datamart", datamart), ("handwritten", handwritten)):
        found.timings[name] += [timing(each, {}) for each in seconds]
    return found


def test_the_median_of_the_repetitions_is_shown(results: ModuleType) -> None:
    text = results.table("S", 200_000, 3, [measured("nothing changed", [1, 9, 2], [10, 4, 50])])
    assert "200,000 settlement transactions; median of 3 runs" in text
    row = [cell.strip() for cell in text.splitlines()[-1].strip("|").split("|")]
    assert row == ["nothing changed", "2.0", "10.0", "0.20", "<= 0.3", "met"]


def test_a_missed_target_is_called_missed(results: ModuleType) -> None:
    assert results.verdict("1k clustered changes", 0.51) == ("<= 0.5", "missed")
    assert results.verdict("1k clustered changes", 0.5) == ("<= 0.5", "met")


def test_an_operation_without_a_target_has_no_verdict(results: ModuleType) -> None:
    assert results.verdict("full load", 9.0) == ("-", "-")


def test_the_columns_of_the_table_are_aligned(results: ModuleType) -> None:
    lines = results.table("S", 1, 1, [measured("full load", [100], [1])]).splitlines()[2:]
    assert len({tuple(at.start() for at in re.finditer(r"\|", line)) for line in lines}) == 1


def test_both_jobs_are_proved_against_the_same_join(results: ModuleType) -> None:
    handwritten = (Path(results.__file__).parent / "handwritten.py").read_text("utf-8")
    shown = (files("iceberg_datamart.demo") / "mart.sql").read_text("utf-8")
    names = re.findall(r"\.\w+ as (\w+)", shown)
    assert names
    assert set(names) == set(re.findall(r"\w\.\w+ AS (\w+)", handwritten))
