"""Whether another run read a table's source later, and finished since this run was planned (R12, R20)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceberg_datamart.core.load_types import INCREMENTAL, WHOLE
from iceberg_datamart.core.state.commit import mirror_state

if TYPE_CHECKING:
    from datetime import datetime

    from iceberg_datamart.core.plan.facts import Facts
    from iceberg_datamart.core.plan.steps import MergeWindow
    from iceberg_datamart.core.state.commit import MirrorState
    from iceberg_datamart.core.state.history import TableHistory


@dataclass(frozen=True)
class Overtaken:
    """A run that read later has finished; `complete_through` is what the mirror records, None for nothing.

    `has_read_all` says whether it read all that the other one was to read, as far as can be told.
    """

    complete_through: datetime | None
    has_read_all: bool


def overtaken_by(
    step: MergeWindow, planned: Facts, now: TableHistory | None, run_id: str, said: datetime | None
) -> Overtaken | None:
    """Return that a run which read the source later has finished since `planned`; else None.

    `step` and what was planned know the mirror as it was before the source's point was fixed, `now` as it is.
    Commits tell, and the source's own transactions, never clocks; where a source has no transactions, any
    commit of another run counts as one that read later. A run that found nothing to commit is seen by the
    timestamp file alone, which says `said` now.
    """
    before = planned.tables[step.table].mirror
    since = _states_since(now, before, run_id)
    if not (since and _has_read_later(step, since[0])) and not _file_moved(step, planned, said):
        return None
    whole = any(state.load_type in WHOLE and _has_read_later(step, state) for state in since)
    newest = None if now is None else now.mirror_state
    complete_through = None if newest is None else newest.complete_through
    return Overtaken(complete_through, whole or _goes_on(step, before, planned.timestamp))


def _has_read_later(step: MergeWindow, state: MirrorState) -> bool:
    if state.source != step.source.identity:
        return False
    read, mine = state.transaction, step.horizon.transaction
    # At the same transaction nothing is newer here: what was open then has held both horizons back.
    return read is None or mine is None or read >= mine


def _goes_on(step: MergeWindow, before: TableHistory | None, timestamp: datetime | None) -> bool:
    """Return whether a window goes on where the mirror's newest state ended, as later runs' windows do.

    What an earlier timestamp file or a doubt makes wider, they need not read.
    """
    if step.load_type != INCREMENTAL or step.doubted or before is None:
        return False
    newest = before.mirror_state
    if newest is None:
        return False
    return timestamp is None or newest.complete_through.replace(microsecond=0) <= timestamp


def _states_since(now: TableHistory | None, planned: TableHistory | None, run_id: str) -> list[MirrorState]:
    """Return the states that other runs committed since the plan, newest first."""
    if now is None or now.current is None:
        return []
    base = None if planned is None or planned.current is None else planned.current.snapshot_id
    since = now.snapshots if base is None else now.since(base) or ()
    others = (found for found in since if found.run_id != run_id and not found.is_upkeep)
    states = (mirror_state(found.summary) for found in others)
    return [state for state in states if state is not None]


def _file_moved(step: MergeWindow, planned: Facts, said: datetime | None) -> bool:
    """Return whether the timestamp file was moved past this run's point; setting it back is none."""
    reached = step.horizon.instant.replace(microsecond=0)
    return said is not None and said != planned.timestamp and said >= reached
