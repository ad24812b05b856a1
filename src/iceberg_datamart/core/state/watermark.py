"""Where a mirror stands, where the next read starts, and how far a watermark may move (R4, R7)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from iceberg_datamart.core.instants import EPOCH, MICROSECOND, CursorKind, microseconds

if TYPE_CHECKING:
    from collections.abc import Iterable

# How far reads start back where open transactions cannot be seen.
LOOKBACK = timedelta(minutes=5)
# Sessions write dates of zones from UTC-12 to UTC+14; the least of them trails UTC by this much.
_WESTERNMOST = timedelta(hours=12)
# The clock is set back by at most this much where a zone leaves daylight-saving time.
_GREATEST_SETBACK = timedelta(hours=3)
# No clock on Earth trails UTC by more, now or in the records of the past.
_GREATEST_OFFSET = timedelta(hours=16)


# The microseconds in a cursor value's unit, and those of the first and the last ISO instant.
_UNITS = {CursorKind.TIMESTAMPTZ: 1, CursorKind.TIMESTAMP: 1, CursorKind.DATE: 86_400_000_000}
_FIRST = (datetime.min.replace(tzinfo=timezone.utc) - EPOCH) // MICROSECOND
_LAST = (datetime.max.replace(tzinfo=timezone.utc) - EPOCH) // MICROSECOND


@dataclass(frozen=True)
class Watermark:
    """A cursor value up to which a mirror is complete.

    `value` counts microseconds since 1970 (timestamptz: of the instant; timestamp: of the local
    time as written), days since 1970 (date), or is the integer itself.
    """

    kind: CursorKind
    value: int

    def __str__(self) -> str:
        """Return ISO 8601 text, or the integer; `parse` reads it back.

        PostgreSQL knows years that ISO text of four digits does not: those values stand behind an @.
        """
        if self.kind is CursorKind.INTEGER:
            return str(self.value)
        if not _FIRST <= self.value * _UNITS[self.kind] <= _LAST:
            return f"@{self.value}"
        if self.kind is CursorKind.DATE:
            return (EPOCH + timedelta(days=self.value)).date().isoformat()
        instant = (EPOCH + self.value * MICROSECOND).replace(tzinfo=None)
        zone = "Z" if self.kind is CursorKind.TIMESTAMPTZ else ""
        return instant.isoformat(timespec="microseconds") + zone

    @classmethod
    def parse(cls, kind: CursorKind, text: str) -> Watermark:
        """Return the watermark that `str` wrote. Raises: ValueError."""
        if kind is CursorKind.INTEGER or text.startswith("@"):
            return cls(kind, int(text.removeprefix("@")))
        if kind is CursorKind.DATE:
            return cls(kind, (date.fromisoformat(text) - EPOCH.date()).days)
        local = datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=timezone.utc)
        return cls(kind, microseconds(local))

    def lowered_by(self, lookback: timedelta) -> Watermark:
        """Return the watermark `lookback` earlier; whole days, rounded up, for a date. Integers stay."""
        if self.kind is CursorKind.INTEGER:
            return self
        unit = timedelta(days=1) if self.kind is CursorKind.DATE else MICROSECOND
        return Watermark(self.kind, self.value + (-lookback) // unit)


@dataclass(frozen=True)
class ReadWindow:
    """The cursor values that one run reads: from `lower`, closed, without an upper end.

    `None` reads everything. Rows whose cursor is NULL are in every window. What a window may not
    see is decided by the source's snapshot, and what it may have missed by the horizon. Of an Iceberg
    source, the rows appended after snapshot `after`; those of no cursor value.
    """

    lower: Watermark | None = None
    after: int | None = None


@dataclass(frozen=True)
class Horizon:
    """The source's time below which no open transaction can still write.

    `instant` is the horizon; `clock` the source's clock when it was taken. `held_since` is the start
    of the oldest open transaction, where one holds the horizon back. `visible` is false where some
    transactions cannot be seen, so that `instant` is a guess: the clock less the lookback.
    `transaction` is the first one that the point does not see, `timeline` that of the server's log, and
    `database` the oid of the database (PostgreSQL's names); None where the source has no such number, or does
    not tell.
    """

    instant: datetime
    clock: datetime
    held_since: datetime | None = None
    visible: bool = True
    transaction: int | None = None
    timeline: int | None = None
    database: int | None = None

    def guessed(self) -> Horizon:
        """Return the horizon of who cannot see the writers: at most the clock less the lookback."""
        return replace(self, instant=min(self.instant, self.clock - LOOKBACK), visible=False)


def least_cursor(kind: CursorKind, zone: str, instant: datetime) -> Watermark | None:
    """Return the least cursor value that a writer can take from its clock at `instant` or later.

    For timestamp columns, `zone` names the clock: where it is set back within the next hours, local
    times repeat, and the least one counts. None for integers, which know no time.
    """
    if kind is CursorKind.INTEGER:
        return None
    if kind is CursorKind.TIMESTAMPTZ:
        return Watermark(kind, microseconds(instant))
    if kind is CursorKind.DATE:
        return Watermark(kind, (instant - EPOCH - _WESTERNMOST) // timedelta(days=1))
    try:
        return Watermark(kind, _least_local(instant.astimezone(timezone.utc), zone))
    except OverflowError:
        # Local time lies before the first or after the last day of Python's calendar.
        return Watermark(kind, (instant - EPOCH - _GREATEST_OFFSET) // MICROSECOND)


def least_instant(instants: Iterable[datetime]) -> datetime | None:
    """Return the earliest, cut to whole seconds, as the timestamp file says it; None for none."""
    found = min(instants, default=None)
    return None if found is None else found.astimezone(timezone.utc).replace(microsecond=0)


def advanced(
    saved: Watermark | None, greatest: Watermark | None, limit: Watermark | None
) -> Watermark | None:
    """Return the watermark after a read: the greatest value seen, but never past `limit` (R7).

    A limit below what was saved lowers the watermark: rows read twice are harmless.
    """
    if limit is None:
        return saved
    seen = [mark.value for mark in (saved, greatest) if mark is not None]
    return Watermark(limit.kind, min(max(seen), limit.value)) if seen else None


def _least_local(utc: datetime, zone: str) -> int:
    """Return the least local time at `utc` or later. Raises: OverflowError at the ends of the calendar."""
    # Clocks are set back on a whole minute, and local time is least there.
    minute = utc.replace(second=0, microsecond=0)
    minutes = range(1, int(_GREATEST_SETBACK / timedelta(minutes=1)) + 1)
    later = (_local(minute + timedelta(minutes=count), zone) for count in minutes)
    return min(_local(utc, zone), *later)


def _local(instant: datetime, zone: str) -> int:
    return microseconds(instant.astimezone(ZoneInfo(zone)).replace(tzinfo=timezone.utc))
