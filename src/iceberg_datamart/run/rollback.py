"""A table set back to an earlier snapshot, and with it its CDC state (R4): what that undoes, what follows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from iceberg_datamart.core.engines import engine_of
from iceberg_datamart.core.plan.obstacles import layout_obstacles
from iceberg_datamart.core.plan.planner import plan_table
from iceberg_datamart.core.report.verification import Differences
from iceberg_datamart.errors import ConfigError
from iceberg_datamart.run.engines import on_engine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from iceberg_datamart.core.plan.steps import MergeWindow, Refuse
    from iceberg_datamart.core.settings.model import Config
    from iceberg_datamart.core.state.history import Snapshot, TableHistory
    from iceberg_datamart.run.runner import Run


@dataclass(frozen=True)
class Rollback:
    """One table's way back from `history` to snapshot `target`.

    `undone` are the commits that it takes back, newest first; none where the table is there already.
    `marts` follow with the next run: those that join the table, or it is one itself.
    """

    table: str
    history: TableHistory
    target: Snapshot
    undone: Sequence[Snapshot]
    marts: tuple[str, ...]


def rollback_to(
    config: Config,
    table: str,
    history: TableHistory | None,
    *,
    snapshot_id: int | None = None,
    instant: datetime | None = None,
) -> Rollback:
    """Return the rollback to a snapshot, or to the one that was current at an instant.

    Raises: ConfigError where that is none of the table's current snapshot and its ancestors.
    """
    if history is None or history.current is None:
        raise ConfigError(f"'{table}' has no snapshot yet", hint="Run once; see `iceberg-datamart history`.")
    wanted = _at(table, history, instant) if snapshot_id is None and instant is not None else snapshot_id
    undone = history.since(wanted)
    if undone is None:
        kept = wanted is not None and history.can_read(wanted)
        why = "is no ancestor of what it now holds" if kept else "is not there, or has expired"
        hint = f"Choose one that `iceberg-datamart history {table}` shows."
        raise ConfigError(f"'{table}': snapshot {wanted} {why}", hint=hint)
    marts = tuple(
        name
        for name, mart in config.marts.items()
        if table in (name, mart.from_, *(join.table for join in mart.joins))
    )
    return Rollback(table, history, history.snapshots[len(undone)], undone, marts)


def next_step(run: Run, rollback: Rollback) -> MergeWindow | Refuse | None:
    """Return what the next run does to the mirror after the rollback; None for a mart, or one not enabled.

    Nothing is read but facts. Raises: DatamartError where not even those can be had.
    """
    table = run.config.tables.get(rollback.table)
    if table is None or not table.enabled:
        return None
    facts = run.prepare().facts
    then = rollback.history.as_of(rollback.target.snapshot_id)
    known = replace(facts.tables[rollback.table], mirror=then)
    facts = replace(facts, tables={**facts.tables, rollback.table: known})
    return plan_table(rollback.table, run.config, facts, run.request)


def undone_rows(run: Run, rollback: Rollback) -> Differences:
    """Return which rows the rollback changes; none where the table is there already."""
    if not rollback.undone:
        return Differences()
    table, history = rollback.table, rollback.history
    choice = engine_of(run.adapters.engines, layout_obstacles(table, history, {}))
    found, _ = on_engine(
        table,
        run.adapters.lake,
        choice,
        lambda lake: lake.snapshot_differences(table, history, rollback.target.snapshot_id),
    )
    return found


def _at(table: str, history: TableHistory, instant: datetime) -> int:
    found = history.current_at(instant)
    if found is None:
        first = f"{history.log[0][0]:%Y-%m-%d %H:%M:%S} UTC" if history.log else "not known"
        message = f"'{table}' had no snapshot at {instant:%Y-%m-%d %H:%M:%S} UTC that is still known"
        raise ConfigError(message, hint=f"The earliest time that its metadata tells of is {first}.")
    return found
