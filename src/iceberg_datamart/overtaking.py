"""Whether another run committed a later state of a table's source since this run was planned (R12, R20)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.receipt import mirror_state

if TYPE_CHECKING:
    from iceberg_datamart.planner import MergeWindow
    from iceberg_datamart.receipt import MirrorState, TableHistory


def overtaken_by(step: MergeWindow, planned: TableHistory | None, run_id: str) -> MirrorState | None:
    """Return the state of a run that committed since the plan and read the source later; else None.

    `planned` is the mirror as it was before the source's point was fixed. Commits tell, and the source's
    own transactions; never clocks. Where a source has no transactions, any commit of another run since
    then counts as one that read later.
    """
    now = step.mirror
    if now is None or now.current is None:
        return None
    base = None if planned is None or planned.current is None else planned.current.snapshot_id
    since = now.snapshots if base is None else now.since(base) or ()
    states = (mirror_state(found.summary) for found in since if found.run_id != run_id)
    newest = next((state for state in states if state is not None), None)
    if newest is None or newest.source != step.source.identity:
        return None
    read, mine = newest.transaction, step.horizon.transaction
    return newest if read is None or mine is None or read > mine else None
