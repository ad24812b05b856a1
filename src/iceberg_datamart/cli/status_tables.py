"""The facts of `status`: of the lake from metadata alone, of the sources as far as they answer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from iceberg_datamart.app.assemble import SystemClock, tables_of, timestamp_file
from iceberg_datamart.app.run_records import newest_records
from iceberg_datamart.cli.status_sources import looked_at, source_json
from iceberg_datamart.core.report.freshness import CLOCK, SOURCE, Now, behind, mart_complete, mirror_complete
from iceberg_datamart.core.report.health import Condition, Figures, health
from iceberg_datamart.core.report.record import failed_last
from iceberg_datamart.core.report.run import error_json
from iceberg_datamart.core.source.reads import Activity
from iceberg_datamart.errors import DatamartError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from iceberg_datamart.core.report.freshness import Complete
    from iceberg_datamart.core.report.record import LastFailure
    from iceberg_datamart.core.settings.model import Config
    from iceberg_datamart.core.state.history import TableHistory

# The newest records, of which each table's newest tells whether it failed last.
_LOOKED_AT = 20


@dataclass(frozen=True)
class Seen:
    """What was found of mirrors, marts and sources. `errors` are of tables that cannot be loaded.

    `sources` have what each does at the moment, None where it has no clock, or why it cannot be asked.
    `failures` are what the last run says of tables that failed in it.
    """

    config: Config
    timestamp: datetime | None
    tables: Mapping[str, TableHistory | None]
    errors: Mapping[str, DatamartError]
    sources: Mapping[str, Activity | DatamartError | None]
    failures: Mapping[str, LastFailure]
    clock: datetime

    def now(self, source: str) -> Now:
        """Return the present instant by a source's clock; by this machine's where it tells none."""
        found = self.sources[source]
        return Now(found.horizon.clock, SOURCE) if isinstance(found, Activity) else Now(self.clock, CLOCK)

    @property
    def mirrors(self) -> dict[str, TableHistory | None]:
        """Return the histories of the mirrors."""
        return {name: self.tables[name] for name in self.config.tables}

    @property
    def problems(self) -> list[DatamartError]:
        """Return what decides the exit code: tables and runs that failed, sources that are needed."""
        needed = {table.source for table in self.config.tables.values() if table.enabled}
        asked = [found for name, found in self.sources.items() if name in needed]
        return [
            *self.errors.values(),
            *(found for found in asked if isinstance(found, DatamartError)),
            *(each.error(name) for name, each in self.failures.items()),
        ]


def survey(config: Config, max_lag: timedelta | None = None) -> tuple[dict[str, Any], list[DatamartError]]:
    """Return the documented object, and all that has failed; `max_lag` is what makes a table stale."""
    seen = _seen(config)
    complete = {
        name: mirror_complete(mirror, seen.timestamp, seen.now(table.source), enabled=table.enabled)
        for (name, table), mirror in zip(config.tables.items(), seen.mirrors.values(), strict=True)
    }
    shown = {
        "timestamp_file": {
            "location": config.state.timestamp_file,
            "timestamp": None if seen.timestamp is None else seen.timestamp.strftime("%Y-%m-%d %H:%M:%S"),
        },
        "clock": seen.clock.isoformat(timespec="seconds"),
        "tables": {name: _mirror(seen, name, complete[name], max_lag) for name in config.tables},
        "marts": {name: _mart(seen, name, complete, max_lag) for name in config.marts},
        "sources": {
            name: source_json(config, name, found, seen.mirrors) for name, found in seen.sources.items()
        },
    }
    return shown, seen.problems


def _seen(config: Config) -> Seen:
    catalog = tables_of(config)
    timestamp = timestamp_file(config.state.timestamp_file, config.catalog.properties).read()
    tables, errors = catalog.surveyed([*config.tables, *config.marts])
    return Seen(
        config,
        timestamp,
        tables,
        errors,
        # After the lake: what is complete cannot be later than the clock that it is compared with.
        sources={name: looked_at(config, name) for name in config.sources},
        failures=failed_last(newest_records(config, _LOOKED_AT), [*config.tables, *config.marts]),
        clock=SystemClock().now(),
    )


def _mirror(seen: Seen, name: str, complete: Complete | None, max_lag: timedelta | None) -> dict[str, Any]:
    history = seen.tables[name]
    state = None if history is None else history.mirror_state
    return {
        **table_json(history, seen.errors.get(name)),
        "run_id": None if state is None else state.run_id,
        "load_type": None if state is None else state.load_type,
        "watermark": None if state is None or state.watermark is None else str(state.watermark),
        "source": None if state is None else state.source,
        **_condition(seen, name, complete, max_lag, undone_by=f"`reconcile --table {name}`"),
    }


def _mart(
    seen: Seen, name: str, mirrors: Mapping[str, Complete | None], max_lag: timedelta | None
) -> dict[str, Any]:
    history, settings = seen.tables[name], seen.config.marts[name]
    joined = {
        table: seen.tables[table] for table in (settings.from_, *(each.table for each in settings.joins))
    }
    state, late = None if history is None else history.mart_state, behind(history, joined)
    complete = mart_complete(history, joined, mirrors)
    return {
        **table_json(history, seen.errors.get(name)),
        "run_id": None if state is None else state.run_id,
        "consumed": {} if state is None else dict(state.consumed),
        "behind": list(late),
        "failed_inputs": [] if state is None else list(state.failed_inputs),
        **_condition(seen, name, complete, max_lag, behind=late),
    }


def _condition(
    seen: Seen, name: str, complete: Complete | None, max_lag: timedelta | None, **more: Any
) -> dict[str, Any]:
    """Return how complete a table is, its figures, and its health, which follows from these."""
    history, error, failure = seen.tables[name], seen.errors.get(name), seen.failures.get(name)
    settings = seen.config.tables.get(name)
    figures = Figures.of(history)
    condition = Condition(
        exists=history is not None,
        is_filled=history is not None and history.current is not None,
        is_enabled=settings is None or settings.enabled,
        error=None if error is None else error.message,
        failure=None if failure is None else failure.message,
        foreign=() if history is None else tuple(each.snapshot_id for each in history.foreign()),
        lag=None if complete is None else complete.lag,
        figures=figures,
        **more,
    )
    found = health(condition, max_lag)
    lag = None if complete is None else max(0.0, complete.lag.total_seconds())
    return {
        "complete_through": None if complete is None else complete.through.isoformat(),
        "complete_through_by": None if complete is None else complete.by,
        "lag_seconds": None if lag is None else round(lag, 3),
        "lag_by": None if complete is None else complete.now.by,
        **asdict(figures),
        "health": found.word,
        "reasons": list(found.reasons),
    }


def table_json(history: TableHistory | None, error: DatamartError | None = None) -> dict[str, Any]:
    """Return what the documented objects of mirrors and marts share; with `error`, it cannot be loaded."""
    current = None if history is None else history.current
    published = None if history is None or current is None else history.published_at(current.snapshot_id)
    return {
        "exists": history is not None or error is not None,
        "rows": 0 if history is None or current is None else history.rows_of(current),
        "snapshot_id": None if current is None else current.snapshot_id,
        "committed_at": None if published is None else published.isoformat(timespec="milliseconds"),
        "is_foreign": current is not None and current.run_id is None,
        "foreign": [] if history is None else [snapshot.snapshot_id for snapshot in history.foreign()],
        "error": None if error is None else error_json(error),
    }
