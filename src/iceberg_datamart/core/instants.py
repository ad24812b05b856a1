"""Instants as whole numbers since 1970, which no time zone shifts, and the cursor types that count so."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from enum import Enum

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MICROSECOND = timedelta(microseconds=1)


class CursorKind(Enum):
    """The PostgreSQL type family of a cursor column."""

    TIMESTAMPTZ = "timestamptz"
    TIMESTAMP = "timestamp"
    DATE = "date"
    INTEGER = "integer"


def microseconds(instant: datetime) -> int:
    """Return the microseconds from 1970 to an aware `instant`."""
    return (instant - EPOCH) // MICROSECOND
