"""Checks in the settings: what each type takes, and that nothing else is accepted."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from iceberg_datamart.core.settings.checks import CheckConfig
from support.fakes.ports import configured, mart, table

VALID: list[tuple[dict[str, Any], str]] = [
    ({"type": "not_null", "columns": ["a", "b"]}, "not_null (a, b)"),
    ({"type": "unique", "columns": ["a"], "on_fail": "reject"}, "unique (a)"),
    ({"type": "accepted_values", "column": "a", "values": [1, True, "x"]}, "accepted_values (a)"),
    ({"type": "range", "column": "a", "min": 0}, "range (a)"),
    ({"type": "range", "column": "a", "max": "2026-01-01"}, "range (a)"),
    ({"type": "expression", "sql": "a > 0"}, "expression (a > 0)"),
    ({"type": "row_count_change", "max_increase": 2, "on_fail": "warn"}, "row_count_change"),
    ({"type": "expression", "sql": "a > 0", "name": "positive"}, "positive"),
]


def problems(checks: Any, **others: Any) -> dict[str, str]:
    """Return what is wrong with table `t` by path."""
    with pytest.raises(ValidationError) as caught:
        configured(tables={"t": table("t", checks=checks, **others)})
    return {".".join(map(str, each["loc"][2:])): each["msg"] for each in caught.value.errors()}


@pytest.mark.parametrize(("check", "label"), VALID)
def test_a_check_is_called_by_its_name_or_by_what_it_checks(check: dict[str, Any], label: str) -> None:
    (found,) = configured(tables={"t": table("t", checks=[check])}).tables["t"].checks
    assert found.label == label
    assert found.on_fail == check.get("on_fail", "error")


def test_values_and_bounds_stay_as_they_are_written() -> None:
    found = CheckConfig.model_validate({"type": "accepted_values", "column": "a", "values": [1, True, "01"]})
    assert found.values == ("1", "true", "01")


@pytest.mark.parametrize(
    ("check", "path", "words"),
    [
        ({"type": "not_null"}, "columns", "required for a check of type 'not_null'"),
        ({"type": "not_null", "columns": []}, "columns", "at least one"),
        ({"type": "unique", "columns": ["a", "a"]}, "columns", "more than once"),
        ({"type": "accepted_values", "column": "a"}, "values", "required"),
        ({"type": "accepted_values", "column": "a", "values": []}, "values", "at least one"),
        ({"type": "range", "column": "a"}, "", "needs 'min' or 'max'"),
        ({"type": "range", "min": 1}, "column", "required"),
        (
            {"type": "range", "column": "a", "min": 1, "sql": "a"},
            "sql",
            "does not have it; it has column, min, max",
        ),
        ({"type": "expression"}, "sql", "required"),
        ({"type": "row_count_change"}, "", "needs 'max_increase' or 'max_decrease'"),
        ({"type": "row_count_change", "max_decrease": 1.5}, "max_decrease", "at most 1"),
        (
            {"type": "row_count_change", "max_increase": 1, "on_fail": "reject"},
            "on_fail",
            "cannot be rejected",
        ),
        ({"type": "nul"}, "type", "must be 'not_null', 'unique'"),
        ({"columns": ["a"]}, "type", "required, but not given"),
        ({"type": "unique", "columns": ["a"], "on_fail": "stop"}, "on_fail", "'error', 'warn' or 'reject'"),
        ({"type": "unique", "columns": ["a"], "colum": "a"}, "colum", "did you mean 'column'?"),
    ],
)
def test_a_check_that_cannot_work_is_refused_at_its_path(
    check: dict[str, Any], path: str, words: str
) -> None:
    refused = problems([{"type": "unique", "columns": ["a"]}, check])
    place = f"checks.1.{path}".rstrip(".")
    assert refused.keys() == {place}
    assert words in refused[place]


def test_a_check_of_an_excluded_column_is_refused() -> None:
    checks = [{"type": "not_null", "columns": ["a", "b"]}, {"type": "range", "column": "b", "min": 1}]
    assert problems(checks, exclude=["b"]).keys() == {"checks.0.columns.1", "checks.1.column"}


def test_r8_a_mart_rejects_no_row() -> None:
    checks = [{"type": "unique", "columns": ["a"], "on_fail": "reject"}]
    with pytest.raises(ValidationError) as caught:
        configured("a", "b", marts={"m": mart("a", "b", checks=checks)})
    (error,) = caught.value.errors()
    assert error["loc"] == ("marts", "m", "checks", 0, "on_fail")
    assert "a mart holds every row of its join" in error["msg"]
