"""What a run would find of a window, as far as its source tells it at once: for plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceberg_datamart.core.load_types import RECONCILE
from iceberg_datamart.run.mirror import looks_as_recorded

if TYPE_CHECKING:
    from iceberg_datamart.core.plan.steps import MergeWindow
    from iceberg_datamart.ports import DescribedTable


@dataclass(frozen=True)
class Foreseen:
    """What a step would find: whether nothing of its window changed, and else how many rows it holds.

    `rows` is None where only reading tells, and the source's guess where it `is_estimate`.
    """

    is_unchanged: bool = False
    rows: int | None = None
    is_estimate: bool = False


def foreseen(table: DescribedTable, step: MergeWindow) -> Foreseen:
    """Return what the step would find of its table at the source's point. Raises: DatamartError."""
    if looks_as_recorded(table, step):
        return Foreseen(is_unchanged=True, rows=0)
    # A reconcile reads the slices that differ, which the server would have to scan the whole table for.
    found = None if step.load_type == RECONCILE else table.rows_in(step.window)
    return Foreseen() if found is None else Foreseen(rows=found.rows, is_estimate=found.is_estimate)
