"""What `repair` found of a table."""

from __future__ import annotations

from dataclasses import dataclass

ABSENT, SOUND, BROKEN, REPAIRED = "absent", "sound", "broken", "repaired"


@dataclass(frozen=True)
class Finding:
    """What was found of one table, and done: `absent`, `sound`, `broken` (left so), or `repaired`.

    `missing` is the file that the pointer named, `previous` the one that it is set back to.
    """

    outcome: str
    missing: str | None = None
    previous: str | None = None
