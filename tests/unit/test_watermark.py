"""How watermarks are written, how far they move, and what a clock may still write (R4, R7)."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from iceberg_datamart.core.instants import EPOCH, CursorKind, microseconds
from iceberg_datamart.core.state.watermark import Watermark, advanced, least_cursor, least_instant

UTC = timezone.utc
MICRO = timedelta(microseconds=1)
# What PostgreSQL can hold: https://www.postgresql.org/docs/current/datatype-datetime.html
POSTGRES_DAYS = (-2_440_588, 2_145_031_948)
POSTGRES_MICROSECONDS = (-210_866_803_200_000_000, 9_223_371_331_199_999_999)
# What Python's own datetime can hold: the years 1 to 9999.
PYTHON_DAYS = (-719_162, 2_932_896)
PYTHON_MICROSECONDS = (PYTHON_DAYS[0] * 86_400_000_000, (PYTHON_DAYS[1] + 1) * 86_400_000_000 - 1)
# Zones that set their clocks back by half an hour, one, two and three hours, and for politics.
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Antarctica/Casey",
    "Africa/Casablanca",
    "America/Caracas",
    "Asia/Pyongyang",
    "America/St_Johns",
    "Pacific/Apia",
)

instants = st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
integers = st.integers(-(2**63), 2**63 - 1)
lookbacks = st.timedeltas(timedelta(0), timedelta(days=400))


def watermarks(kind: CursorKind, *, days: tuple[int, int] = PYTHON_DAYS) -> st.SearchStrategy[Watermark]:
    micro = PYTHON_MICROSECONDS if days == PYTHON_DAYS else POSTGRES_MICROSECONDS
    values = {CursorKind.INTEGER: integers, CursorKind.DATE: st.integers(*days)}.get(
        kind, st.integers(*micro)
    )
    return values.map(lambda value: Watermark(kind, value))


any_watermark = st.sampled_from(CursorKind).flatmap(watermarks)


@cache
def setbacks(zone: str) -> tuple[datetime, ...]:
    """Return the instants since 1990 at which the clocks of `zone` were set back."""
    days = [datetime(1990, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(40 * 365)]
    offsets = [offset(day, zone) for day in days]
    pairs = zip(pairwise(days), pairwise(offsets), strict=True)
    return tuple(_setback(*span, zone) for span, (before, after) in pairs if after < before)


def _setback(low: datetime, high: datetime, zone: str) -> datetime:
    before = offset(low, zone)
    while high - low > MICRO:
        middle = low + (high - low) // 2
        low, high = (middle, high) if offset(middle, zone) == before else (low, middle)
    return high


def offset(instant: datetime, zone: str) -> timedelta:
    found = instant.astimezone(ZoneInfo(zone)).utcoffset()
    assert found is not None
    return found


def local(instant: datetime, zone: str) -> int:
    """Return the local time that a clock in `zone` shows, as microseconds since 1970."""
    return microseconds(instant) + offset(instant, zone) // MICRO


@st.composite
def moments_near_setbacks(draw: st.DrawFn) -> tuple[str, datetime, datetime]:
    """Return a zone, an instant, and the moment near it at which clocks are set back."""
    zone = draw(st.sampled_from([zone for zone in ZONES if setbacks(zone)]))
    setback = draw(st.sampled_from(setbacks(zone)))
    return zone, setback - draw(st.timedeltas(timedelta(hours=-2), timedelta(hours=6))), setback


# --- text


@given(any_watermark)
@example(Watermark(CursorKind.TIMESTAMPTZ, PYTHON_MICROSECONDS[0]))
@example(Watermark(CursorKind.TIMESTAMP, PYTHON_MICROSECONDS[1]))
@example(Watermark(CursorKind.DATE, 0))
@example(Watermark(CursorKind.TIMESTAMP, -1))
def test_every_watermark_is_read_back_from_its_text(mark: Watermark) -> None:
    assert Watermark.parse(mark.kind, str(mark)) == mark


@pytest.mark.parametrize("kind", [CursorKind.TIMESTAMPTZ, CursorKind.TIMESTAMP, CursorKind.DATE])
@pytest.mark.parametrize("end", [0, 1], ids=["4713 BC", "far future"])
def test_a_cursor_value_that_only_postgres_can_hold_is_read_back_too(kind: CursorKind, end: int) -> None:
    mark = Watermark(kind, (POSTGRES_DAYS if kind is CursorKind.DATE else POSTGRES_MICROSECONDS)[end])
    assert Watermark.parse(kind, str(mark)) == mark


@pytest.mark.parametrize(
    ("mark", "text"),
    [
        (Watermark(CursorKind.TIMESTAMPTZ, 0), "1970-01-01T00:00:00.000000Z"),
        (Watermark(CursorKind.TIMESTAMPTZ, 1_767_225_600_000_001), "2026-01-01T00:00:00.000001Z"),
        (Watermark(CursorKind.TIMESTAMP, 1_767_225_600_000_000), "2026-01-01T00:00:00.000000"),
        (Watermark(CursorKind.TIMESTAMP, -1), "1969-12-31T23:59:59.999999"),
        (Watermark(CursorKind.DATE, 20_454), "2026-01-01"),
        (Watermark(CursorKind.DATE, -1), "1969-12-31"),
        (Watermark(CursorKind.INTEGER, -(2**63)), "-9223372036854775808"),
    ],
)
def test_the_text_is_iso_8601_or_the_number(mark: Watermark, text: str) -> None:
    assert str(mark) == text


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (CursorKind.INTEGER, "2026-01-01"),
        (CursorKind.INTEGER, ""),
        (CursorKind.DATE, "17"),
        (CursorKind.DATE, "2026-02-30"),
        (CursorKind.TIMESTAMPTZ, "17"),
        (CursorKind.TIMESTAMP, "yesterday"),
    ],
)
def test_other_text_is_no_watermark(kind: CursorKind, text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (the standard library's words)
        Watermark.parse(kind, text)


# --- lookback


@given(any_watermark, lookbacks)
def test_a_lookback_never_starts_the_window_later_than_it_says(mark: Watermark, lookback: timedelta) -> None:
    lowered = mark.lowered_by(lookback)
    unit = {CursorKind.DATE: timedelta(days=1)}.get(mark.kind, MICRO)
    assert lowered.kind is mark.kind
    if mark.kind is CursorKind.INTEGER:
        assert lowered == mark
    else:
        assert lookback <= (mark.value - lowered.value) * unit < lookback + unit


@pytest.mark.parametrize(
    ("lookback", "days"),
    [
        (timedelta(0), 0),
        (timedelta(microseconds=1), 1),
        (timedelta(days=1), 1),
        (timedelta(days=1, microseconds=1), 2),
    ],
)
def test_a_lookback_of_a_date_is_rounded_up_to_whole_days(lookback: timedelta, days: int) -> None:
    assert Watermark(CursorKind.DATE, 100).lowered_by(lookback).value == 100 - days


# --- advancing


@given(st.data(), st.sampled_from(CursorKind))
def test_r7_the_watermark_passes_neither_the_horizon_nor_the_greatest_value_seen(
    data: st.DataObject, kind: CursorKind
) -> None:
    marks = watermarks(kind)
    saved, greatest = data.draw(st.none() | marks), data.draw(st.none() | marks)
    limit = data.draw(marks)
    found = advanced(saved, greatest, limit)
    seen = [mark.value for mark in (saved, greatest) if mark is not None]
    if found is None:
        assert not seen
    else:
        assert found.kind is kind
        assert found.value == min(limit.value, max(seen))


@given(st.none() | watermarks(CursorKind.INTEGER), st.none() | watermarks(CursorKind.INTEGER))
def test_a_cursor_that_knows_no_time_keeps_its_watermark_until_it_is_settled(
    saved: Watermark | None, greatest: Watermark | None
) -> None:
    assert advanced(saved, greatest, None) == saved


# --- what a clock may still write


@given(instants, st.timedeltas(timedelta(0), timedelta(days=1)))
def test_a_timestamptz_is_the_instant_itself(instant: datetime, later: timedelta) -> None:
    least = least_cursor(CursorKind.TIMESTAMPTZ, "Europe/Berlin", instant)
    assert least == Watermark(CursorKind.TIMESTAMPTZ, microseconds(instant))
    assert microseconds(instant + later) >= least.value


@given(instants)
def test_an_integer_knows_no_time(instant: datetime) -> None:
    assert least_cursor(CursorKind.INTEGER, "UTC", instant) is None


@given(st.sampled_from(ZONES), instants, st.timedeltas(timedelta(0), timedelta(days=1)))
def test_no_clock_shows_less_than_the_least_cursor_within_a_day(
    zone: str, instant: datetime, later: timedelta
) -> None:
    least = least_cursor(CursorKind.TIMESTAMP, zone, instant)
    assert least is not None
    assert local(instant + later, zone) >= least.value


@given(moments_near_setbacks(), st.timedeltas(timedelta(0), timedelta(minutes=2)))
def test_no_clock_shows_less_than_the_least_cursor_where_it_is_set_back(
    moment: tuple[str, datetime, datetime], after: timedelta
) -> None:
    zone, instant, setback = moment
    later = max(setback + after, instant)
    least = least_cursor(CursorKind.TIMESTAMP, zone, instant)
    assert least is not None
    assert local(later, zone) >= least.value


def test_the_repeated_hour_counts_from_its_very_first_microsecond() -> None:
    half_a_minute_before = datetime(2026, 10, 25, 0, 59, 30, tzinfo=UTC)
    least = least_cursor(CursorKind.TIMESTAMP, "Europe/Berlin", half_a_minute_before)
    assert str(least) == "2026-10-25T02:00:00.000000"


@given(st.sampled_from(ZONES), instants)
def test_the_least_cursor_is_a_time_that_the_clock_shows_within_three_hours(
    zone: str, instant: datetime
) -> None:
    least = least_cursor(CursorKind.TIMESTAMP, zone, instant)
    assert least is not None
    lowest = offset(instant, zone) - timedelta(hours=3)
    assert least.value >= microseconds(instant) + lowest // MICRO
    assert least.value <= local(instant, zone)


@given(instants, st.timedeltas(timedelta(0), timedelta(days=1)), st.integers(-12, 14))
def test_no_calendar_on_earth_shows_a_day_before_the_least_date(
    instant: datetime, later: timedelta, hours: int
) -> None:
    least = least_cursor(CursorKind.DATE, "UTC", instant)
    assert least is not None
    written = (instant + later).astimezone(timezone(timedelta(hours=hours))).date()
    assert (written - date(1970, 1, 1)).days >= least.value


@given(
    st.sampled_from([CursorKind.TIMESTAMPTZ, CursorKind.TIMESTAMP, CursorKind.DATE]),
    st.sampled_from(ZONES),
    instants,
    st.sampled_from([timezone(timedelta(hours=14)), timezone(timedelta(hours=-12)), *map(ZoneInfo, ZONES)]),
)
def test_the_least_cursor_depends_on_the_instant_not_on_how_it_is_written(
    kind: CursorKind, zone: str, instant: datetime, written: ZoneInfo | timezone
) -> None:
    same = instant.astimezone(written)
    assume(same == instant)
    assert least_cursor(kind, zone, same) == least_cursor(kind, zone, instant)


# --- the timestamp file's instant


@given(st.lists(instants, max_size=5))
def test_r6_the_least_instant_is_floored_to_the_second(found: list[datetime]) -> None:
    least = least_instant(found)
    if least is None:
        assert not found
    else:
        assert least.microsecond == 0
        assert least.utcoffset() == timedelta(0)
        assert all(least <= instant for instant in found)
        assert min(found) - least < timedelta(seconds=1)


@given(instants)
def test_microseconds_count_from_1970_exactly(instant: datetime) -> None:
    assert EPOCH + microseconds(instant) * MICRO == instant
