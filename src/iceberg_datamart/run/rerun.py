"""A run repeated by a snapshot id: a mirror read from the state recorded there, a mart computed again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from iceberg_datamart.core.mart.definition import shape_of
from iceberg_datamart.core.settings.rules import name_faults
from iceberg_datamart.core.state.commit import MartState
from iceberg_datamart.errors import ConfigError, LakeError
from iceberg_datamart.ports import ConsumedMirror, MartMaintenance
from iceberg_datamart.run.engines import on_engine
from iceberg_datamart.run.mart import maintenance_as_consumed, mirrors_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iceberg_datamart.core.plan.steps import MaintainMart
    from iceberg_datamart.core.report.verification import Verified
    from iceberg_datamart.core.settings.model import Config
    from iceberg_datamart.core.state.commit import CommitReceipt
    from iceberg_datamart.core.state.history import TableHistory
    from iceberg_datamart.ports import Lake

_RETENTION = "history.expire.max-snapshot-age-ms"


def table_of(snapshot_id: int, histories: Mapping[str, TableHistory | None]) -> str:
    """Return the mirror or mart among whose current snapshot's ancestors the snapshot is.

    Raises: ConfigError where it is nobody's.
    """
    for table, history in histories.items():
        if history is not None and history.as_of(snapshot_id) is not None:
            return table
    message = f"no mirror or mart has a snapshot {snapshot_id} in the history of what it now holds"
    hint = "See `iceberg-datamart history`; one that is expired or rolled back cannot be run again."
    raise ConfigError(message, hint=hint)


def refuse_target(config: Config, table: str) -> None:
    """Raise ConfigError where a result cannot be written into a table of this name."""
    if table.casefold() in {name.casefold() for name in (*config.tables, *config.marts)}:
        message = f"--into: '{table}' is a mirror or mart of the settings, which runs alone write"
        raise ConfigError(message, hint="Choose another name.")
    faults = list(name_faults(table, glue=config.catalog.type == "glue"))
    if faults:
        raise ConfigError(f"--into: {faults[0]}", hint="Choose another name.")


def repeated(lake: Lake, step: MaintainMart, snapshot_id: int) -> MartMaintenance:
    """Return the join that a mart's snapshot is, over exactly the mirrors' snapshots that it consumed.

    Raises: LakeError where one of those is gone, or where nothing tells how the mart was joined then.
    """
    mart = step.mart
    history = lake.history(mart)
    then = None if history is None else history.as_of(snapshot_id)
    saved = None if then is None else then.mart_state
    if then is None or saved is None:
        raise LakeError(f"the mart '{mart}' has no snapshot {snapshot_id} of a run in its history")
    text = then.definition(saved.definition)
    mirrors = mirrors_of(lake, step.tables if text is None else saved.consumed)
    shape = maintenance_as_consumed(step, then, mirrors).shape if text is None else shape_of(mart, text)
    _refuse_gone(mirrors, saved, snapshot_id)
    consumed = [ConsumedMirror(table, saved.consumed.get(table)) for table in shape.tables]
    return MartMaintenance(shape, consumed, None, then, saved, definition=text or "", as_it_was=True)


def compared(lake: Lake, step: MaintainMart, repetition: MartMaintenance) -> Verified:
    """Return how the mart's snapshot compares with the join, row for row; nothing is written."""
    found, _ = on_engine(step.mart, lake, step.engine, lambda chosen: chosen.mart_differences(repetition))
    return found


def written(
    lake: Lake, run_id: str, step: MaintainMart, repetition: MartMaintenance, into: str
) -> CommitReceipt:
    """Write the join into a table of its own, and return the proof. Raises: ConfigError where it has rows."""
    present = lake.history(into)
    if present is not None and present.current is not None:
        message = f"--into: the table '{into}' is there already, at snapshot {present.current.snapshot_id}"
        raise ConfigError(message, hint="Drop it, or choose another name; nothing was written.")
    saved = repetition.state
    state = MartState(run_id, saved.definition, saved.consumed, saved.failed_inputs)
    target = replace(repetition, shape=replace(repetition.shape, name=into), base=present, state=state)
    merged, _ = on_engine(step.mart, lake, step.engine, lambda chosen: chosen.maintain(target))
    receipt = merged.receipt
    assert receipt is not None  # noqa: S101  (an empty table's first commit is made whatever it holds)
    return receipt


def _refuse_gone(mirrors: Mapping[str, TableHistory], saved: MartState, snapshot_id: int) -> None:
    """Raise where a mirror's consumed snapshot cannot be read any more."""
    gone = {
        table: consumed
        for table, consumed in saved.consumed.items()
        if table not in mirrors or not mirrors[table].can_read(consumed)
    }
    if gone:
        shown = ", ".join(f"{table} {consumed}" for table, consumed in gone.items())
        message = f"snapshot {snapshot_id} consumed snapshots that are gone: {shown}"
        names = ", ".join(f"tables.{table}.properties" for table in gone)
        hint = f"Expiry took them. To keep snapshots longer, set {_RETENTION} in {names}."
        raise LakeError(message, hint=hint)
