"""Mirrors beside their sources, marts beside their joins, at one consistent point; nothing is written."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.plan.keys import require_unique
from iceberg_datamart.core.plan.steps import Refuse
from iceberg_datamart.core.report.progress import COMPARING
from iceberg_datamart.core.report.verification import Differences, Verified, VerifyReport, notes_of
from iceberg_datamart.core.source.slices import differing
from iceberg_datamart.core.state.fingerprint import Fingerprint
from iceberg_datamart.core.state.watermark import ReadWindow, Watermark, least_cursor
from iceberg_datamart.errors import CommitConflictError, DatamartError, SchemaChangeError
from iceberg_datamart.ports import MirrorComparison
from iceberg_datamart.run.engines import on_engine
from iceberg_datamart.run.gathering import deliberate
from iceberg_datamart.run.mart import maintenance_as_consumed, mirrors_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from iceberg_datamart.core.plan.steps import MaintainMart, MergeWindow
    from iceberg_datamart.core.report.progress import Board
    from iceberg_datamart.core.state.history import TableHistory
    from iceberg_datamart.ports import ConsumedMirror, DescribedTable, Lake
    from iceberg_datamart.run.runner import Run


def verify(run: Run) -> VerifyReport:
    """Return how every table of `run` compares; the run is prepared, never executed.

    Raises: DatamartError where not even facts can be had.
    """
    prepared, lake, board = run.prepare(), run.adapters.lake, run.adapters.board
    plan = prepared.plan
    tables = {
        step.table: settled(step.table, partial(_table, lake, prepared.tables, step), board)
        for step in plan.table_steps
    }
    marts = {step.mart: settled(step.mart, partial(_mart, lake, step), board) for step in plan.mart_steps}
    return VerifyReport(tables, marts, plan.warnings)


def settled(name: str, work: Callable[[], Verified], board: Board) -> Verified:
    """Return what `work` found; an error is a finding of that table alone (R9)."""
    try:
        with board.work(name, COMPARING):
            return work()
    except Exception as error:  # noqa: BLE001  (of one table alone, R9)
        return Verified(error=deliberate(name, error))


def _table(lake: Lake, tables: Mapping[str, DescribedTable], step: MergeWindow | Refuse) -> Verified:
    if isinstance(step, Refuse):
        raise step.error
    verified, _ = on_engine(
        step.table, lake, step.engine, lambda chosen: _mirror(chosen, tables[step.table], step)
    )
    return verified


def _mirror(lake: Lake, table: DescribedTable, step: MergeWindow) -> Verified:
    """Return how a mirror compares with its source: by digests, then row by row where these differ.

    Rows that the mirror cannot hold are expected all the same, and missing. Raises: DuplicateKeyError.
    """
    notes = _proven(table, step)
    slicing, fitting = table.digests()
    unfit = table.unfit_rows()
    rows = sum(digest.rows for digest in fitting.values()) + unfit
    if step.mirror is None or step.mirror.current is None:
        found = Differences(missing=rows, rejected_missing=unfit)
        return Verified(rows, 0, found, notes=(*notes, *notes_of(step.table, found, reads_all=True)))
    _refuse_incomparable(step)
    names = [column.name for column in step.source.columns]
    held = lake.digests(step.table, step.mirror, names, slicing)
    slices = differing(slicing, fitting, held)
    found = Differences()
    if slices.numbers:
        read = table.read_slices(slices, pending_from(table, step))
        kept = table.rejected_keys() if unfit else None
        comparison = MirrorComparison(step.table, step.source, read, slices, step.mirror, kept, step.checks)
        found = lake.mirror_differences(comparison)
    found = found.with_unfit(unfit)
    notes += notes_of(step.table, found, reads_all=step.source.cursor is None)
    return Verified(rows, sum(digest.rows for digest in held.values()), found, notes=notes)


def _proven(table: DescribedTable, step: MergeWindow) -> tuple[str, ...]:
    """Return what is to be said of rows that share a key. Raises: DuplicateKeyError (R18)."""
    if step.source.key_is_unique:
        return ()
    probe = table.probe(ReadWindow())
    if probe is None:
        return ()
    said = require_unique(step.table, step.source.primary_key, probe.shared, step.settings.duplicates)
    return () if said is None else (said,)


def pending_from(table: DescribedTable, step: MergeWindow) -> Watermark | None:
    """Return the least cursor value of rows that the source changed after the last run read it.

    None where there are no such rows: where the window's content is the recorded one, what a mirror lacks
    was there to be read (R14).
    """
    state = None if step.mirror is None else step.mirror.mirror_state
    if state is None or (state.source, state.cursor) != (step.source.identity, step.settings.cursor):
        return None
    mark = state.watermark or state.greatest
    kind = step.source.cursor
    if kind is None or mark is None or mark.kind is not kind:
        return None
    if state.fingerprint is not None:
        before = Fingerprint.parse(kind, state.fingerprint)
        if table.fingerprint(ReadWindow(before.lower)) == before.digest:
            return None
    if kind is CursorKind.INTEGER:
        return Watermark(kind, mark.value + 1)
    return least_cursor(kind, step.settings.cursor_timezone, state.complete_through)


def _refuse_incomparable(step: MergeWindow) -> None:
    """Raise where the two sides cannot be compared row by row."""
    if step.change.added:
        names = ", ".join(column.name for column in step.change.added)
        message = f"the source has columns that the mirror does not have yet: {names}"
        raise SchemaChangeError(message, hint="Run once, then verify.")
    state = None if step.mirror is None else step.mirror.mirror_state
    if state is not None and state.read_at > step.horizon.clock:
        message = "a run merged a later state of the source than the one that is compared"
        raise CommitConflictError(message, hint="Verify again.")


def _mart(lake: Lake, step: MaintainMart) -> Verified:
    """Return how a mart compares with the join of the mirrors at the snapshots it consumed (R8).

    Where these have moved since, as after a run in which the mart failed, it waits for the next run.
    """
    history = lake.history(step.mart)
    if history is None or history.current is None:
        raise DatamartError(f"the mart '{step.mart}' does not exist yet", hint="Run once, then verify.")
    mirrors = mirrors_of(lake, step.tables)
    maintenance = maintenance_as_consumed(step, history, mirrors)
    found, _ = on_engine(step.mart, lake, step.engine, lambda chosen: chosen.mart_differences(maintenance))
    moved = [mirror.table for mirror in maintenance.mirrors if _has_moved(mirrors[mirror.table], mirror)]
    if not moved:
        return found
    note = f"compared with its mirrors as it consumed them, but {', '.join(moved)} changed since"
    return replace(found, waits=True, notes=(*found.notes, f"{note}: iceberg-datamart run"))


def _has_moved(history: TableHistory, mirror: ConsumedMirror) -> bool:
    """Return whether rows of the mirror changed after the snapshot that the mart is compared with."""
    since = history.since(mirror.now) or ()
    return any(snapshot.changes_rows or snapshot.is_foreign for snapshot in since)
