"""What is counted in the lines of CSV files, and which counts are an error."""

from __future__ import annotations

import pytest

from iceberg_datamart.core.source.reads import FilesRead
from iceberg_datamart.lake.spark.csv_lines import problem_of


def read(**options: str) -> FilesRead:
    known = {"sep": ",", "quote": '"', "escape": '"', **options}
    return FilesRead("csv", (), (), (), (), known, escape="\\")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"foreign": 2, "escaped": 0, "quotes": 0}, "2 lines with bytes that are none of UTF-8"),
        ({"foreign": 0, "escaped": 1, "quotes": 0}, "escapes signs by"),
        ({"foreign": 0, "escaped": 0, "quotes": 3}, "one is not closed"),
    ],
)
def test_a_file_that_cannot_be_told_for_certain_is_an_error(facts: dict[str, int], words: str) -> None:
    found = problem_of(read(), facts)
    assert found is not None
    assert words in found[0]
    assert found[1]


def test_an_empty_file_is_none() -> None:
    assert problem_of(read(), {"foreign": None, "escaped": None, "quotes": None}) is None
