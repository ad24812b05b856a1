"""Which rows of a mirror may wait for the next run: those that the last one cannot have read (R14)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.instants import CursorKind, microseconds
from iceberg_datamart.core.plan.steps import MergeWindow
from iceberg_datamart.core.state.watermark import Watermark
from iceberg_datamart.run.verify import pending_from
from support.fakes.ports import MINUTE, NOON, FakeSource, FakeWorld, configured, table

if TYPE_CHECKING:
    from datetime import datetime

    from iceberg_datamart.run.runner import Prepared
    from support.fakes.ports import SourceRows

minutes = st.integers(-90, 90).map(lambda count: NOON + count * MINUTE)


def merged(rows: SourceRows, held_back: timedelta = timedelta(0)) -> FakeWorld:
    """Return a world after a run over these rows of `queue`."""
    found = FakeWorld(
        configured("queue", tables={"queue": table("queue")}),
        FakeSource({"queue": rows}, held_back=held_back),
    )
    found.run()
    return found


def pending(found: FakeWorld) -> Watermark | None:
    with found.new_run() as run:
        return pending_in(run.prepare())


def pending_in(prepared: Prepared) -> Watermark | None:
    step = prepared.plan.table_steps[0]
    assert isinstance(step, MergeWindow)
    return pending_from(prepared.tables["queue"], step)


@given(st.dictionaries(st.integers(1, 5), st.tuples(st.just("v"), st.none() | minutes), max_size=5))
def test_r14_nothing_is_pending_where_the_source_is_as_it_was_read(rows: SourceRows) -> None:
    assert pending(merged(rows, held_back=30 * MINUTE)) is None


@given(minutes, st.integers(0, 60))
def test_r14_what_changed_is_pending_from_the_recorded_horizon_on(at: datetime, held_back: int) -> None:
    found = merged({1: ("a", NOON), 2: ("b", at)}, held_back=held_back * MINUTE)
    found.source.tables["queue"][3] = ("new", NOON + 91 * MINUTE)
    horizon = microseconds(NOON - held_back * MINUTE)
    assert pending(found) == Watermark(CursorKind.TIMESTAMPTZ, horizon)


def test_r14_nothing_is_pending_that_another_source_has() -> None:
    found = merged({1: ("a", NOON)})
    found.source.tables["queue"][2] = ("b", NOON + MINUTE)
    found.source.identity = "fake:2/prd"
    with found.new_run(accept_new_source=True) as run:
        assert pending_in(run.prepare()) is None
