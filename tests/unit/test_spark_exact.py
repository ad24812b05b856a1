"""Which types of files a column of the catalog holds without rounding a value."""

from __future__ import annotations

import pytest

from iceberg_datamart.lake.spark.exact import _holds


@pytest.mark.parametrize(
    ("want", "have"),
    [
        ("bigint", "bigint"),
        ("bigint", "tinyint"),
        ("double", "float"),
        ("decimal(12,2)", "decimal(10, 2)"),
        ("timestamp", "timestamp_ntz"),
        ("array<bigint>", "array<int>"),
        ("string", "bigint"),
    ],
)
def test_a_wider_type_holds_every_value(want: str, have: str) -> None:
    assert _holds(want, have)


@pytest.mark.parametrize(
    ("want", "have"),
    [
        ("bigint", "double"),
        ("int", "bigint"),
        ("float", "double"),
        ("decimal(10,2)", "decimal(10,3)"),
        ("decimal(10,2)", "decimal(11,2)"),
        ("decimal(10,2)", "double"),
        ("date", "timestamp"),
        ("array<int>", "array<bigint>"),
        ("bigint", "array<bigint>"),
    ],
)
def test_a_type_that_would_round_or_cut_is_not_held(want: str, have: str) -> None:
    assert not _holds(want, have)
