"""All that a plan follows from: what is known of each table before a run, and what was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from iceberg_datamart.core.engines import Engines
from iceberg_datamart.core.load_types import INCREMENTAL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from iceberg_datamart.core.source.reads import SourceTable
    from iceberg_datamart.core.state.history import TableHistory
    from iceberg_datamart.core.state.watermark import Horizon
    from iceberg_datamart.errors import DatamartError


@dataclass(frozen=True)
class TableFacts:
    """What is known of one table before a run: its source, or why it cannot be read, and its mirror."""

    source: SourceTable | DatamartError
    mirror: TableHistory | None = None
    horizon: Horizon | None = None


@dataclass(frozen=True)
class Facts:
    """All that a plan depends on. `timestamp` is what the timestamp file says; None where it is missing.

    `due` names the tables whose turn it is to be reconciled.
    """

    timestamp: datetime | None
    tables: Mapping[str, TableFacts]
    due: frozenset[str] = frozenset()
    engines: Engines = field(default_factory=Engines)


@dataclass(frozen=True)
class RunRequest:
    """What the caller of a run asked for. No `tables` means all.

    With `snapshot_id`, the one table is read from the state that this snapshot of its mirror recorded.
    """

    load_type: str = INCREMENTAL
    tables: tuple[str, ...] = ()
    accept_new_source: bool = False
    snapshot_id: int | None = None
