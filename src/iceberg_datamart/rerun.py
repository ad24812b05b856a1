"""A run repeated by a snapshot id: a mirror read from the state recorded there, a mart computed anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.errors import ConfigError, LakeError
from iceberg_datamart.mart_runner import maintenance_as_consumed
from iceberg_datamart.planner import MaintainMart
from iceberg_datamart.verification import Verified

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iceberg_datamart.ports import MartMaintenance
    from iceberg_datamart.receipt import TableHistory
    from iceberg_datamart.runner import Run


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


def recomputed(run: Run, mart: str, snapshot_id: int) -> Verified:
    """Return how the mart's snapshot compares with the join of exactly the snapshots that it consumed.

    Nothing is written. Raises: LakeError where one of those is gone, or the mart was another join then.
    """
    config, history = run.config.marts[mart], run.world.lake.history(mart)
    then = None if history is None else history.as_of(snapshot_id)
    if then is None or then.current is None:
        raise LakeError(f"the mart '{mart}' has no snapshot {snapshot_id} in its history")
    step = MaintainMart(mart, (config.from_, *(join.table for join in config.joins)))
    maintenance = maintenance_as_consumed(run, step, then)
    _refuse_gone(maintenance, snapshot_id)
    found, held = run.world.lake.mart_differences(maintenance), then.current.rows
    return Verified(held + found.missing - found.extra, held, found)


def _refuse_gone(maintenance: MartMaintenance, snapshot_id: int) -> None:
    """Raise where a mirror's consumed snapshot cannot be read any more."""
    consumed = maintenance.state.consumed
    gone = [f"{m.table} {consumed[m.table]}" for m in maintenance.mirrors if consumed.get(m.table) != m.now]
    if gone:
        message = f"snapshot {snapshot_id} consumed snapshots that are gone: {', '.join(gone)}"
        hint = "Keep more of them: the table property history.expire.max-snapshot-age-ms of those mirrors."
        raise LakeError(message, hint=hint)
