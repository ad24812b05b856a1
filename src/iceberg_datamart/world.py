"""The real parts of a run, put together from the settings."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from iceberg_datamart.lake.iceberg import IcebergLake
from iceberg_datamart.run_counts import LocalRunCounts
from iceberg_datamart.runner import Run, World, new_run_id
from iceberg_datamart.sources.postgres import PostgresSession
from iceberg_datamart.timestamp_file import timestamp_file

if TYPE_CHECKING:
    from iceberg_datamart.config import Config
    from iceberg_datamart.planner import Wishes


class SystemClock:
    """This machine's clock."""

    def now(self) -> datetime:
        """Return the present instant in UTC."""
        return datetime.now(timezone.utc)


def new_run(config: Config, wishes: Wishes, run_id: str | None = None) -> Run:
    """Return a run over the real sources and the real lake, not started yet."""
    clock = SystemClock()
    run_id = run_id or new_run_id(clock.now())
    world = World(
        lake=IcebergLake(config, run_id, clock),
        timestamp_file=timestamp_file(config.state.timestamp_file),
        run_counts=LocalRunCounts(config.state.timestamp_file),
        clock=clock,
        open_source=PostgresSession,
    )
    return Run(config, wishes, world, run_id)
