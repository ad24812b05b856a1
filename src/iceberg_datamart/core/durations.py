"""Lengths of time as people write and read them: `90s`, `30m`, `2h`, `3d`."""

from __future__ import annotations

import re
from datetime import timedelta

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_FORM = re.compile(r"([0-9]{1,5})\s*([smhd])")


def parsed_duration(text: str) -> timedelta | None:
    """Return the length that a number and s, m, h or d mean; None for any other text."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        return None
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def duration_text(length: timedelta) -> str:
    """Return the length in its two greatest units, cut to whole ones: `3h 05m`, `2h`; never below `0s`."""
    seconds = max(0, int(length.total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    found = ((days, "d", hours % 24, "h"), (hours, "h", minutes % 60, "m"), (minutes, "m", seconds % 60, "s"))
    for great, unit, small, smaller in found:
        if great:
            return f"{great}{unit} {small:02}{smaller}" if small else f"{great}{unit}"
    return f"{seconds}s"
