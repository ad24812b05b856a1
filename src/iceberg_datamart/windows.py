"""Where one table's next read starts: the older of two witnesses wins (R4, R5, R11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceberg_datamart.watermark import CursorKind, Watermark, least_cursor

if TYPE_CHECKING:
    from datetime import datetime

    from iceberg_datamart.config import TableConfig
    from iceberg_datamart.reading import SourceTable
    from iceberg_datamart.receipt import MirrorState, TableHistory
    from iceberg_datamart.source_snapshots import SourceSnapshots

FULL, INCREMENTAL, RECONCILE = "full", "incremental", "reconcile"
# Reads everything as an incremental run would, so that no delete is found: for columns that are new.
BACKFILL = "backfill"
# Load types after which a mirror holds exactly what its source held, deletes included.
WHOLE = frozenset({FULL, RECONCILE})
_TOO_OLD = "the timestamp file is older than the mirror's history"


@dataclass(frozen=True)
class Witnesses:
    """What is known of how far a mirror got: the timestamp file, and the mirror's own history.

    `remade` says why no row of it is good any more, whatever its cursor: see `SchemaChange`.
    """

    timestamp: datetime | None
    mirror: TableHistory | None
    horizon: datetime
    remade: str | None = None

    @property
    def states(self) -> tuple[MirrorState, ...]:
        """Return the mirror's CDC states, newest first."""
        return () if self.mirror is None else self.mirror.mirror_states()

    @property
    def state(self) -> MirrorState | None:
        """Return the mirror's newest CDC state."""
        return next(iter(self.states), None)


@dataclass(frozen=True)
class Start:
    """How a table is read, and why.

    Everything with `full`, the slices that differ with `reconcile`, else from `lower`, closed (None: all).
    Of an Iceberg source, what was appended after its snapshot `after`.
    """

    load_type: str
    lower: Watermark | None
    reason: str
    after: int | None = None


def known_complete(mirror: TableHistory | None, timestamp: datetime | None, now: datetime) -> datetime | None:
    """Return up to when a mirror is complete by what is recorded; None where no run has filled it.

    A read that finds nothing commits nothing, so the timestamp file may know better than the newest
    commit; a file that is ahead of the clock knows nothing, nor does it of a mirror that was rolled back.
    """
    states = () if mirror is None else mirror.mirror_states()
    if mirror is None or not states:
        return None
    recorded = states[0].complete_through
    blind = timestamp is None or timestamp > now or mirror.is_superseded
    return recorded if blind or timestamp is None else max(recorded, timestamp)


def next_start(
    table: TableConfig, source: SourceTable, seen: Witnesses, *, asked: str, on_missing: str
) -> Start:
    """Return where the next read of a table starts.

    `asked` is the load type that the caller wishes; `on_missing` says what a missing timestamp file
    means (R5). A window may start earlier than needed, never later.
    """
    why = _why_full(table, source, seen, asked=asked, on_missing=on_missing)
    if why is None and asked == BACKFILL:
        return Start(BACKFILL, None, "asked for")
    if why is not None or seen.remade is not None:
        return Start(FULL, None, why or seen.remade or "")
    if asked == RECONCILE:
        return Start(RECONCILE, None, "asked for")
    if source.snapshots is not None:
        return _snapshot_start(source.snapshots, seen)
    lower, reason = (
        _integer_start(seen) if source.cursor is CursorKind.INTEGER else _start(table, source, seen)
    )
    if lower is not None and table.lookback is not None:
        lower = lower.lowered_by(table.lookback)
    return Start(INCREMENTAL, lower, reason)


def _why_full(
    table: TableConfig, source: SourceTable, seen: Witnesses, *, asked: str, on_missing: str
) -> str | None:
    state = seen.state
    missing = seen.timestamp is None
    reasons = {
        "asked for": asked == FULL,
        "the source does not digest its slices": asked == RECONCILE and not source.is_digested,
        "the table has no cursor column": source.cursor is None
        and source.snapshots is None
        and asked not in {RECONCILE, BACKFILL},
        "the mirror is empty": seen.mirror is None or seen.mirror.current is None,
        "no run has filled the mirror as it is now": state is None and _is_whole(seen.mirror),
        "the mirror's history is gone, and it may have been rolled back": state is None
        and seen.mirror is not None
        and seen.mirror.is_superseded,
        "the timestamp file is missing": missing and on_missing == "full_load",
        "neither the timestamp file nor the mirror's history says where to start": missing and state is None,
        "the timestamp file is ahead of the source, and the mirror's history says nothing": state is None
        and seen.timestamp is not None
        and seen.timestamp > seen.horizon,
        "the source is a new one": state is not None and state.source != source.identity,
        "the cursor column is another one": state is not None and not _same_cursor(table, source, state),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _is_whole(mirror: TableHistory | None) -> bool:
    """Return whether nothing of the mirror's history has expired, so that what it lacks never was there."""
    return mirror is not None and mirror.is_whole


def _same_cursor(table: TableConfig, source: SourceTable, state: MirrorState) -> bool:
    """Return whether a state's watermark is a value of the cursor column that the settings name now."""
    kinds = {mark.kind for mark in (state.watermark, state.greatest) if mark is not None}
    return state.cursor == table.cursor and kinds <= {source.cursor}


def _start(table: TableConfig, source: SourceTable, seen: Witnesses) -> tuple[Watermark | None, str]:
    state = seen.state
    file = None
    if seen.timestamp is not None and source.cursor is not None:
        file = least_cursor(source.cursor, table.cursor_timezone, seen.timestamp)
    if state is None:
        return file, "the timestamp file; the mirror's history says nothing"
    if state.watermark is None:
        return None, "the mirror has no watermark yet"
    if file is not None and file.value < state.watermark.value:
        return file, "the timestamp file, older than the mirror's watermark"
    return state.watermark, "the mirror's watermark"


def _integer_start(seen: Witnesses) -> tuple[Watermark | None, str]:
    """Return the watermark of the newest state that holds: integers know no time."""
    found = _uncontradicted(seen)
    if found is None:
        return None, _TOO_OLD
    when = "" if found is seen.state else " at the timestamp file's time"
    return found.watermark, "the mirror's watermark" + when


def _snapshot_start(snapshots: SourceSnapshots, seen: Witnesses) -> Start:
    """Return the rows appended since the newest state that holds, or all."""
    found = _uncontradicted(seen)
    if found is None:
        return Start(FULL, None, _TOO_OLD)
    after, reason = snapshots.since(found.fingerprint)
    return Start(FULL if after is None else INCREMENTAL, None, reason, after)


def _uncontradicted(seen: Witnesses) -> MirrorState | None:
    """Return the newest recorded state that the timestamp file does not contradict."""
    return next((state for state in seen.states if not _is_past(state, seen.timestamp)), None)


def _is_past(state: MirrorState, timestamp: datetime | None) -> bool:
    return timestamp is not None and state.complete_through.replace(microsecond=0) > timestamp
