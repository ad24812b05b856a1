"""The steps of a plan: values, which `plan` prints and `run` executes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from iceberg_datamart.core.plan.schema import SchemaChange
from iceberg_datamart.core.quality.checks import NO_CHECKS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from iceberg_datamart.core.engines import EngineChoice
    from iceberg_datamart.core.quality.audits import Audit
    from iceberg_datamart.core.quality.checks import Checks
    from iceberg_datamart.core.settings.model import MartConfig, TableConfig
    from iceberg_datamart.core.source.reads import SourceTable
    from iceberg_datamart.core.state.history import TableHistory
    from iceberg_datamart.core.state.watermark import Horizon, ReadWindow, Watermark
    from iceberg_datamart.errors import DatamartError


@dataclass(frozen=True)
class MergeWindow:
    """Read a window of one source and merge it into its mirror; `doubted` as in `windows.Start`."""

    table: str
    settings: TableConfig
    load_type: str
    window: ReadWindow
    reason: str
    source: SourceTable
    horizon: Horizon
    mirror: TableHistory | None
    saved: Watermark | None
    engine: EngineChoice
    change: SchemaChange = field(default_factory=SchemaChange)
    checks: Checks = NO_CHECKS
    audits: tuple[Audit, ...] = ()
    doubted: bool = False


@dataclass(frozen=True)
class Refuse:
    """Do nothing for one table, which counts as failed."""

    table: str
    error: DatamartError


@dataclass(frozen=True)
class MaintainMart:
    """Bring one mart up to its mirrors.

    `keys` are the primary keys that the settings name for its tables, `sources` what is known of these.
    `engine` is an error where no engine can maintain it.
    """

    mart: str
    settings: MartConfig
    engine: EngineChoice | DatamartError
    keys: Mapping[str, tuple[str, ...]]
    sources: Mapping[str, SourceTable] = field(default_factory=dict)

    @property
    def tables(self) -> tuple[str, ...]:
        """Return the joined tables, the root first."""
        return (self.settings.from_, *(join.table for join in self.settings.joins))


@dataclass(frozen=True)
class WriteTimestamp:
    """Move the timestamp file on, if all `tables` got there (R6), and the counts of runs beside it."""

    expected: datetime | None
    tables: tuple[str, ...]


Step: TypeAlias = "MergeWindow | Refuse | MaintainMart | WriteTimestamp"


@dataclass(frozen=True)
class Plan:
    """The steps of one run, in order; those of tables may run side by side."""

    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()

    @property
    def table_steps(self) -> tuple[MergeWindow | Refuse, ...]:
        """Return the steps that concern one table each."""
        return tuple(step for step in self.steps if isinstance(step, (MergeWindow, Refuse)))

    @property
    def mart_steps(self) -> tuple[MaintainMart, ...]:
        """Return the steps that concern one mart each."""
        return tuple(step for step in self.steps if isinstance(step, MaintainMart))
