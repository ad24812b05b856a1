"""What is known of each table before the plan: locked, described, then read at one point (R16)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from iceberg_datamart.core.plan.facts import TableFacts
from iceberg_datamart.core.plan.schema import IGNORE, unread_columns
from iceberg_datamart.core.report.progress import CONNECTING
from iceberg_datamart.core.source.recipe import whole_recipe
from iceberg_datamart.crash_points import crash_point
from iceberg_datamart.errors import DatamartError, SourceError
from iceberg_datamart.underway.stopping import wait_if_stopping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iceberg_datamart.core.settings.model import Config
    from iceberg_datamart.core.source.reads import SourceTable
    from iceberg_datamart.core.state.history import TableHistory
    from iceberg_datamart.core.state.watermark import Horizon
    from iceberg_datamart.ports import Adapters, DescribedTable, SourceSession

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Points:
    """The sources' consistent points: `sessions` by source, and the `tables` that they described, by name."""

    config: Config
    adapters: Adapters
    sessions: dict[str, SourceSession] = field(default_factory=dict)
    tables: dict[str, DescribedTable] = field(default_factory=dict)

    def give_up(self, source: str) -> None:
        """Close the session of a source, and forget its tables; the next that need it open another."""
        self.sessions.pop(source).close()
        for name in [name for name in self.tables if self._source(name) == source]:
            del self.tables[name]

    def close(self) -> None:
        """Give up all points."""
        for session in self.sessions.values():
            session.close()

    def gathered(self, tables: Sequence[str]) -> dict[str, TableFacts]:
        """Return what is known of each table, its source read at a consistent point taken now.

        Locks come first: what is described then stays true, and no DDL empties a table under the point.
        """
        lost = self._open_sources(tables)
        errors = {name: lost[self._source(name)] for name in tables if self._source(name) in lost}
        # Before the points are fixed: what other runs commit from here on is known to have come later.
        mirrors = {name: self._mirror(name) for name in tables}
        errors |= self._locked([name for name in tables if name not in errors])
        found = {name: errors.get(name) or self._described(name) for name in tables}
        sources = {self._source(name) for name in tables} - set(lost)
        horizons = {name: self._point_of(name) for name in sorted(sources)}
        return {
            name: self._table_facts(name, source, mirrors[name], horizons.get(self._source(name)))
            for name, source in found.items()
        }

    def _mirror(self, name: str) -> TableHistory | DatamartError | None:
        try:
            return self.adapters.lake.history(name)
        except Exception as error:  # noqa: BLE001  (this table's failure, R9)
            return deliberate(name, error)

    def _source(self, table: str) -> str:
        return self.config.tables[table].source

    def _open_sources(self, tables: Sequence[str]) -> dict[str, DatamartError]:
        """Open the sources that the tables need; return those that could not be, with the reason."""
        errors: dict[str, DatamartError] = {}
        for name in dict.fromkeys(self._source(table) for table in tables):
            try:
                with self.adapters.board.work(name, CONNECTING):
                    self.sessions[name] = self.adapters.open_source(name, self.config.sources[name])
                crash_point("source-opened")
            except SourceError as error:  # noqa: PERF203  (a few sources)
                errors[name] = error
        return errors

    def _locked(self, tables: Sequence[str]) -> dict[str, DatamartError]:
        """Return why tables are not locked, by table; all others are."""
        errors: dict[str, DatamartError] = {}
        for source in dict.fromkeys(self._source(table) for table in tables):
            wanted = {name: self.config.tables[name] for name in tables if self._source(name) == source}
            try:
                errors |= self.sessions[source].lock(wanted)
            except SourceError as error:
                errors |= dict.fromkeys(wanted, error)
        return errors

    def _described(self, name: str) -> SourceTable | DatamartError:
        """Return the facts of a table, with all of its recipe."""
        try:
            self.tables[name] = self._table(name)
            facts = self.tables[name].facts
            facts = replace(facts, recipe=whole_recipe(facts, self.config.tables[name]))
            crash_point("table-described")
        except Exception as error:  # noqa: BLE001  (of one table alone, R9)
            return deliberate(name, error)
        return facts

    def _table(self, name: str) -> DescribedTable:
        """Return a table as its source describes it; with `on_schema_change: ignore`, but for new columns."""
        config = self.config.tables[name]
        session = self.sessions[config.source]
        table = session.describe(name, config)
        mirror = self.adapters.lake.history(name) if config.on_schema_change == IGNORE else None
        if mirror is None or mirror.current is None:
            return table
        unread = unread_columns(table.facts, mirror.columns, config.cursor)
        known = config.model_copy(update={"exclude": (*config.exclude, *unread)})
        return session.describe(name, known) if unread else table

    def _point_of(self, source: str) -> Horizon | DatamartError:
        try:
            horizon = self.sessions[source].pin_snapshot()
        except SourceError as error:
            return error
        crash_point("point-fixed")
        return horizon

    def _table_facts(
        self,
        name: str,
        source: SourceTable | DatamartError,
        mirror: TableHistory | DatamartError | None,
        horizon: Horizon | DatamartError | None,
    ) -> TableFacts:
        if isinstance(source, DatamartError):
            return TableFacts(source)
        if horizon is None or isinstance(horizon, DatamartError):
            return TableFacts(horizon or DatamartError(f"source of '{name}' has no point"))
        if isinstance(mirror, DatamartError):
            return TableFacts(mirror)
        try:
            columns = self.adapters.lake.held_columns(name, source.columns, mirror)
        except Exception as error:  # noqa: BLE001  (of one table alone, R9)
            return TableFacts(deliberate(name, error))
        if source.written_elsewhere is not None:
            horizon = horizon.guessed()
        return TableFacts(replace(source, columns=columns), mirror, horizon)


def deliberate(name: str, error: Exception) -> DatamartError:
    """Return the error itself, or one of this package for an unforeseen one, whose trace goes to the log.

    Return nothing while the process stops: what was broken off did not fail.
    """
    wait_if_stopping()
    if isinstance(error, DatamartError):
        return error
    log.debug("'%s' failed unexpectedly", name, exc_info=error)
    return DatamartError(f"{type(error).__name__}: {error}", hint="Run with --debug for the whole story.")
