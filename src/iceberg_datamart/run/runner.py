"""The order of effects of one run: gather facts, plan, merge, maintain, write the timestamp file last."""

from __future__ import annotations

import logging
import secrets
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from iceberg_datamart.core.plan.due import counted, due_tables
from iceberg_datamart.core.plan.facts import Facts
from iceberg_datamart.core.plan.planner import chosen_tables, plan_run
from iceberg_datamart.core.plan.steps import WriteTimestamp
from iceberg_datamart.core.plan.windows import next_timestamp
from iceberg_datamart.core.report.progress import LOOKING
from iceberg_datamart.core.report.run import FAILED, RunReport
from iceberg_datamart.crash_points import crash_point
from iceberg_datamart.errors import DatamartError, TimestampFileConflictError
from iceberg_datamart.run.attempts import retried, timed
from iceberg_datamart.run.engines import outcome_on_engine
from iceberg_datamart.run.gathering import Points
from iceberg_datamart.run.log import told
from iceberg_datamart.run.mart import maintain_mart
from iceberg_datamart.run.merging import Merging
from iceberg_datamart.underway.stopping import effect

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from typing_extensions import Self

    from iceberg_datamart.core.plan.facts import RunRequest
    from iceberg_datamart.core.plan.steps import MaintainMart, Plan
    from iceberg_datamart.core.report.run import Outcome
    from iceberg_datamart.core.settings.model import Config
    from iceberg_datamart.ports import Adapters, DescribedTable, Lake

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A plan, the facts that it follows from, and the tables at the points that these were gathered at.

    `seconds` is how long it took to gather and plan.
    """

    plan: Plan
    facts: Facts
    tables: Mapping[str, DescribedTable]
    seconds: float = 0.0


class _Phases:
    """How long each part of a run took, in seconds."""

    def __init__(self, gathering: float) -> None:
        """Begin where the plan is made, which took `gathering` seconds."""
        self.seconds = {"gathering": gathering}
        self._planned = self._ended = time.monotonic()

    @property
    def since_planned(self) -> float:
        """Return the seconds from the plan to the end of the last part."""
        return self._ended - self._planned

    def end(self, name: str) -> None:
        """End the part that follows the one before."""
        now = time.monotonic()
        self.seconds[name], self._ended = now - self._ended, now


@dataclass
class Run:
    """One run. `prepare` gathers facts and plans; `execute` does exactly what the plan says.

    A context manager, which gives up the sources' consistent points and the lake.
    """

    config: Config
    request: RunRequest
    adapters: Adapters
    run_id: str
    _points: Points = field(init=False)

    def __post_init__(self) -> None:
        """Open nothing yet."""
        self._points = Points(self.config, self.adapters)

    def __enter__(self) -> Self:
        """Return the run itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give up the points and the lake, whatever happened."""
        self._points.close()
        self.adapters.lake.close()

    def prepare(self) -> Prepared:
        """Return the plan and what it follows from."""
        started = time.monotonic()
        timestamp = self.adapters.timestamp_file.read()
        crash_point("timestamp-read")
        known = self._points.gathered(chosen_tables(self.config, self.request))
        due = due_tables(self.config, self.adapters.run_counts.read())
        facts = Facts(timestamp, known, due, self.adapters.engines)
        plan = plan_run(self.config, facts, self.request)
        warnings = [text for session in self._points.sessions.values() for text in session.warnings]
        plan = replace(plan, warnings=(*warnings, *plan.warnings))
        return Prepared(plan, facts, self._points.tables, time.monotonic() - started)

    def execute(self, prepared: Prepared) -> RunReport:
        """Return what became of each step. Raises nothing that concerns one table alone (R9)."""
        phases = _Phases(prepared.seconds)
        warnings = prepared.plan.warnings
        for text in warnings:
            log.warning(text)
        merging = Merging(self.config, self.request, self._points, self.run_id, prepared.plan, prepared.facts)
        tables = merging.merged()
        phases.end("tables")
        crash_point("mirrors-merged")
        marts = {step.mart: self._maintained(step, tables) for step in merging.plan.mart_steps}
        phases.end("marts")
        crash_point("marts-maintained")
        report = RunReport(self.run_id, tables, marts, warnings=warnings)
        try:
            moved = self._remember(merging.plan, merging.facts, tables)
        except DatamartError as error:
            log.error("timestamp file: %s. %s", error, error.hint)  # noqa: TRY400  (people read this line, not a trace)
            report = replace(report, error=error)
        else:
            said = None if moved is None else moved.strftime("%Y-%m-%d %H:%M:%S")
            report = replace(report, timestamp=said)
        phases.end("timestamp_file")
        return replace(report, seconds=phases.since_planned, phases=phases.seconds)

    def _maintained(self, step: MaintainMart, tables: Mapping[str, Outcome]) -> Outcome:
        def work(lake: Lake) -> Outcome:
            return maintain_mart(lake, self.run_id, step, tables)

        attempt = partial(outcome_on_engine, step.mart, self.adapters.lake, step.engine, work)
        with self.adapters.board.work(step.mart, LOOKING):
            outcome = timed(step.mart, partial(retried, attempt))
        return told(step.mart, outcome)

    def _remember(self, plan: Plan, facts: Facts, tables: Mapping[str, Outcome]) -> datetime | None:
        """Count the run and move the timestamp file on; return what the file says then."""
        self._count(plan, tables)
        crash_point("runs-counted")
        step = plan.steps[-1]
        assert isinstance(step, WriteTimestamp)  # noqa: S101  (it ends each plan)
        return self._move_timestamp(step, facts, tables)

    def _count(self, plan: Plan, tables: Mapping[str, Outcome]) -> None:
        """Count this run for the tables that are reconciled every N runs."""
        before = self.adapters.run_counts.read()
        after = counted(before, plan, tables)
        if after == before:
            return
        try:
            with effect():
                self.adapters.run_counts.write(after)
        except DatamartError as error:
            log.warning("the count of runs since the last reconcile is not kept: %s", error)

    def _move_timestamp(
        self, step: WriteTimestamp, facts: Facts, tables: Mapping[str, Outcome]
    ) -> datetime | None:
        """Write the least complete-through of all the step's tables, unless one did not get there (R6)."""
        if any(name not in tables or tables[name].outcome == FAILED for name in step.tables):
            return step.expected
        complete = (tables[name].complete_through for name in step.tables)
        horizons = (facts.tables[name].horizon for name in step.tables)
        clocks = (horizon.clock for horizon in horizons if horizon is not None)
        reached = next_timestamp(step.expected, complete, clocks)
        return step.expected if reached is None else self._written(reached, step.expected)

    def _written(self, reached: datetime, expected: datetime | None) -> datetime:
        """Replace `expected` in the timestamp file by `reached`; return what it says then.

        Another run may have moved it on meanwhile; the later instant stays. Raises:
        TimestampFileConflictError where it was set back, which only a person does.
        """
        try:
            with effect():
                self.adapters.timestamp_file.write(reached, expected)
        except TimestampFileConflictError:
            said = self.adapters.timestamp_file.read()
            if said is not None and said >= reached:
                return said
            if said is None or expected is None or said <= expected:
                raise
            return self._written(reached, said)
        crash_point("timestamp-written")
        return reached


def new_run_id(now: datetime) -> str:
    """Return an identifier that sorts by time: `20260131T081500.123456Z-1a2b3c4d`."""
    return f"{now.strftime('%Y%m%dT%H%M%S.%fZ')}-{secrets.token_hex(4)}"
