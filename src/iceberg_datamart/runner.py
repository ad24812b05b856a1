"""The order of effects of one run: gather facts, plan, merge, maintain, write the timestamp file last."""

from __future__ import annotations

import logging
import secrets
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    retry_if_result,
    stop_after_attempt,
    wait_random_exponential,
)

from iceberg_datamart.crash_points import reach
from iceberg_datamart.errors import (
    CatalogUnreachableError,
    CommitConflictError,
    DatamartError,
    SourceUnreachableError,
    TimestampFileConflictError,
)
from iceberg_datamart.gathering import Points, deliberate
from iceberg_datamart.mart_runner import maintain_mart
from iceberg_datamart.mirror_runner import merge_window
from iceberg_datamart.overtaking import overtaken_by
from iceberg_datamart.planner import (
    Facts,
    MaintainMart,
    Plan,
    Refuse,
    Wishes,
    merge_order,
    plan_run,
    plan_table,
)
from iceberg_datamart.report import FAILED, UNCHANGED, Outcome, RunReport
from iceberg_datamart.turns import counted, due_tables
from iceberg_datamart.windows import INCREMENTAL, known_complete, next_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping
    from concurrent.futures import Future
    from datetime import datetime

    from iceberg_datamart.config import Config, SourceConfig
    from iceberg_datamart.overtaking import Overtaken
    from iceberg_datamart.planner import MergeWindow
    from iceberg_datamart.ports import Clock, Lake, RunCounts, SourceSession, TimestampFile

log = logging.getLogger(__name__)
_ATTEMPTS = 4
_PASSES = 3


@dataclass(frozen=True)
class World:
    """What a run touches."""

    lake: Lake
    timestamp_file: TimestampFile
    run_counts: RunCounts
    clock: Clock
    open_source: Callable[[str, SourceConfig], SourceSession]


@dataclass
class Run:
    """One run. `prepare` gathers facts and plans; `execute` does exactly what the plan says."""

    config: Config
    wishes: Wishes
    world: World
    run_id: str
    sessions: dict[str, SourceSession] = field(default_factory=dict)
    facts: Facts | None = None

    @property
    def _points(self) -> Points:
        return Points(self.config, self.world, self.sessions)

    def prepare(self) -> Plan:
        """Return the plan; the sources' consistent points stay open until `close`."""
        timestamp = self.world.timestamp_file.read()
        reach("timestamp-read")
        facts = self._points.gathered(self._chosen())
        self.facts = Facts(timestamp, facts, due_tables(self.config, self.world.run_counts.read()))
        plan = plan_run(self.config, self.facts, self.wishes)
        said = [text for session in self.sessions.values() for text in session.warnings]
        return replace(plan, warnings=(*said, *plan.warnings))

    def execute(self, plan: Plan) -> RunReport:
        """Return what became of each step. Raises nothing that concerns one table alone (R9)."""
        started = time.monotonic()
        for text in plan.warnings:
            log.warning(text)
        merged = self._merge_in_passes(plan)
        tables = {
            name: replace(outcome, complete_through=self._complete_through(name, outcome))
            for name, outcome in merged.items()
        }
        reach("mirrors-merged")
        marts = {
            step.mart: _told(
                step.mart,
                self._timed(step.mart, partial(_retried, partial(maintain_mart, self, step, tables))),
            )
            for step in plan.steps
            if isinstance(step, MaintainMart)
        }
        reach("marts-maintained")
        self._count(plan, tables)
        reach("runs-counted")
        report = RunReport(self.run_id, tables, marts, warnings=plan.warnings)
        try:
            moved = self._move_timestamp(tables)
        except DatamartError as error:
            log.error("timestamp file: %s. %s", error, error.hint)  # noqa: TRY400  (people read this line, not a trace)
            return replace(report, error=error, seconds=time.monotonic() - started)
        said = None if moved is None else moved.strftime("%Y-%m-%d %H:%M:%S")
        return replace(report, timestamp=said, seconds=time.monotonic() - started)

    def close(self) -> None:
        """Give up the sources' consistent points and the lake."""
        for session in self.sessions.values():
            session.close()
        self.world.lake.close()

    def _chosen(self) -> list[str]:
        enabled = [name for name, table in self.config.tables.items() if table.enabled]
        return [name for name in enabled if not self.wishes.tables or name in self.wishes.tables]

    def _merge_in_passes(self, plan: Plan) -> dict[str, Outcome]:
        """Return what became of each table; those of a source that was lost meanwhile are merged again.

        So is each table of that source that was done: the next pass reads all of them at one fresh
        point, or the mart would be the join of two (R8).
        """
        outcomes: dict[str, Outcome] = {}

        def one_pass() -> set[str]:
            lost = self._lost_sources(outcomes)
            for table, later in self._merge_tables(self._at_fresh_point(lost) if lost else plan).items():
                outcomes[table] = outcomes[table].followed_by(later) if table in outcomes else later
            return self._lost_sources(outcomes)

        passes = Retrying(
            retry=retry_if_result(bool),
            stop=stop_after_attempt(_PASSES),
            wait=wait_random_exponential(multiplier=0.5, max=5),
            retry_error_callback=lambda _: None,
        )
        passes(one_pass)
        # One line for a lost source, however many tables and passes it ended.
        _tell_together(
            (self.config.tables[name].source, name, outcome.error)
            for name, outcome in outcomes.items()
            if isinstance(outcome.error, SourceUnreachableError)
        )
        return outcomes

    def _lost_sources(self, outcomes: Mapping[str, Outcome]) -> set[str]:
        """Return the sources that were reached, and lost before all of their tables were done."""
        lost = {name for name, o in outcomes.items() if isinstance(o.error, SourceUnreachableError)}
        return {self.config.tables[name].source for name in lost} & set(self.sessions)

    def _at_fresh_point(self, sources: set[str]) -> Plan:
        """Return the steps of all tables of the sources, planned anew at a point taken now."""
        assert self.facts is not None  # noqa: S101  (prepare came first)
        for name in sources:
            log.warning("the consistent point of source '%s' was lost; its tables are read again", name)
            self.sessions.pop(name).close()
        tables = [name for name in self._chosen() if self.config.tables[name].source in sources]
        known = {**self.facts.tables, **self._points.gathered(tables)}
        self.facts = replace(self.facts, tables=known)
        return Plan(tuple(plan_table(name, self.config, self.facts, self.wishes) for name in tables))

    def _merge_tables(self, plan: Plan) -> dict[str, Outcome]:
        steps = {step.table: step for step in plan.table_steps}
        refused = (step for step in plan.table_steps if isinstance(step, Refuse))
        _tell_together(
            (id(step.error), step.table, step.error)
            for step in refused
            if not isinstance(step.error, SourceUnreachableError)
        )
        futures: dict[str, Future[Outcome]] = {}
        with ThreadPoolExecutor(self.config.run.parallel_tables, "table") as pool:
            for table, earlier in merge_order(self.config, steps).items():
                before = [futures[name] for name in earlier]
                futures[table] = pool.submit(self._merge_after, before, steps[table])
        return {table: futures[table].result() for table in steps}

    def _merge_after(self, before: Iterable[Future[Outcome]], step: MergeWindow | Refuse) -> Outcome:
        # Those began before this one, so that a pool of any size gets on.
        wait(before)
        outcome = self._timed(step.table, partial(self._merge, step))
        if isinstance(step, Refuse) or isinstance(outcome.error, SourceUnreachableError):
            return outcome
        return _told(step.table, outcome)

    def _merge(self, step: MergeWindow | Refuse) -> Outcome:
        """Merge one table; where another run committed first, start again from fresh state (R12)."""
        planned = [step]

        def attempt() -> Outcome:
            current = planned.pop() if planned else self._planned_again(step.table)
            if isinstance(current, Refuse):
                raise current.error
            assert self.facts is not None  # noqa: S101  (prepare came first)
            said = self.world.timestamp_file.read()
            overtaken = overtaken_by(current, self.facts, self.run_id, said)
            if overtaken is not None:
                return self._yielded(overtaken)
            return merge_window(self, current)

        return _retried(attempt)

    def _planned_again(self, table: str) -> MergeWindow | Refuse:
        assert self.facts is not None  # noqa: S101  (prepare came first)
        fresh = replace(self.facts.tables[table], mirror=self.world.lake.history(table))
        facts = replace(self.facts, tables={**self.facts.tables, table: fresh})
        return plan_table(table, self.config, facts, self.wishes)

    def _yielded(self, overtaken: Overtaken) -> Outcome:
        """Return that there is nothing left to do; but more than an increment that was asked for is owed."""
        reason = "another run merged a later state of the source"
        if self.wishes.load_type != INCREMENTAL:
            raise CommitConflictError(reason, hint="Run it again.")
        return Outcome(UNCHANGED, reason=reason, complete_through=overtaken.complete_through)

    def _timed(self, name: str, work: Callable[[], Outcome]) -> Outcome:
        """Return the outcome of `work` with its seconds; an error is an outcome, too (R9)."""
        started = time.monotonic()
        try:
            outcome = work()
        except Exception as error:  # noqa: BLE001  (of one table alone, R9)
            outcome = Outcome(FAILED, error=deliberate(name, error))
        return replace(outcome, seconds=time.monotonic() - started)

    def _complete_through(self, name: str, outcome: Outcome) -> datetime | None:
        """Return up to when a table is known complete now; one that failed is where it was before."""
        assert self.facts is not None  # noqa: S101  (prepare came first)
        if outcome.outcome == UNCHANGED and outcome.reason is not None:
            return outcome.complete_through
        if outcome.outcome != FAILED:
            horizon = self.facts.tables[name].horizon
            return None if horizon is None else horizon.instant
        try:
            mirror = self.world.lake.history(name)
        except Exception as error:  # noqa: BLE001  (of one table alone, R9)
            log.debug("'%s': its history cannot be read: %s", name, error)
            return None
        return known_complete(mirror)

    def _count(self, plan: Plan, tables: Mapping[str, Outcome]) -> None:
        """Count this run for the tables that are reconciled every N runs."""
        before = self.world.run_counts.read()
        after = counted(self.config, before, plan, tables)
        if after == before:
            return
        try:
            self.world.run_counts.write(after)
        except DatamartError as error:
            log.warning("the count of runs since the last reconcile is not kept: %s", error)

    def _move_timestamp(self, tables: Mapping[str, Outcome]) -> datetime | None:
        """Write the least complete-through of all enabled tables, unless one did not get there (R6)."""
        assert self.facts is not None  # noqa: S101  (prepare came first)
        present = self.facts.timestamp
        enabled = [name for name, table in self.config.tables.items() if table.enabled]
        if any(name not in tables or tables[name].outcome == FAILED for name in enabled):
            return present
        complete = (tables[name].complete_through for name in enabled)
        horizons = (self.facts.tables[name].horizon for name in enabled)
        clocks = (horizon.clock for horizon in horizons if horizon is not None)
        reached = next_timestamp(present, complete, clocks)
        return present if reached is None else self._written(reached, present)

    def _written(self, reached: datetime, expected: datetime | None) -> datetime:
        """Replace `expected` in the timestamp file by `reached`; return what it says then.

        Another run may have moved it on meanwhile; the later instant stays. Raises:
        TimestampFileConflictError where it was set back, which only a person does.
        """
        try:
            self.world.timestamp_file.write(reached, expected)
        except TimestampFileConflictError:
            said = self.world.timestamp_file.read()
            if said is not None and said >= reached:
                return said
            if said is None or expected is None or said <= expected:
                raise
            return self._written(reached, said)
        reach("timestamp-written")
        return reached


def _retried(attempt: Callable[[], Outcome]) -> Outcome:
    """Return what `attempt` returns, tried again where another writer committed first (R12).

    So, too, where the catalog was lost for a moment: fresh state says what was committed before.
    """
    conflicts = Retrying(
        retry=retry_if_exception_type((CommitConflictError, CatalogUnreachableError)),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        before_sleep=_say_again,
        reraise=True,
    )
    return conflicts(attempt)


def _say_again(state: RetryCallState) -> None:
    error = None if state.outcome is None else state.outcome.exception()
    log.warning("%s; starting again from fresh state", error)


def new_run_id(now: datetime) -> str:
    """Return an identifier that sorts by time: `20260131T081500.123456Z-1a2b3c4d`."""
    return f"{now.strftime('%Y%m%dT%H%M%S.%fZ')}-{secrets.token_hex(4)}"


def _tell_together(failed: Iterable[tuple[Hashable, str, DatamartError]]) -> None:
    """Log one line for all tables that failed for the same cause: the first of the three."""
    causes: dict[Hashable, tuple[list[str], DatamartError]] = {}
    for cause, name, error in failed:
        causes.setdefault(cause, ([], error))[0].append(name)
    for names, error in causes.values():
        _tell_failed(names, error)


def _tell_failed(names: Iterable[str], error: DatamartError) -> None:
    end = "" if error.message.endswith((".", "?", "!")) else "."
    hint = f"{end} {error.hint}" if error.hint else ""
    log.error("%s failed: %s%s", ", ".join(f"'{name}'" for name in names), error.message, hint)


def _told(name: str, outcome: Outcome) -> Outcome:
    """Return the outcome, once the log says it."""
    _log_outcome(name, outcome)
    return outcome


def _log_outcome(name: str, outcome: Outcome) -> None:
    if outcome.error is not None:
        _tell_failed([name], outcome.error)
        return
    if outcome.reason is not None:
        log.warning("'%s' %s: %s", name, outcome.outcome, outcome.reason)
        return
    log.info(
        "'%s' %s: %d read, %d inserted, %d updated, %d deleted in %.1f s",
        *(name, outcome.outcome, outcome.rows_read, outcome.inserted, outcome.updated, outcome.deleted),
        outcome.seconds,
    )
