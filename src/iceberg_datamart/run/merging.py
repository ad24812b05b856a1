"""All tables of a run, side by side; those of a source that is lost meanwhile, again at a fresh point."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from tenacity import Retrying, retry_if_result, stop_after_attempt, wait_random_exponential

from iceberg_datamart.core.load_types import INCREMENTAL
from iceberg_datamart.core.plan.overtaking import overtaken_by
from iceberg_datamart.core.plan.planner import chosen_tables, merge_order, plan_run, plan_table
from iceberg_datamart.core.plan.steps import Refuse
from iceberg_datamart.core.plan.windows import known_complete
from iceberg_datamart.core.report.progress import LOOKING
from iceberg_datamart.core.report.run import FAILED, UNCHANGED, Outcome
from iceberg_datamart.errors import CommitConflictError, SourceUnreachableError
from iceberg_datamart.run.attempts import retried, timed
from iceberg_datamart.run.engines import outcome_on_engine
from iceberg_datamart.run.log import tell_together, told
from iceberg_datamart.run.mirror import MirrorWork, merge_window

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from concurrent.futures import Future
    from datetime import datetime

    from iceberg_datamart.core.plan.facts import Facts, RunRequest
    from iceberg_datamart.core.plan.overtaking import Overtaken
    from iceberg_datamart.core.plan.steps import MergeWindow, Plan
    from iceberg_datamart.core.settings.model import Config
    from iceberg_datamart.ports import Lake
    from iceberg_datamart.run.gathering import Points

log = logging.getLogger(__name__)
_PASSES = 3


@dataclass
class Merging:
    """The tables of one run. `plan` and `facts` are as of the newest point of each source."""

    config: Config
    request: RunRequest
    points: Points
    run_id: str
    plan: Plan
    facts: Facts

    def merged(self) -> dict[str, Outcome]:
        """Return what became of each table; those of a source that was lost meanwhile are merged again.

        So is each table of that source that was done: the next pass reads all of them at one fresh
        point, or the mart would be the join of two (R8).
        """
        outcomes: dict[str, Outcome] = {}

        def one_pass() -> set[str]:
            lost = self._lost_sources(outcomes)
            if lost:
                self._move_to_fresh_point(lost)
            steps = self.plan.table_steps
            chosen = [step for step in steps if not lost or self._source(step.table) in lost]
            for table, later in self._merge_tables(chosen).items():
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
        tell_together(
            (self._source(name), name, outcome.error)
            for name, outcome in outcomes.items()
            if isinstance(outcome.error, SourceUnreachableError)
        )
        return {
            name: replace(outcome, complete_through=self._complete_through(name, outcome))
            for name, outcome in outcomes.items()
        }

    def _source(self, table: str) -> str:
        return self.config.tables[table].source

    def _lost_sources(self, outcomes: Mapping[str, Outcome]) -> set[str]:
        """Return the sources that were reached, and lost before all of their tables were done."""
        lost = {name for name, o in outcomes.items() if isinstance(o.error, SourceUnreachableError)}
        return {self._source(name) for name in lost} & set(self.points.sessions)

    def _move_to_fresh_point(self, sources: set[str]) -> None:
        """Read the facts of all tables of the sources at a point taken now, and plan again."""
        for name in sources:
            log.warning("the consistent point of source '%s' was lost; its tables are read again", name)
            self.points.give_up(name)
        tables = [name for name in chosen_tables(self.config, self.request) if self._source(name) in sources]
        known = {**self.facts.tables, **self.points.gathered(tables)}
        self.facts = replace(self.facts, tables=known)
        self.plan = plan_run(self.config, self.facts, self.request)

    def _merge_tables(self, chosen: Iterable[MergeWindow | Refuse]) -> dict[str, Outcome]:
        steps = {step.table: step for step in chosen}
        tell_together(
            (id(step.error), step.table, step.error)
            for step in steps.values()
            if isinstance(step, Refuse) and not isinstance(step.error, SourceUnreachableError)
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
        with self.points.adapters.board.work(step.table, LOOKING):
            outcome = timed(step.table, partial(self._merge, step))
        if isinstance(step, Refuse) or isinstance(outcome.error, SourceUnreachableError):
            return outcome
        return told(step.table, outcome)

    def _merge(self, step: MergeWindow | Refuse) -> Outcome:
        """Merge one table; where another run committed first, start again from fresh state (R12)."""
        planned = [step]

        def attempt() -> Outcome:
            current = planned.pop() if planned else self._planned_again(step.table)
            if isinstance(current, Refuse):
                raise current.error
            said = self.points.adapters.timestamp_file.read()
            # Planned again beside a newer state, it may be in doubt because of that alone.
            first = current if isinstance(step, Refuse) else step
            overtaken = overtaken_by(first, self.facts, current.mirror, self.run_id, said)
            if overtaken is not None:
                return self._yielded(overtaken)
            table = self.points.tables[step.table]

            def work(lake: Lake) -> Outcome:
                return merge_window(MirrorWork(table, lake, self.run_id), current)

            return outcome_on_engine(step.table, self.points.adapters.lake, current.engine, work)

        return retried(attempt)

    def _planned_again(self, table: str) -> MergeWindow | Refuse:
        fresh = replace(self.facts.tables[table], mirror=self.points.adapters.lake.history(table))
        facts = replace(self.facts, tables={**self.facts.tables, table: fresh})
        return plan_table(table, self.config, facts, self.request)

    def _yielded(self, overtaken: Overtaken) -> Outcome:
        """Report *unchanged*: a newer run merged already.

        Raises: CommitConflictError where that one may not have read all that was asked for.
        """
        reason = "another run merged a later state of the source"
        is_asked_for = self.request.load_type != INCREMENTAL or self.request.snapshot_id is not None
        if is_asked_for or not overtaken.has_read_all:
            raise CommitConflictError(reason, hint="It may have read less of it than this run: run it again.")
        return Outcome(UNCHANGED, reason=reason, complete_through=overtaken.complete_through)

    def _complete_through(self, name: str, outcome: Outcome) -> datetime | None:
        """Return up to when a table is known complete now; one that failed is where it was before."""
        if outcome.outcome == UNCHANGED and outcome.reason is not None:
            return outcome.complete_through
        if outcome.outcome != FAILED:
            horizon = self.facts.tables[name].horizon
            return None if horizon is None else horizon.instant
        try:
            mirror = self.points.adapters.lake.history(name)
        except Exception as error:  # noqa: BLE001  (of one table alone, R9)
            log.debug("'%s': its history cannot be read: %s", name, error)
            return None
        return known_complete(mirror)
