"""Whether another run read a table's source later, and finished since this run was planned (R12, R20)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceberg_datamart.core.state.history import mirror_state

if TYPE_CHECKING:
    from datetime import datetime

    from iceberg_datamart.core.plan.planner import Facts, MergeWindow
    from iceberg_datamart.core.state.history import MirrorState, TableHistory


@dataclass(frozen=True)
class Overtaken:
    """A run that read later has finished; `complete_through` is what the mirror records, None for nothing."""

    complete_through: datetime | None


def overtaken_by(step: MergeWindow, planned: Facts, run_id: str, said: datetime | None) -> Overtaken | None:
    """Return that a run which read the source later has finished since `planned`; else None.

    What was planned knows the mirror as it was before the source's point was fixed. Commits tell, and the
    source's own transactions, never clocks; where a source has no transactions, any commit of another run
    counts as one that read later. A run that found nothing to commit is seen by the timestamp file alone,
    which says `said` now.
    """
    if _merged_later(step, planned.tables[step.table].mirror, run_id) or _file_moved(step, planned, said):
        states = () if step.mirror is None else step.mirror.mirror_states
        return Overtaken(states[0].complete_through if states else None)
    return None


def _merged_later(step: MergeWindow, planned: TableHistory | None, run_id: str) -> bool:
    newest = _newest_since(step.mirror, planned, run_id)
    if newest is None or newest.source != step.source.identity:
        return False
    read, mine = newest.transaction, step.horizon.transaction
    # At the same transaction nothing is newer here: what was open then has held both horizons back.
    return read is None or mine is None or read >= mine


def _newest_since(now: TableHistory | None, planned: TableHistory | None, run_id: str) -> MirrorState | None:
    """Return the newest state that other runs committed since the plan."""
    if now is None or now.current is None:
        return None
    base = None if planned is None or planned.current is None else planned.current.snapshot_id
    since = now.snapshots if base is None else now.since(base) or ()
    states = (mirror_state(found.summary) for found in since if found.run_id != run_id)
    return next((state for state in states if state is not None), None)


def _file_moved(step: MergeWindow, planned: Facts, said: datetime | None) -> bool:
    """Return whether the timestamp file was moved past this run's point; setting it back is none."""
    reached = step.horizon.instant.replace(microsecond=0)
    return said is not None and said != planned.timestamp and said >= reached
