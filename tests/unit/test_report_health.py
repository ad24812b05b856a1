"""The health of a table in one word, from facts alone; how long things last, in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.durations import duration_text, parsed_duration
from iceberg_datamart.core.report.health import (
    MOST_DELETE_FILES,
    MOST_SMALL_FILES,
    MOST_SNAPSHOTS,
    SMALL_FILE,
    STALE_AFTER,
    Condition,
    Figures,
    health,
)

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
FINE = Condition(exists=True, lag=HOUR, figures=Figures(1, 0, SMALL_FILE, 1))
# What makes a table less than well, the worst first.
WORSE = {
    "broken": {"exists": False, "error": "its metadata file is gone"},
    "failed": {"failure": "no space left"},
    "foreign": {"foreign": (1, 2), "undone_by": "`reconcile --table queue`"},
    "behind": {"behind": ("queue",)},
    "stale": {"lag": STALE_AFTER + SECOND},
    "needs maintenance": {"figures": Figures(1, MOST_DELETE_FILES + 1, SMALL_FILE, 1)},
}


@pytest.mark.parametrize("word", WORSE)
def test_each_fact_has_its_word_and_its_reason(word: str) -> None:
    assert health(FINE).word == "ok"
    found = health(replace(FINE, **WORSE[word]))
    assert (found.word, len(found.reasons)) == (word, 1)


def test_the_word_is_that_of_the_worst_and_no_reason_is_left_out() -> None:
    words = list(WORSE)
    for number, word in enumerate(words):
        facts = {name: value for each in words[number:] for name, value in WORSE[each].items()}
        found = health(replace(FINE, **facts))
        assert (found.word, len(found.reasons)) == (word, len(words) - number)


def test_a_table_that_is_not_there_or_was_never_filled_is_missing_and_one_without_rows_is_not() -> None:
    assert health(Condition(exists=False)).word == "missing"
    assert health(Condition(exists=True, is_filled=False)).word == "missing"
    assert health(Condition(exists=True, is_filled=False, lag=HOUR)).word == "ok"


def test_of_a_disabled_table_nothing_is_asked() -> None:
    assert health(replace(FINE, is_enabled=False, **WORSE["stale"], **WORSE["foreign"])).word == "disabled"


@pytest.mark.parametrize(
    ("limit", "word"), [(HOUR, "ok"), (HOUR - SECOND, "stale"), (timedelta(0), "stale"), (None, "ok")]
)
def test_a_table_is_stale_where_it_lags_more_than_was_allowed(limit: timedelta | None, word: str) -> None:
    assert health(FINE, limit).word == word


@pytest.mark.parametrize(
    ("figures", "word"),
    [
        (Figures(1, MOST_DELETE_FILES, 1, 1), "ok"),
        (Figures(1, MOST_DELETE_FILES + 1, 1, 1), "needs maintenance"),
        (Figures(MOST_SMALL_FILES, 0, 1, 1), "ok"),
        (Figures(MOST_SMALL_FILES + 1, 0, 1, 1), "needs maintenance"),
        (Figures(MOST_SMALL_FILES + 1, 0, (MOST_SMALL_FILES + 1) * SMALL_FILE, 1), "ok"),
        (Figures(1, 0, 1, MOST_SNAPSHOTS), "ok"),
        (Figures(1, 0, 1, MOST_SNAPSHOTS + 1), "needs maintenance"),
        (Figures(None, None, None, 1), "ok"),
    ],
)
def test_small_files_delete_files_and_snapshots_call_for_maintenance_from_a_number_on(
    figures: Figures, word: str
) -> None:
    assert health(replace(FINE, figures=figures)).word == word


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), (" 2h ", 7200), ("3d", 259_200), ("0s", 0)]
)
def test_a_length_of_time_is_a_number_and_its_unit(text: str, seconds: int) -> None:
    assert parsed_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "2", "h", "-2h", "2 hours", "1h30m", "1.5h", "2H", "٣h", "999999d"])
def test_nothing_else_is(text: str) -> None:
    assert parsed_duration(text) is None


@given(st.timedeltas(timedelta(0), timedelta(days=10_000)))
def test_the_text_of_a_length_says_no_more_than_has_passed(length: timedelta) -> None:
    parts = [parsed_duration(part) for part in duration_text(length).split()]
    said = sum((part for part in parts if part is not None), timedelta(0))
    assert None not in parts
    assert timedelta(0) <= length - said < timedelta(hours=1)
