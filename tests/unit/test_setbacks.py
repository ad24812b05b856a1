"""Which signs tell that a source went back, and which recorded states still speak of it (R20, R4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.instants import CursorKind, microseconds
from iceberg_datamart.core.plan.facts import Facts, RunRequest, TableFacts
from iceberg_datamart.core.plan.planner import plan_run
from iceberg_datamart.core.plan.setbacks import fell_below, parts_text, setback
from iceberg_datamart.core.plan.steps import MergeWindow, Refuse
from iceberg_datamart.core.source.reads import IntegerCursor, Probe, SourceTable, StoredPart
from iceberg_datamart.core.state.commit import MirrorState
from iceberg_datamart.core.state.history import Snapshot, TableHistory
from iceberg_datamart.core.state.watermark import Horizon, ReadWindow, Watermark, least_cursor
from support.fakes.ports import configured, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iceberg_datamart.core.settings.model import Config

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)
INTEGER = CursorKind.INTEGER
SOURCE = SourceTable("fake:1/prd/7", (Column("id", "long", nullable=False),), ("id",), True, INTEGER)
STATE = MirrorState(
    *("run-1", "incremental", SOURCE.identity, NOON, NOON),
    cursor="at",
    watermark=Watermark(INTEGER, 10),
    parts="7 8=9",
    transaction=100,
    timeline=1,
    database=5,
)
NOW = Horizon(NOON, NOON, transaction=100, timeline=1, database=5)
PARTS = (StoredPart(7, 7, "t"), StoredPart(8, 9, "p"))


def why(source: dict[str, Any] | None = None, **horizon: Any) -> str | None:
    return setback(STATE, replace(SOURCE, **(source or {})), replace(NOW, **horizon))


def test_r20_a_source_that_is_as_it_was_gives_no_sign() -> None:
    assert why() is None
    assert why({"parts": PARTS}) is None
    assert why(transaction=None, timeline=None, database=None) is None
    unknown = replace(STATE, transaction=None, timeline=None, database=None, parts=None)
    assert setback(unknown, SOURCE, NOW) is None


@pytest.mark.parametrize(
    ("source", "horizon", "sign"),
    [
        ({}, {"timeline": 2}, "the server is on timeline 2, and was on 1"),
        ({}, {"database": 6}, "the database is another one under the same name, with oid 6 instead of 5"),
        ({}, {"transaction": 99}, "the server's transactions went back, from 100 to 99"),
        ({}, {"clock": NOON - timedelta(microseconds=1)}, "the source's clock went back"),
        ({"parts": (StoredPart(7, 10, "t"),)}, {}, "'t' was truncated, restarted or rewritten"),
        ({"parts": (*PARTS, StoredPart(9, 9, "new"))}, {}, "'new' was added to it, with what it holds"),
        ({"integers": IntegerCursor(9)}, {}, "the cursor went back: its greatest value is 9, below"),
        ({"integers": IntegerCursor(None)}, {}, "the cursor went back: its greatest value is None, below"),
        ({"integers": IntegerCursor(20, 9)}, {}, "the cursor's sequence went back: it stands at 9, below"),
        (
            {"integers": IntegerCursor(20, None, "public.s")},
            {},
            "this role may not see where the cursor's sequence public.s stands",
        ),
        ({"integers": IntegerCursor(20, unordered="either may be smaller")}, {}, "either may be smaller"),
    ],
)
def test_r20_each_sign_is_told(source: dict[str, Any], horizon: dict[str, Any], sign: str) -> None:
    found = why(source, **horizon)
    assert found is not None
    assert found.startswith(sign)


@pytest.mark.parametrize(
    "source",
    [
        {"parts": (*PARTS, StoredPart(9, 9, "new", holds_rows=False))},
        {"parts": PARTS[:1]},
        {"integers": IntegerCursor(9, 10)},
        {"integers": IntegerCursor(10)},
    ],
    ids=["an empty partition", "a partition that is gone", "rows were deleted", "the same value"],
)
def test_what_adds_no_row_below_the_watermark_is_no_sign(source: dict[str, Any]) -> None:
    assert why(source) is None


def test_r20_a_part_that_came_back_is_told_by_its_links_where_they_were_recorded() -> None:
    part = StoredPart(8, 9, "p", links="501.502")
    linked = replace(STATE, parts=parts_text((part,)), watermark=None)
    assert setback(linked, replace(SOURCE, parts=(part,)), NOW) is None
    back = replace(part, links="501.777")
    assert setback(linked, replace(SOURCE, parts=(back,)), NOW) == "'p' was detached and attached again"
    assert setback(replace(linked, parts="8=9"), replace(SOURCE, parts=(back,)), NOW) is None


def test_of_very_many_parts_one_digest_is_recorded() -> None:
    many = tuple(StoredPart(number, number, f"p{number}") for number in range(1, 402))
    text = parts_text(many)
    assert text is not None
    assert len(text) < 20
    state = replace(STATE, parts=text, watermark=None)
    assert setback(state, replace(SOURCE, parts=many[::-1]), NOW) is None
    assert setback(state, replace(SOURCE, parts=many[1:]), NOW) is not None
    back = (*many[1:], replace(many[0], links="5"))
    assert setback(state, replace(SOURCE, parts=back), NOW) is not None


@pytest.mark.parametrize(
    ("source", "lower", "greatest", "told"),
    [
        ({}, 10, 9, True),
        ({}, 10, None, True),
        ({}, 5, 9, True),
        ({}, 10, 10, False),
        ({}, 11, None, False),
        ({}, None, None, False),
        ({"is_digested": False}, 10, None, False),
        ({"integers": IntegerCursor(9, 10)}, 10, 9, False),
    ],
)
def test_r20_a_window_tells_that_the_cursor_fell_below_the_watermark(
    source: dict[str, Any], lower: int | None, greatest: int | None, *, told: bool
) -> None:
    window = ReadWindow(None if lower is None else Watermark(INTEGER, lower))
    probe = Probe(1, None if greatest is None else Watermark(INTEGER, greatest))
    assert (fell_below(STATE, replace(SOURCE, **source), window, probe) is not None) == told
    assert fell_below(None, SOURCE, window, probe) is None


# --- states further back


def planned(states: Sequence[MirrorState], file: datetime, config: Config | None = None) -> MergeWindow:
    """Return the plan of a table whose mirror recorded `states`, newest first."""
    snapshots = tuple(
        Snapshot(9 - index, 8 - index, NOON, "append", state.summary()) for index, state in enumerate(states)
    )
    known = TableFacts(
        SOURCE, TableHistory({"id": "long"}, ("id",), snapshots), replace(NOW, clock=NOON + DAY)
    )
    plan = plan_run(config or configured("queue"), Facts(file, {"queue": known}), RunRequest())
    step = plan.table_steps[0]
    assert isinstance(step, MergeWindow), step
    return step


def of(days: int, mark: int, **changes: Any) -> MirrorState:
    """Return a state that was recorded some days before noon."""
    then, found = NOON - days * DAY, Watermark(INTEGER, mark)
    return replace(
        STATE, complete_through=then, read_at=then, watermark=found, greatest=found, parts=None, **changes
    )


@pytest.mark.parametrize("other", [{"source": "fake:1/prd/8"}, {"cursor": "seq"}])
def test_r20_a_state_of_another_source_or_cursor_further_back_is_not_taken_for_this_ones(
    other: dict[str, Any],
) -> None:
    step = planned([of(1, 10), of(3, 5, **other)], NOON - 2 * DAY)
    assert (step.load_type, step.window.lower) == ("incremental", None)
    assert planned([of(1, 10), of(3, 5)], NOON - 2 * DAY).window.lower == Watermark(INTEGER, 5)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=6), st.integers(0, 7))
def test_r20_no_window_starts_above_a_newer_watermark(marks: list[int], days: int) -> None:
    states = [of(index, mark) for index, mark in enumerate(marks)]
    lower = planned(states, NOON - days * DAY).window.lower
    assert lower is None or lower.value <= marks[0]
    assert (lower is None) == (days >= len(marks))


# --- the ends of the calendar


@pytest.mark.parametrize("said", [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)])  # noqa: DTZ001
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Kiritimati"])
@pytest.mark.parametrize("kind", [CursorKind.TIMESTAMP, CursorKind.TIMESTAMPTZ, CursorKind.DATE])
def test_r20_the_first_and_the_last_instant_are_instants_like_others(
    said: datetime, zone: str, kind: CursorKind
) -> None:
    instant = said.replace(tzinfo=timezone.utc)
    found = least_cursor(kind, zone, instant)
    assert found is not None
    unit = microseconds(instant) // (86_400_000_000 if kind is CursorKind.DATE else 1)
    away = unit - found.value
    assert away + 14 * 3_600_000_000 >= 0
    assert away <= 16 * 3_600_000_000
    assert Watermark.parse(kind, str(found)) == found


def test_r9_an_unforeseen_error_while_a_table_is_planned_is_that_tables_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OverflowError("date value out of range")

    known = TableFacts(SOURCE, None, NOW)
    config = configured("queue", tables={"queue": table("queue"), "account": table("account")})
    with monkeypatch.context() as patch:
        patch.setattr("iceberg_datamart.core.plan.planner.next_start", fail)
        plan = plan_run(config, Facts(NOON, {"queue": known, "account": known}), RunRequest())
    refused = [step for step in plan.table_steps if isinstance(step, Refuse)]
    assert [step.table for step in refused] == ["queue", "account"]
    assert "OverflowError: date value out of range" in refused[0].error.message
