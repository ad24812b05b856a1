"""Where one table's next read starts: the older of two witnesses wins (R4, R5, R11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.load_types import BACKFILL, FULL, INCREMENTAL, RECONCILE
from iceberg_datamart.core.plan.setbacks import setback
from iceberg_datamart.core.source.recipe import (
    COLUMN,
    column_entry,
    parsed_recipe,
    recipe_changes,
    recipe_digest,
)
from iceberg_datamart.core.state.watermark import Watermark, least_cursor, least_instant

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from iceberg_datamart.core.settings.model import TableConfig
    from iceberg_datamart.core.source.reads import SourceTable
    from iceberg_datamart.core.source.snapshots import SourceSnapshots
    from iceberg_datamart.core.state.commit import MirrorState
    from iceberg_datamart.core.state.history import TableHistory
    from iceberg_datamart.core.state.watermark import Horizon

_ALTERED = "the mirror's columns were altered since a run last committed to it"
ASKED = "asked for"
_TOO_OLD = "the timestamp file is older than the mirror's history"


@dataclass(frozen=True)
class Witnesses:
    """What is known of how far a mirror got: the timestamp file, and the mirror's own history.

    `horizon` is the point at which the source is read. `full_load_reason` says why no row of the mirror is
    good any more, whatever its cursor: see `SchemaChange`; `added` names the columns that the mirror lacks.
    """

    timestamp: datetime | None
    mirror: TableHistory | None
    horizon: Horizon
    full_load_reason: str | None = None
    added: tuple[str, ...] = ()

    @property
    def states(self) -> tuple[MirrorState, ...]:
        """Return the mirror's CDC states, newest first."""
        return () if self.mirror is None else self.mirror.mirror_states

    @property
    def state(self) -> MirrorState | None:
        """Return the mirror's newest CDC state."""
        return None if self.mirror is None else self.mirror.mirror_state


@dataclass(frozen=True)
class Start:
    """How a table is read, and why.

    Everything with `full`, the slices that differ with `reconcile`, else from `lower`, closed (None: all).
    Of an Iceberg source, what was appended after its snapshot `after`. With `doubted`, all rows are compared
    because the source is not what the mirror was read from: people are told, and the new state is recorded.
    """

    load_type: str
    lower: Watermark | None
    reason: str
    after: int | None = None
    doubted: bool = False


def known_complete(mirror: TableHistory | None) -> datetime | None:
    """Return up to when a mirror is complete by what is recorded; None where no run has filled it.

    The timestamp file is not asked: it speaks of tables that were enabled and read when it was written.
    """
    state = None if mirror is None else mirror.mirror_state
    return None if state is None else state.complete_through


def next_timestamp(
    present: datetime | None, complete: Iterable[datetime | None], clocks: Iterable[datetime]
) -> datetime | None:
    """Return what the timestamp file is to say after a run that no table failed; None where it stays.

    It never goes back, but for a time ahead of all the sources' `clocks`, which no run has read up to.
    """
    known = list(complete)
    reached = None if None in known else least_instant(filter(None, known))
    if reached is None or reached == present:
        return None
    stays = present is not None and reached < present <= max(clocks)
    return None if stays else reached


def next_start(
    table: TableConfig, source: SourceTable, seen: Witnesses, *, asked: str, on_missing: str
) -> Start:
    """Return where the next read of a table starts.

    `asked` is the load type that the caller asked for; `on_missing` says what a missing timestamp file
    means (R5). A window may start earlier than needed, never later.
    """
    why = _why_full(table, source, seen, asked=asked, on_missing=on_missing)
    if why is not None:
        return Start(FULL, None, why)
    start = _doubted(source, seen, asked)
    if start is not None:
        return start
    if asked in {BACKFILL, RECONCILE}:
        return Start(asked, None, ASKED)
    if source.unsteady is not None:
        return Start(whole_load(source, added=bool(seen.added)), None, source.unsteady)
    if source.snapshots is not None:
        return _snapshot_start(source.snapshots, table, source, seen)
    lower, reason = (
        _integer_start(table, source, seen)
        if source.cursor is CursorKind.INTEGER
        else _start(table, source, seen)
    )
    if lower is not None and table.lookback is not None:
        lower = lower.lowered_by(table.lookback)
    return Start(INCREMENTAL, lower, reason)


def whole_load(source: SourceTable, *, added: bool) -> str:
    """Return the load type that compares all rows: by slices where the source digests them."""
    return RECONCILE if source.is_digested and not added else FULL


def _why_full(  # noqa: PLR0911  (the order decides which reason is told)
    table: TableConfig, source: SourceTable, seen: Witnesses, *, asked: str, on_missing: str
) -> str | None:
    state = seen.state
    if asked == FULL:
        return ASKED
    if asked == RECONCILE and not source.is_digested:
        return "the source does not digest its slices"
    if source.cursor is None and source.snapshots is None and asked not in {RECONCILE, BACKFILL}:
        return "the table has no cursor column"
    if seen.mirror is None or seen.mirror.current is None:
        return "the mirror is empty"
    if state is None and seen.mirror.is_whole:
        return "no run has filled the mirror as it is now"
    if seen.timestamp is None and on_missing == "full_load":
        return "the timestamp file is missing"
    if state is not None and state.source != source.identity:
        return "the source is a new one"
    if state is not None and not _same_cursor(table, source, state):
        return "the cursor column is another one"
    return None


def _doubted(source: SourceTable, seen: Witnesses, asked: str) -> Start | None:
    """Return how all rows are compared where the mirror's own rows below its watermark are in doubt."""
    state = seen.state
    if state is None:
        # What expired may have been any state, and the timestamp file may not have covered this table.
        reason = "the mirror's history does not say any more up to where it is complete"
        return Start(whole_load(source, added=bool(seen.added)), None, reason, doubted=True)
    changes, back = _recipe_changes(state, source, seen), setback(state, source, seen.horizon)
    if back is None and seen.mirror is not None and seen.mirror.is_altered:
        back = _ALTERED
    # A backfill reads every value again, but finds no row that is gone.
    if asked == BACKFILL and back is None and all(name.startswith(COLUMN) for name in changes):
        return None
    lacking = {column_entry(name): f"{column_entry(name)} is new" for name in seen.added}
    changed = seen.full_load_reason or "; ".join({**lacking, **changes}.values())
    if changed:
        return Start(FULL, None, changed, doubted=True)
    return None if back is None else Start(whole_load(source, added=False), None, back, doubted=True)


def _recipe_changes(state: MirrorState, source: SourceTable, seen: Witnesses) -> dict[str, str]:
    """Return what decides how rows are read and is not as when the mirror's were read (R19)."""
    if not source.recipe or state.recipe == recipe_digest(source.recipe):
        return {}
    if state.recipe is None:
        # Whatever changed before this version first committed was not noticed: one comparison finds it.
        return {"": "an earlier version of this program did not record how the mirror's rows were read"}
    recorded = None if seen.mirror is None else seen.mirror.recipe(state.recipe)
    if recorded is None:
        return {"": "how the source's rows are read has changed"}
    return recipe_changes(parsed_recipe(recorded), source.recipe)


def _same_cursor(table: TableConfig, source: SourceTable, state: MirrorState) -> bool:
    """Return whether a state's watermark is a value of the cursor column that the settings name now."""
    kinds = {mark.kind for mark in (state.watermark, state.greatest) if mark is not None}
    return state.cursor == table.cursor and kinds <= {source.cursor}


def _start(table: TableConfig, source: SourceTable, seen: Witnesses) -> tuple[Watermark | None, str]:
    state = seen.state
    file = None
    if seen.timestamp is not None and source.cursor is not None:
        file = least_cursor(source.cursor, table.cursor_timezone, seen.timestamp)
    if state is None or state.watermark is None:
        return None, "the mirror has no watermark yet"
    if file is not None and file.value < state.watermark.value:
        return file, "the timestamp file, older than the mirror's watermark"
    return state.watermark, "the mirror's watermark"


def _integer_start(table: TableConfig, source: SourceTable, seen: Witnesses) -> tuple[Watermark | None, str]:
    """Return the watermark of the newest state that holds: integers know no time.

    Never one above a newer state's: a cursor that went back was compared since.
    """
    states = _states_since_timestamp(table, source, seen)
    marks = [state.watermark for state in states]
    if not states:
        return None, _TOO_OLD
    if None in marks:
        return None, "the mirror has no watermark yet"
    when = "" if len(states) == 1 else " at the timestamp file's time"
    return min(filter(None, marks), key=lambda mark: mark.value), "the mirror's watermark" + when


def _snapshot_start(
    snapshots: SourceSnapshots, table: TableConfig, source: SourceTable, seen: Witnesses
) -> Start:
    """Return the rows appended since the newest state that holds, or all."""
    states = _states_since_timestamp(table, source, seen)
    if not states:
        return Start(FULL, None, _TOO_OLD)
    after, reason = snapshots.since(states[-1].fingerprint)
    return Start(FULL if after is None else INCREMENTAL, None, reason, after)


def _states_since_timestamp(
    table: TableConfig, source: SourceTable, seen: Witnesses
) -> tuple[MirrorState, ...]:
    """Return the states from the newest back to the one of the timestamp file's time, newest first.

    That is the newest which is complete through no later time. Empty where there is none of this source and
    this cursor: what another one recorded further back says nothing of these rows.
    """
    states: list[MirrorState] = []
    for state in seen.states:
        if state.source != source.identity or not _same_cursor(table, source, state):
            break
        states.append(state)
        if not _is_later(state, seen.timestamp):
            return tuple(states)
    return ()


def _is_later(state: MirrorState, timestamp: datetime | None) -> bool:
    """Return whether a state is complete through a later time than the timestamp file says."""
    return timestamp is not None and state.complete_through.replace(microsecond=0) > timestamp
