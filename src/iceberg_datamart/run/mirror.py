"""One table's step: look at the window, leave it where nothing changed, else merge it with its state."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.load_types import INCREMENTAL, RECONCILE, WHOLE
from iceberg_datamart.core.plan.keys import require_unique
from iceberg_datamart.core.plan.schema import recorded_column_ids
from iceberg_datamart.core.plan.setbacks import fell_below, parts_text, setback
from iceberg_datamart.core.plan.windows import whole_load
from iceberg_datamart.core.report.run import MERGED, SKIPPED, UNCHANGED, Outcome
from iceberg_datamart.core.source.reads import QueryRead
from iceberg_datamart.core.source.recipe import recipe_digest, recipe_text
from iceberg_datamart.core.source.slices import Slices, differing
from iceberg_datamart.core.source.widths import table_properties
from iceberg_datamart.core.sql.reserved import LINEAGE_NAMES
from iceberg_datamart.core.state.commit import MirrorState
from iceberg_datamart.core.state.fingerprint import Fingerprint
from iceberg_datamart.core.state.history import RECIPE
from iceberg_datamart.core.state.watermark import LOOKBACK, ReadWindow, Watermark, advanced, least_cursor
from iceberg_datamart.crash_points import crash_point
from iceberg_datamart.ports import MirrorMerge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iceberg_datamart.core.plan.steps import MergeWindow
    from iceberg_datamart.core.source.reads import Probe, Read, RejectedRow
    from iceberg_datamart.ports import DescribedTable, Lake, Merged

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MirrorWork:
    """What the step of one table needs: the table at its source's point, the lake, and the run's id."""

    table: DescribedTable
    lake: Lake
    run_id: str


def merge_window(work: MirrorWork, step: MergeWindow) -> Outcome:
    """Return what became of the table. Raises: DatamartError, with nothing of the table changed."""
    if looks_as_recorded(work.table, step):
        return Outcome(UNCHANGED, watermark=_text(step.saved))
    crash_point("window-compared")
    probe = work.table.probe(step.window) or _probed(work, step)
    crash_point("window-probed")
    back = fell_below(_newest(step), step.source, step.window, probe)
    if back is not None and step.load_type == INCREMENTAL:
        return _compared(work, step, back)
    dropped = require_unique(step.table, step.source.primary_key, probe.shared, step.settings.duplicates)
    rejected: Sequence[RejectedRow] = ()
    if probe.rejected:
        # Before the mirror's commit, which may move its watermark past them: a crash in between loses none.
        rejected = work.lake.reject(step.table, work.table.rejected(step.window))
    said = _rejection(step.table, rejected)
    if dropped is not None:
        log.warning(dropped)
        said = (*said, dropped)
    outcome = _merged(work, step, probe, rejected)
    return replace(
        outcome,
        rejected=outcome.rejected + len(rejected),
        dropped=probe.shared.dropped,
        warnings=(*said, *outcome.warnings),
    )


def _compared(work: MirrorWork, step: MergeWindow, reason: str) -> Outcome:
    """Return what became of the table, all rows of it compared because of what its window told (R20)."""
    text = f"table '{step.table}': all rows are compared: {reason}"
    log.warning(text)
    load_type = whole_load(step.source, added=bool(step.change.added))
    whole = replace(step, load_type=load_type, window=ReadWindow(), reason=reason, saved=None, doubted=True)
    outcome = merge_window(work, whole)
    return replace(outcome, warnings=(text, *outcome.warnings))


def _newest(step: MergeWindow) -> MirrorState | None:
    """Return the mirror's newest CDC state."""
    return None if step.mirror is None else step.mirror.mirror_state


def _probed(work: MirrorWork, step: MergeWindow) -> Probe:
    """Return what the table's files hold, as the lake finds by reading them."""
    read = work.table.read(step.window)
    assert not isinstance(read, QueryRead)  # noqa: S101  (the others are probed by their source)
    return work.lake.probe(step.table, step.source, read, step.settings.cursor)


def _rejection(table: str, rows: Sequence[RejectedRow]) -> tuple[str, ...]:
    """Return what the report says of rejected rows, and say it in the log; nothing for none."""
    if not rows:
        return ()
    text = f"table '{table}': {len(rows)} rejected, kept in '{table}__rejected'; the first: {rows[0].reason}"
    log.warning(text)
    return (text,)


def _merged(work: MirrorWork, step: MergeWindow, probe: Probe, rejected: Sequence[RejectedRow]) -> Outcome:
    """Return what became of the rows that the mirror can hold; the others are `rejected` already."""
    unchanged = Outcome(UNCHANGED, watermark=_text(step.saved))
    # Newly rejected rows: so that the next run sees by the fingerprint that nothing changed.
    force_commit, slices = bool(rejected) or _must_commit(step), None
    if step.load_type == RECONCILE:
        slices = _differing_slices(work, step)
        if not slices.numbers and not force_commit:
            return unchanged
        probe = replace(probe, rows=slices.rows)
    if not probe.rows and step.load_type not in WHOLE and not _has_other_columns(step):
        return unchanged
    merge = replace(_mirror_merge(work, step, probe, slices), force_commit=force_commit)
    if not probe.rows and (step.mirror is None or step.mirror.current is None):
        work.lake.create_mirror(merge)
        reason = "all rows of the source are rejected" if probe.rejected else "the source is empty"
        return Outcome(SKIPPED, reason=reason)
    return _outcome(merge, work.lake.merge(merge), unchanged)


def _outcome(merge: MirrorMerge, merged: Merged, unchanged: Outcome) -> Outcome:
    for text in merged.warnings:
        log.warning(text)
    outcome = unchanged
    if merged.receipt is not None:
        outcome = Outcome(
            MERGED,
            inserted=merged.receipt.inserted,
            updated=merged.receipt.updated,
            deleted=merged.receipt.deleted,
            snapshot_id=merged.receipt.snapshot_id,
            watermark=_text(merge.state.watermark),
        )
    warnings = (*_rejection(merge.table, merged.rejected), *merged.warnings)
    rows_read, count = merged.rows_read, len(merged.rejected)
    return replace(outcome, rows_read=rows_read, rejected=count, warnings=warnings)


def _differing_slices(work: MirrorWork, step: MergeWindow) -> Slices:
    """Return the slices that the mirror does not hold as the source does, told from digests alone."""
    assert step.mirror is not None  # noqa: S101  (without a mirror, a full load is planned)
    slicing, found = work.table.digests()
    names = [column.name for column in step.source.columns]
    held = work.lake.digests(step.table, step.mirror, names, slicing)
    return differing(slicing, found, held)


def _mirror_merge(work: MirrorWork, step: MergeWindow, probe: Probe, slices: Slices | None) -> MirrorMerge:
    table, settings = work.table, step.settings
    read = table.read(step.window) if slices is None else replace(table.read_slices(slices), pending=None)
    return MirrorMerge(
        table=step.table,
        source=step.source,
        read=read,
        probe=probe,
        cursor=settings.cursor,
        base=step.mirror,
        full=step.load_type in WHOLE,
        slices=slices,
        protected_keys=table.rejected_keys() if step.load_type in WHOLE and probe.rejected else None,
        state=_state(work, step, probe),
        properties={**_width_properties(step, read), **settings.properties, **_recipe_property(step)},
        checks=step.checks,
        audits=step.audits,
        max_delete_fraction=settings.max_delete_fraction,
        reason=step.reason,
    )


def _width_properties(step: MergeWindow, read: Read) -> dict[str, str]:
    """Return the properties by which rows as wide as those that are read need no more memory than others."""
    present = {} if step.mirror is None else step.mirror.properties
    return table_properties(read.widest, present) if isinstance(read, QueryRead) else {}


def _recipe_property(step: MergeWindow) -> dict[str, str]:
    """Return the text of the recipe as the table keeps it, so that a later run can say what has changed."""
    digest = recipe_digest(step.source.recipe)
    return {} if digest is None else {RECIPE + digest: recipe_text(step.source.recipe)}


def _must_commit(step: MergeWindow) -> bool:
    """Return whether state is committed even where no row differs.

    So it is where the recorded one belongs to another source or cursor, or is lost (R11), where all
    rows were compared after another tool's commit, after a rollback that called for it, or while what was
    recorded of the source holds no more, where the columns are others, and where an Iceberg source went on
    without a new row: its older snapshots expire.
    """
    if step.mirror is None:
        return True
    state, snapshots = step.mirror.mirror_state, step.source.snapshots
    identity = (step.source.identity, step.settings.cursor)
    outdated = state is None or (state.source, state.cursor) != identity
    moved = snapshots is not None and state is not None and state.fingerprint != snapshots.position
    owed = step.doubted or step.mirror.needs_reconcile or bool(step.mirror.foreign()) or _is_outdated(step)
    return outdated or moved or (step.load_type in WHOLE and owed) or _has_other_columns(step)


def _is_outdated(step: MergeWindow) -> bool:
    """Return whether what the mirror's newest state says of its source is not so any more."""
    state, source = _newest(step), step.source
    if state is None:
        return True
    recorded = (state.recipe, state.parts, state.timeline, state.database)
    horizon = step.horizon
    now = (recipe_digest(source.recipe), parts_text(source.parts), horizon.timeline, horizon.database)
    return recorded != now or setback(state, source, step.horizon) is not None


def _has_other_columns(step: MergeWindow) -> bool:
    """Return whether the source's columns are not those that the mirror's newest commit speaks of.

    Without recorded numbers only those that the mirror itself lacks are others.
    """
    state = _newest(step)
    if state is None or step.mirror is None or step.mirror.current is None:
        return False
    numbers = recorded_column_ids(step.source.column_ids, _mirrored(step))
    others = bool(state.column_ids) and state.column_ids != numbers
    return others or bool(step.change.added or step.change.widened)


def _mirrored(step: MergeWindow) -> list[str]:
    return [] if step.mirror is None else [n for n in step.mirror.columns if n not in LINEAGE_NAMES]


def _state(work: MirrorWork, step: MergeWindow, probe: Probe) -> MirrorState:
    """Return the CDC state that the merge commits with its rows (R1), never past the horizon (R7)."""
    zone = step.settings.cursor_timezone
    kind, instant = step.source.cursor, step.horizon.instant
    limit = probe.settled
    if kind is not None and kind is not CursorKind.INTEGER:
        limit = least_cursor(kind, zone, instant)
    if limit is not None:
        # What a transaction writes at the horizon or later may be rounded down, at most to here.
        limit = replace(limit, value=limit.value - limit.value % step.source.cursor_step)
    greatest = probe.greatest
    if greatest is not None and step.source.written_elsewhere is not None:
        # What arrives later (a refresh, a subscriber's backlog) may be older than what is there already.
        greatest = greatest.lowered_by(LOOKBACK)
    watermark = advanced(step.saved, greatest, limit)
    again = None if kind is None else least_cursor(kind, zone, instant.replace(microsecond=0))
    return MirrorState(
        run_id=work.run_id,
        load_type=step.load_type,
        source=step.source.identity,
        cursor=step.settings.cursor,
        complete_through=instant,
        read_at=step.horizon.clock,
        watermark=watermark,
        greatest=probe.greatest,
        fingerprint=_fingerprint(work.table, step, _least(watermark, again)),
        column_ids=recorded_column_ids(step.source.column_ids, _mirrored(step)),
        recipe=recipe_digest(step.source.recipe),
        parts=parts_text(step.source.parts),
        transaction=step.horizon.transaction,
        timeline=step.horizon.timeline,
        database=step.horizon.database,
    )


def _fingerprint(table: DescribedTable, step: MergeWindow, lower: Watermark | None) -> str | None:
    """Return the content of the window that the next run would read, as far as it is foreseeable.

    Of an Iceberg source, it is where that window starts.
    """
    if step.source.snapshots is not None:
        return step.source.snapshots.position
    if lower is None:
        return None
    digest = table.fingerprint(ReadWindow(lower))
    return None if digest is None else str(Fingerprint(lower, digest))


def looks_as_recorded(table: DescribedTable, step: MergeWindow) -> bool:
    """Return whether the source's window still holds exactly the rows that the mirror's commit recorded.

    A window that starts earlier than asked for is looked at: it holds the one asked for.
    """
    if step.source.snapshots is not None:
        return step.load_type not in WHOLE and step.window.after == step.source.snapshots.current
    current = None if step.mirror is None else step.mirror.current
    state = _newest(step)
    if step.load_type in WHOLE or step.window.lower is None or state is None or current is None:
        return False
    recorded = state.fingerprint
    if recorded is None or current.run_id != state.run_id or step.change.added or step.change.widened:
        return False
    before = Fingerprint.parse(step.window.lower.kind, recorded)
    if before.lower.value > step.window.lower.value:
        return False
    return table.fingerprint(ReadWindow(before.lower)) == before.digest


def _least(watermark: Watermark | None, again: Watermark | None) -> Watermark | None:
    """Return where the next window starts if nothing changes: see `windows`."""
    found = [mark for mark in (watermark, again) if mark is not None]
    return None if watermark is None else min(found, key=lambda mark: mark.value)


def _text(mark: Watermark | None) -> str | None:
    return None if mark is None else str(mark)
