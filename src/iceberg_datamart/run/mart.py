"""One mart's step: which mirrors moved since it consumed them, and whether that can be told exactly."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from iceberg_datamart.core.mart.definition import definition_text, kinds_of
from iceberg_datamart.core.mart.equality import kind_of, require_equality
from iceberg_datamart.core.mart.shape import MirrorShape, mart_shape
from iceberg_datamart.core.report.run import FAILED, MERGED, SKIPPED, UNCHANGED, Outcome
from iceberg_datamart.core.source.widths import inherited_properties
from iceberg_datamart.core.sql.reserved import LINEAGE_NAMES
from iceberg_datamart.core.state.commit import MartState
from iceberg_datamart.errors import LakeError, MetadataMissingError
from iceberg_datamart.ports import ConsumedMirror, MartMaintenance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from iceberg_datamart.core.mart.shape import MartShape
    from iceberg_datamart.core.plan.steps import MaintainMart
    from iceberg_datamart.core.state.history import TableHistory
    from iceberg_datamart.ports import Lake

log = logging.getLogger(__name__)


def maintain_mart(lake: Lake, run_id: str, step: MaintainMart, tables: Mapping[str, Outcome]) -> Outcome:
    """Return what became of the mart, given what became of its mirrors in this run."""
    failed = {name for name, outcome in tables.items() if outcome.outcome == FAILED}
    required = sorted(failed & set(step.settings.require))
    if required:
        return Outcome(SKIPPED, reason=f"the required table '{required[0]}' failed")
    try:
        mirrors = mirrors_of(lake, step.tables)
    except MetadataMissingError as error:
        return Outcome(SKIPPED, reason=f"a mirror cannot be loaded: {error}")
    missing = [table for table in step.tables if table not in mirrors]
    if missing:
        return Outcome(SKIPPED, reason=f"the mirror '{missing[0]}' does not exist yet")
    maintenance = _maintenance(lake, run_id, step, mirrors, sorted(failed & set(step.tables)))
    if maintenance is None:
        return Outcome(UNCHANGED)
    merged = lake.maintain(maintenance)
    for text in merged.warnings:
        log.warning(text)
    receipt = merged.receipt
    return Outcome(
        MERGED if merged.rows_read else UNCHANGED,
        rows_read=merged.rows_read,
        inserted=receipt.inserted if receipt else 0,
        updated=receipt.updated if receipt else 0,
        deleted=receipt.deleted if receipt else 0,
        snapshot_id=receipt.snapshot_id if receipt else None,
        warnings=merged.warnings,
    )


def mirrors_of(lake: Lake, tables: Iterable[str]) -> dict[str, TableHistory]:
    """Return the present histories of a mart's mirrors, but for those that do not exist yet."""
    histories = {table: lake.history(table) for table in tables}
    return {table: history for table, history in histories.items() if history is not None}


def maintenance_as_consumed(
    step: MaintainMart, mart: TableHistory, mirrors: Mapping[str, TableHistory]
) -> MartMaintenance:
    """Return the mart's full comparison with the mirrors' snapshots that it says it is the join of (R8).

    A mirror whose consumed snapshot is gone from its history is taken as it is now.
    Raises: LakeError where the mart is the join of another definition, or of columns that are compared
    otherwise now (R21).
    """
    shape = mart_shape(step.mart, step.settings, _shapes(step, mirrors))
    saved = mart.mart_state
    if saved is None or not shape.is_defined_by(saved.definition):
        message = "the settings, or the mirrors' columns, have changed since the mart was maintained"
        raise LakeError(message, hint="Run once, then verify.")
    _joinable(step, shape, mart.definition(saved.definition), mirrors)
    consumed = []
    for table in shape.tables:
        before = saved.consumed.get(table)
        known = before is not None and mirrors[table].since(before) is not None
        consumed.append(ConsumedMirror(table, before) if known else _consumed(table, mirrors[table], None))
    return MartMaintenance(shape, consumed, None, mart, saved)


def _maintenance(
    lake: Lake, run_id: str, step: MaintainMart, mirrors: Mapping[str, TableHistory], failed_inputs: list[str]
) -> MartMaintenance | None:
    """Return the mart's change; None where no mirror moved since the mart consumed it."""
    config, shapes = step.settings, _shapes(step, mirrors)
    shape = mart_shape(step.mart, config, shapes)
    base = lake.history(shape.name)
    saved = None if base is None or base.current is None else base.mart_state
    consumed = [_consumed(table, mirrors[table], saved) for table in shape.tables]
    now = {mirror.table: mirror.now for mirror in consumed if mirror.now is not None}
    untouched = base is not None and not base.foreign() and not base.is_altered
    typed = base is not None and not _has_other_types(base, shape, mirrors)
    same = untouched and typed and saved is not None and shape.is_defined_by(saved.definition)
    text = None if base is None or saved is None else base.definition(saved.definition)
    kinds = _joinable(step, shape, text, mirrors)
    changed: list[str] | None = None
    if same and all(mirror.followed for mirror in consumed):
        changed = [mirror.table for mirror in consumed if mirror.run_ids]
        if not changed:
            return None
    state = MartState(run_id, shape.definition, now, tuple(failed_inputs))
    return MartMaintenance(
        *(shape, consumed, changed, base, state),
        definition=definition_text(config, shapes, kinds),
        checks=config.checks,
        audits=config.audits,
        properties={**_width_properties(base, mirrors.values()), **config.properties},
        doubtful=[table for table in shape.tables if mirrors[table].foreign()],
    )


def _width_properties(base: TableHistory | None, mirrors: Iterable[TableHistory]) -> dict[str, str]:
    """Return the properties that the mart needs for the rows of its mirrors, where these are wide."""
    present = {} if base is None else base.properties
    return inherited_properties([mirror.properties for mirror in mirrors], present)


def _has_other_types(mart: TableHistory, shape: MartShape, mirrors: Mapping[str, TableHistory]) -> bool:
    """Return whether a mirror's column has got another type than the mart shows it with."""
    shown = [o for o in shape.outputs if o.name in shape.selected and o.name in mart.columns]
    return any(mirrors[o.table].columns[o.column] != mart.columns[o.name] for o in shown)


def _consumed(table: str, mirror: TableHistory, saved: MartState | None) -> ConsumedMirror:
    """Return what happened to a mirror since the mart consumed it, as far as its history tells.

    A rollback, other columns or a foreign commit that may have changed rows cannot be followed, nor can most
    expired snapshots; a foreign compaction can: it changes no row.
    """
    now = None if mirror.current is None else mirror.current.snapshot_id
    before = None if saved is None else saved.consumed.get(table)
    if saved is not None and before is None and now is None:
        return ConsumedMirror(table, None, followed=True)
    found = None if before is None else mirror.since_known(before)
    if found is None:
        return ConsumedMirror(table, now)
    since, consumed, readable = found
    if any(s.is_foreign for s in since) or mirror.schema_id != consumed.schema_id:
        return ConsumedMirror(table, now)
    runs = tuple(dict.fromkeys(s.run_id for s in since if s.run_id is not None and s.changes_rows))
    return ConsumedMirror(table, now, readable, runs, any(s.changed("deleted") for s in since), followed=True)


def _joinable(
    step: MaintainMart, shape: MartShape, definition: str | None, mirrors: Mapping[str, TableHistory]
) -> dict[str, Mapping[str, str]]:
    """Return as what the joined columns are compared. Raises: LakeError where that is not by value (R21).

    `definition` is the text that the mart keeps of itself. Asked also where no row changed: a column may have
    got another type or collation.
    """
    kinds = _kinds(step, shape, kinds_of(definition))
    require_equality(shape, kinds, {table: history.columns for table, history in mirrors.items()})
    return kinds


def _kinds(
    step: MaintainMart, shape: MartShape, saved: Mapping[str, Mapping[str, str]]
) -> dict[str, Mapping[str, str]]:
    """Return as what the joined columns are compared: as their source says, or as it said last."""
    found: dict[str, Mapping[str, str]] = {}
    for table in shape.tables:
        known = step.sources.get(table)
        columns = () if known is None else known.columns
        said = {} if known is None else known.equality
        fresh = {column.name: said.get(column.name) or kind_of(column.type) for column in columns}
        joined = shape.joined_columns(table)
        found[table] = {
            name: kind for name, kind in {**saved.get(table, {}), **fresh}.items() if name in joined
        }
    return found


def _shapes(step: MaintainMart, mirrors: Mapping[str, TableHistory]) -> dict[str, MirrorShape]:
    return {table: _mirror_shape(history, step.keys[table]) for table, history in mirrors.items()}


def _mirror_shape(history: TableHistory, key: tuple[str, ...]) -> MirrorShape:
    columns = {name: kind for name, kind in history.columns.items() if name not in LINEAGE_NAMES}
    # The mirror's own, and not that of a source which only some runs look at: every run makes the same mart.
    return MirrorShape(tuple(columns), history.key or key, tuple(columns.values()))
