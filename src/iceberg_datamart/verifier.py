"""Mirrors beside their sources, marts beside their joins, at one consistent point; nothing is written."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from iceberg_datamart.errors import CommitConflictError, DatamartError, SchemaChangeError
from iceberg_datamart.gathering import deliberate
from iceberg_datamart.mart_runner import maintenance_as_consumed
from iceberg_datamart.planner import MaintainMart, MergeWindow, Refuse
from iceberg_datamart.ports import MirrorComparison
from iceberg_datamart.slices import differing
from iceberg_datamart.verification import Differences, Verified, VerifyReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from iceberg_datamart.runner import Run


def verify(run: Run) -> VerifyReport:
    """Return how every table of `run` compares; the run is prepared, never executed.

    Raises: DatamartError where not even facts can be had.
    """
    plan = run.prepare()
    tables = {step.table: settled(step.table, partial(_mirror, run, step)) for step in plan.table_steps}
    marts = {
        step.mart: settled(step.mart, partial(_mart, run, step))
        for step in plan.steps
        if isinstance(step, MaintainMart)
    }
    return VerifyReport(tables, marts, plan.warnings)


def settled(name: str, work: Callable[[], Verified]) -> Verified:
    """Return what `work` found; an error is a finding of that table alone (R9)."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001  (of one table alone, R9)
        return Verified(error=deliberate(name, error))


def _mirror(run: Run, step: MergeWindow | Refuse) -> Verified:
    """Return how a mirror compares with its source: by digests, then row by row where these differ."""
    if isinstance(step, Refuse):
        raise step.error
    session = run.sessions[run.config.tables[step.table].source]
    slicing, expected = session.digests(step.table)
    rows = sum(digest.rows for digest in expected.values())
    if step.mirror is None or step.mirror.current is None:
        return Verified(rows, 0, Differences(missing=rows))
    _refuse_uneven(step)
    names = [column.name for column in step.source.columns]
    held = run.world.lake.digests(step.table, step.mirror, names, slicing)
    slices = differing(slicing, expected, held)
    found = Differences()
    if slices.numbers:
        states = step.mirror.mirror_states()
        read = session.read_slices(step.table, slices, states[0].watermark if states else None)
        cursor = run.config.tables[step.table].cursor
        comparison = MirrorComparison(step.table, step.source, read, slices, step.mirror, cursor)
        found = run.world.lake.mirror_differences(comparison)
    return Verified(rows, sum(digest.rows for digest in held.values()), found)


def _refuse_uneven(step: MergeWindow) -> None:
    """Raise where the two sides cannot be compared row by row."""
    if step.change.added:
        names = ", ".join(column.name for column in step.change.added)
        message = f"the source has columns that the mirror does not have yet: {names}"
        raise SchemaChangeError(message, hint="Run once, then verify.")
    states = () if step.mirror is None else step.mirror.mirror_states()
    if states and states[0].read_at > step.horizon.clock:
        message = "a run merged a later state of the source than the one that is compared"
        raise CommitConflictError(message, hint="Verify again.")


def _mart(run: Run, step: MaintainMart) -> Verified:
    """Return how a mart compares with the join of the mirrors at the snapshots it consumed (R8)."""
    history = run.world.lake.history(step.mart)
    if history is None or history.current is None:
        raise DatamartError(f"the mart '{step.mart}' does not exist yet", hint="Run once, then verify.")
    found = run.world.lake.mart_differences(maintenance_as_consumed(run, step, history))
    held = history.current.rows
    return Verified(held + found.missing - found.extra, held, found)
