"""The judge of random schemas lets nothing pass but the source's rows, and old ones where no cursor tells."""

from __future__ import annotations

import pytest

from support.fuzz.judge import Present, Verdict, comparable, judged

KEYS = {"[1]": (1,), "[2]": (2,), "[3]": (3,)}
SOURCE = Present({"[1]": (1, "new"), "[2]": (2, "same")}, unfit={"[3]"}, gone=set())
BEFORE = Present({"[1]": (1, "old"), "[2]": (2, "same"), "[3]": (3, "fit")}, unfit=set(), gone=set())
RIGHT = [(1, "new"), (2, "same"), (3, "fit")]


def verdict(rows: list[tuple[int, str]], *may_be_old: str, source: Present = SOURCE) -> Verdict:
    found: dict[tuple[int], list[tuple[int, str]]] = {}
    for row in rows:
        found.setdefault(row[:1], []).append(row)
    return judged(found, source, BEFORE, KEYS, may_be_old)


def test_the_sources_rows_are_right_and_those_that_none_can_hold_stay_as_they_were() -> None:
    assert verdict(RIGHT) == Verdict([], {"[3]"})


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (RIGHT[1:], "[1]: held None"),
        ([(1, "old"), *RIGHT[1:]], "[1]: held (1, 'old')"),
        ([*RIGHT, (1, "new")], "[1]: held 2 times"),
        ([*RIGHT, (4, "new")], "(4,): held, and was never there"),
        (RIGHT[:2], "[3]: held None"),
        ([*RIGHT[:2], (3, "infinite")], "[3]: held (3, 'infinite')"),
    ],
    ids=["lost", "stale", "doubled", "invented", "last good version lost", "made to fit"],
)
def test_what_is_lost_stale_doubled_or_invented_is_wrong(rows: list[tuple[int, str]], said: str) -> None:
    (wrong,) = verdict(rows, "[2]").wrong
    assert wrong.startswith(said)


def test_of_a_row_of_which_no_cursor_tells_the_old_version_is_right_too_and_no_other() -> None:
    assert verdict([(1, "old"), *RIGHT[1:]], "[1]") == Verdict([], {"[1]", "[3]"})
    assert verdict(RIGHT, "[1]").wrong == []
    assert len(verdict([(1, "older"), *RIGHT[1:]], "[1]").wrong) == 1
    assert len(verdict(RIGHT[1:], "[1]").wrong) == 1


def test_a_deleted_row_may_be_held_where_no_cursor_tells_and_nowhere_else() -> None:
    without = Present({"[2]": (2, "same")}, unfit={"[3]"}, gone=set())
    assert verdict([(1, "old"), *RIGHT[1:]], "[1]", source=without) == Verdict([], {"[1]", "[3]"})
    assert verdict(RIGHT[1:], "[1]", source=without) == Verdict([], {"[3]"})
    assert len(verdict([(1, "old"), *RIGHT[1:]], source=without).wrong) == 1


def test_a_row_that_arrived_with_an_old_cursor_may_be_missing_and_is_waited_for() -> None:
    before = Present({"[2]": (2, "same")}, unfit=set(), gone=set())
    found = {(2,): [(2, "same")]}
    assert judged(found, SOURCE, before, KEYS, {"[1]"}) == Verdict([], {"[1]", "[3]"})
    assert len(judged(found, SOURCE, before, KEYS, ()).wrong) == 1


def test_a_nan_is_a_nan_and_a_list_can_be_hashed() -> None:
    assert hash(comparable([float("nan"), [1]])) == hash(("NaN", (1,)))
