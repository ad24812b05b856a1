"""Whose turn it is to be reconciled: a table with `reconcile: every N runs` is, in every N-th run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.core.load_types import WHOLE
from iceberg_datamart.core.plan.steps import MergeWindow
from iceberg_datamart.core.report.run import FAILED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iceberg_datamart.core.plan.steps import Plan
    from iceberg_datamart.core.report.run import Outcome
    from iceberg_datamart.core.settings.model import Config


def due_tables(config: Config, counts: Mapping[str, int]) -> frozenset[str]:
    """Return the tables whose next run reconciles; `counts` are the runs since each was reconciled.

    One that is not counted is due: a lost count costs a comparison, and no delete is overlooked.
    """
    every = {name: table.reconcile_every for name, table in config.tables.items()}
    return frozenset(
        name for name, runs in every.items() if runs is not None and counts.get(name, runs) + 1 >= runs
    )


def counted(counts: Mapping[str, int], plan: Plan, outcomes: Mapping[str, Outcome]) -> dict[str, int]:
    """Return `counts` after a run. A table that failed or gave way keeps its turn."""
    found = dict(counts)
    for step in plan.steps:
        if not isinstance(step, MergeWindow) or step.settings.reconcile_every is None:
            continue
        outcome = outcomes[step.table]
        if step.load_type in WHOLE and outcome.outcome != FAILED and outcome.reason is None:
            found[step.table] = 0
        elif step.table in found:
            found[step.table] += 1
    return found
