"""Up to when mirrors and marts are complete, as their commits and the timestamp file tell it together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from iceberg_datamart.core.state.history import TableHistory

# Which witness a complete-through is from, and which clock a lag is measured by.
COMMIT, TIMESTAMP_FILE = "commit", "timestamp_file"
SOURCE, CLOCK = "source", "clock"


@dataclass(frozen=True)
class Now:
    """The present instant, and whose it is: the `source`'s, or this machine's `clock`."""

    instant: datetime
    by: str


@dataclass(frozen=True)
class Complete:
    """Up to when a table is known complete, by which witness, and the clock that its lag is measured by."""

    through: datetime
    by: str
    now: Now

    @property
    def lag(self) -> timedelta:
        """Return how far the table trails the clock; less than nothing where clocks differ."""
        return self.now.instant - self.through


def mirror_complete(
    mirror: TableHistory | None, timestamp: datetime | None, now: Now, *, enabled: bool
) -> Complete | None:
    """Return up to when a mirror is complete: the later of its newest commit's word and `timestamp`.

    `timestamp` is what the timestamp file says. It moves on without a commit where nothing changed, but it
    counts only where it speaks of this table as it is: an enabled one that was not set back since. A time
    ahead of the source's clock was not written by a run.
    """
    if mirror is None:
        return None
    recorded = _recorded(mirror)
    if timestamp is None or not enabled or timestamp > now.instant or not _is_told_of(mirror, timestamp):
        timestamp = None
    if timestamp is not None and (recorded is None or recorded < timestamp):
        return Complete(timestamp, TIMESTAMP_FILE, now)
    return None if recorded is None else Complete(recorded, COMMIT, now)


def mart_complete(
    mart: TableHistory | None,
    mirrors: Mapping[str, TableHistory | None],
    complete: Mapping[str, Complete | None],
) -> Complete | None:
    """Return up to when a mart is complete: as its mirrors are, and where it is behind, as they then were.

    `mirrors` are its own. None where it consumed nothing, or what one of them held is not known any more.
    """
    state = None if mart is None else mart.mart_state
    if state is None:
        return None
    late = behind(mart, mirrors)
    found = [
        _as_consumed(mirror, state.consumed.get(table), complete.get(table))
        if table in late
        else complete.get(table)
        for table, mirror in mirrors.items()
    ]
    known = [each for each in found if each is not None]
    return min(known, key=lambda each: each.through) if known and len(known) == len(found) else None


def behind(mart: TableHistory | None, mirrors: Mapping[str, TableHistory | None]) -> tuple[str, ...]:
    """Return the mirrors whose rows may have changed since the mart's newest commit consumed them.

    A compaction changes none, nor does a commit that only records state.
    """
    state = None if mart is None else mart.mart_state
    if state is None:
        return ()
    return tuple(name for name, each in mirrors.items() if _has_moved_on(each, state.consumed.get(name)))


def _is_told_of(mirror: TableHistory, timestamp: datetime) -> bool:
    """Return whether the timestamp file was written for the table at its present snapshot.

    One that has later snapshots was rolled back, or something was staged and not published: a file that is
    newer than the present snapshot's turn was written by a run that found it so.
    """
    if mirror.current is None or not mirror.is_superseded:
        return True
    since = mirror.published_at(mirror.current.snapshot_id)
    return since is not None and since < timestamp


def _recorded(mirror: TableHistory | None) -> datetime | None:
    state = None if mirror is None else mirror.mirror_state
    return None if state is None else state.complete_through


def _has_moved_on(mirror: TableHistory | None, consumed: int | None) -> bool:
    if mirror is None or mirror.current is None:
        return False
    # Of a mirror that was empty then, nothing is consumed.
    found = None if consumed is None else mirror.since_known(consumed)
    return found is None or any(snapshot.changes_rows or snapshot.is_foreign for snapshot in found[0])


def _as_consumed(
    mirror: TableHistory | None, consumed: int | None, present: Complete | None
) -> Complete | None:
    """Return how complete a mirror was at a snapshot, by the clock that it is measured by at present."""
    through = None if mirror is None or consumed is None else _recorded(mirror.as_of(consumed))
    if through is None or present is None:
        return None
    return Complete(through, COMMIT, present.now)
