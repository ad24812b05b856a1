"""`maintain`: what is worth doing to each table's files, done table by table (R9); marts come first.

A mart keeps the mirrors' snapshots that it is the join of: once its own old snapshots are gone, those can go.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from iceberg_datamart.core.engines import engine_of
from iceberg_datamart.core.report.upkeep import (
    ABSENT,
    DUE,
    FAILED,
    MAINTAINED,
    NOTHING,
    WAITS,
    Counts,
    UpkeepOutcome,
)
from iceberg_datamart.core.state.commit import UPKEEP
from iceberg_datamart.core.upkeep.planner import (
    EXPIRE,
    ORPHANS,
    Compaction,
    Step,
    compaction,
    due_by_summary,
    expiry,
    merged_manifests,
    waits,
)
from iceberg_datamart.core.upkeep.retention import Needs, consumed_by, retention
from iceberg_datamart.errors import DatamartError, MissingPartError, NeedsSparkError
from iceberg_datamart.run.attempts import retried
from iceberg_datamart.run.engines import on_engine
from iceberg_datamart.run.gathering import deliberate

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from iceberg_datamart.core.engines import EngineChoice, Engines
    from iceberg_datamart.core.report.run import RunReport
    from iceberg_datamart.core.settings.model import Config
    from iceberg_datamart.core.settings.upkeep import UpkeepConfig
    from iceberg_datamart.core.state.history import TableHistory
    from iceberg_datamart.core.upkeep.layout import Layout, Rewrite
    from iceberg_datamart.core.upkeep.retention import Retention
    from iceberg_datamart.ports import Clock, Upkeep

log = logging.getLogger(__name__)
REJECTED = "__rejected"


@dataclass(frozen=True)
class Maintaining:
    """The upkeep of one lake. `timestamp` is what the timestamp file says; `dry_run` changes nothing."""

    config: Config
    lake: Upkeep
    engines: Engines
    clock: Clock
    timestamp: datetime | None
    dry_run: bool = False
    with_orphans: bool = True

    def maintained(self, names: Iterable[str]) -> dict[str, UpkeepOutcome]:
        """Return what became of each table, and of its rejected rows. Raises nothing of one table alone."""
        try:
            return self._maintained(set(names))
        finally:
            self.lake.close()

    def _maintained(self, wanted: AbstractSet[str]) -> dict[str, UpkeepOutcome]:
        found: dict[str, UpkeepOutcome] = {}
        for name in (*self.config.marts, *self.config.tables):
            if name in wanted:
                found[name] = self._attempted(name)
                log.info("'%s': %s", name, _told(found[name]))
            if name in wanted and name in self.config.tables:
                rejected = self._attempted(name + REJECTED)
                found |= {} if rejected.outcome == ABSENT else {name + REJECTED: rejected}
        return found

    def after_run(self, report: RunReport) -> None:
        """Maintain the tables that a run changed, where their newest snapshots say that it may be worth it.

        What could not be done is a warning, and comes with a later run.
        """
        changed = {**report.tables, **report.marts}
        names = [name for name, outcome in changed.items() if outcome.snapshot_id and self._may_be_due(name)]
        for name, outcome in self.maintained(names).items():
            if outcome.error is not None:
                log.warning("'%s' was not maintained: %s", name, outcome.error)

    def _may_be_due(self, name: str) -> bool:
        try:
            history = self.lake.history(name)
        except DatamartError as error:
            log.warning("'%s' was not maintained: %s", name, error)
            return False
        return history is not None and due_by_summary(history, settings_of(self.config, name))

    def _attempted(self, name: str) -> UpkeepOutcome:
        try:
            return retried(_Table(self, name).maintained)
        except Exception as error:  # noqa: BLE001  (of one table alone, R9)
            return UpkeepOutcome(FAILED, error=deliberate(name, error))


@dataclass(frozen=True)
class _Table:
    """One table of a lake that is maintained."""

    run: Maintaining
    name: str

    def maintained(self) -> UpkeepOutcome:
        """Return what became of the table. Raises: DatamartError."""
        history = self.run.lake.history(self.name)
        if history is None:
            return UpkeepOutcome(ABSENT)
        layout = self.run.lake.layout(self.name, _current(history))
        before = _counts(layout, history)
        reason = waits(history, is_mirror=self.name in self.run.config.tables)
        if reason is not None:
            return UpkeepOutcome(WAITS, before=before, reason=reason)
        planned = self._compaction(layout, history)
        compacted, engine = self._rewritten(planned, layout, history)
        if engine is not None:
            history = self._present()
            layout = self.run.lake.layout(self.name, _current(history))
        expired, removed = self._expired(layout, history)
        orphans, swept = self._swept()
        steps = tuple(step for step in (compacted, expired, orphans) if step is not None)
        if not any(step.is_due for step in steps):
            return UpkeepOutcome(NOTHING, steps, before)
        if self.run.dry_run:
            return UpkeepOutcome(DUE, steps, before)
        history = self._present()
        after = _counts(self.run.lake.layout(self.name, _current(history)), history)
        return UpkeepOutcome(MAINTAINED, steps, before, after, removed + swept, engine)

    def _present(self) -> TableHistory:
        history = self.run.lake.history(self.name)
        assert history is not None  # noqa: S101  (it was there a moment ago)
        return history

    @property
    def _settings(self) -> UpkeepConfig:
        return settings_of(self.run.config, self.name)

    def _compaction(self, layout: Layout, history: TableHistory) -> Compaction:
        base = _current(history)
        found = compaction(self.name, layout, self._settings, base)
        manifests = merged_manifests(self.name, layout, base)
        return manifests if found.rewrite is None and manifests.rewrite is not None else found

    def _rewritten(
        self, planned: Compaction, layout: Layout, history: TableHistory
    ) -> tuple[Step, EngineChoice | None]:
        """Return the step as it was done, and by which engine; None where nothing was done."""
        if planned.rewrite is None:
            return planned.step, None
        obstacles = [] if layout.obstacle is None else [layout.obstacle]
        rewrite = replace(planned.rewrite, order=history.key, schema_id=history.schema_id)
        work = partial(_rewrite, rewrite=rewrite, summary=_state(history))
        try:
            choice = engine_of(self.run.engines, obstacles)
            if self.run.dry_run:
                return planned.step, None
            _, engine = on_engine(self.name, self.run.lake, choice, work)
        except (NeedsSparkError, MissingPartError) as error:
            # What needs no engine is done all the same.
            step = replace(planned.step, is_due=False, why=f"{planned.step.why}; {error.message}")
            return step, None
        return planned.step, engine

    def _expired(self, layout: Layout, history: TableHistory) -> tuple[Step, int]:
        """Return the step, and how many files went."""
        current = _current(history)
        if current is None:
            return Step(EXPIRE, is_due=False, why="the table is empty"), 0
        found = self._retention(layout, history)
        step = expiry(found, self._settings)
        if not step.is_due or self.run.dry_run:
            return step, 0
        gone = [snapshot.snapshot_id for snapshot in found.expired]
        return step, self.run.lake.expire(self.name, current, gone)

    def _retention(self, layout: Layout, history: TableHistory) -> Retention:
        config = self.run.config
        known = self.name in config.marts or self.name in config.tables
        marts = config.marts if self.name in config.tables else ()
        consumed = {
            snapshot_id
            for mart in filter(None, map(self.run.lake.history, marts))
            for snapshot_id in consumed_by(mart.snapshots, self.name)
        }
        foreign = {snapshot.snapshot_id for snapshot in history.foreign()} if known else set()
        needs = Needs(consumed, foreign, self.run.timestamp, layout.named)
        return retention(history, self._settings, needs, self.run.clock.now())

    def _swept(self) -> tuple[Step | None, int]:
        """Return the step, and how many files went."""
        if not self.run.with_orphans:
            return None, 0
        age = self._settings.orphan_age
        try:
            orphans = self.run.lake.orphans(self.name, self.run.clock.now() - age)
        except NeedsSparkError as error:
            return Step(ORPHANS, is_due=False, why=error.message), 0
        days = f"{age.total_seconds() / 86_400:g}"
        why = f"{len(orphans)} files that nothing names are older than {days} days"
        step = Step(ORPHANS, is_due=bool(orphans), why=why)
        if not orphans or self.run.dry_run:
            return step, 0
        return step, self.run.lake.remove_orphans(self.name, orphans)


def settings_of(config: Config, name: str) -> UpkeepConfig:
    """Return what is set for a table; for rejected rows, what is set for their mirror."""
    own = config.marts[name] if name in config.marts else config.tables[name.removesuffix(REJECTED)]
    return own.maintain.over(config.maintain)


def _rewrite(lake: Upkeep, *, rewrite: Rewrite, summary: dict[str, str]) -> None:
    lake.rewrite(rewrite, summary)


def _state(history: TableHistory) -> dict[str, str]:
    """Return the summary that carries a table's state on: rows written anew are the same rows (R11)."""
    state = history.mirror_state or history.mart_state
    return {**({} if state is None else state.summary()), UPKEEP: "rewrite"}


def _current(history: TableHistory) -> int | None:
    return None if history.current is None else history.current.snapshot_id


def _counts(layout: Layout, history: TableHistory) -> Counts:
    return Counts(len(layout.data), len(layout.deletes), layout.manifests, history.snapshot_count)


def _told(outcome: UpkeepOutcome) -> str:
    if outcome.error is not None:
        return str(outcome.error)
    due = "; ".join(f"{step.kind} ({step.why})" for step in outcome.steps if step.is_due)
    return due or outcome.reason or outcome.outcome


def failures(outcomes: Iterable[UpkeepOutcome]) -> list[DatamartError]:
    """Return every error."""
    return [outcome.error for outcome in outcomes if outcome.error is not None]
