"""What a run will do, from facts alone: where windows start, and what is refused (R4, R5, R11, R13)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.instants import CursorKind, microseconds
from iceberg_datamart.core.plan.facts import Facts, RunRequest, TableFacts
from iceberg_datamart.core.plan.planner import plan_run, plan_table
from iceberg_datamart.core.plan.steps import MaintainMart, MergeWindow, Refuse, WriteTimestamp
from iceberg_datamart.core.source.reads import SourceTable
from iceberg_datamart.core.state.commit import MirrorState
from iceberg_datamart.core.state.history import Snapshot, TableHistory
from iceberg_datamart.core.state.watermark import Horizon, Watermark
from iceberg_datamart.errors import (
    DatamartError,
    SchemaChangeError,
    SourceIdentityError,
    SourceUnreachableError,
)
from support.fakes.ports import configured, mart, table

if TYPE_CHECKING:
    from iceberg_datamart.core.settings.model import Config

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
TSTZ, INTEGER = CursorKind.TIMESTAMPTZ, CursorKind.INTEGER
SOURCE = SourceTable(
    "fake:1/prd/7", (Column("id", "long", nullable=False), Column("v", "string")), ("id",), True, TSTZ
)
MIRROR_COLUMNS = {"id": "long", "v": "string", "_run_id": "string", "_merged_at": "timestamptz"}


def at(instant: datetime) -> Watermark:
    return Watermark(TSTZ, microseconds(instant))


def state(watermark: Watermark | None = None, **changes: Any) -> MirrorState:
    found = MirrorState(
        "run-1",
        "incremental",
        SOURCE.identity,
        NOON - MINUTE,
        NOON - MINUTE,
        cursor="at",
        watermark=watermark,
        greatest=watermark,
    )
    return replace(found, **changes)


def mirror(*states: MirrorState | None, columns: dict[str, str] | None = None) -> TableHistory:
    """Return a history with a commit for each state, newest first; None is a foreign commit."""
    summaries = [{} if each is None else each.summary() for each in states]
    snapshots = [
        Snapshot(len(summaries) - index, len(summaries) - index - 1 or None, NOON, "append", summary)
        for index, summary in enumerate(summaries)
    ]
    return TableHistory(columns or MIRROR_COLUMNS, ("id",), tuple(snapshots))


def facts(
    mirror: TableHistory | None = None,
    *,
    timestamp: datetime | None = NOON - MINUTE,
    source: SourceTable | DatamartError = SOURCE,
) -> Facts:
    horizon = None if isinstance(source, DatamartError) else Horizon(NOON, NOON + SECOND)
    return Facts(timestamp, {"queue": TableFacts(source, mirror, horizon)})


def planned(known: Facts, config: Config | None = None, **request: Any) -> MergeWindow:
    step = plan_table("queue", config or configured("queue"), known, RunRequest(**request))
    assert isinstance(step, MergeWindow), step
    return step


def refused(known: Facts, config: Config | None = None, **request: Any) -> DatamartError:
    step = plan_table("queue", config or configured("queue"), known, RunRequest(**request))
    assert isinstance(step, Refuse), step
    return step.error


def with_state(on_missing: str, **settings: Any) -> Config:
    return configured(
        "queue",
        state={"timestamp_file": "last.csv", "on_missing": on_missing},
        tables={"queue": table("queue", **settings)},
    )


# --- R4: two witnesses, the older wins


@pytest.mark.parametrize(
    ("file", "saved"),
    [(NOON - 2 * MINUTE, NOON - MINUTE), (NOON - MINUTE, NOON - 2 * MINUTE), (NOON - MINUTE, NOON - MINUTE)],
    ids=["the file is older", "the mirror is older", "both are the same"],
)
def test_r4_the_older_witness_wins(file: datetime, saved: datetime) -> None:
    step = planned(facts(mirror(state(at(saved))), timestamp=file))
    assert step.load_type == "incremental"
    assert step.window.lower == at(min(file, saved))
    assert ("timestamp file" in step.reason) == (file < saved)


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2026, 3, 1), timezones=st.just(timezone.utc)),  # noqa: DTZ001
    st.datetimes(datetime(2020, 1, 1), datetime(2026, 3, 1), timezones=st.just(timezone.utc)),  # noqa: DTZ001
    st.integers(0, 100_000),
)
def test_r4_no_window_starts_after_either_witness(file: datetime, saved: datetime, lookback: int) -> None:
    file = file.replace(microsecond=0)
    config = with_state("full_load", lookback_minutes=lookback)
    step = planned(facts(mirror(state(at(saved))), timestamp=file), config)
    assert step.window.lower == at(min(file, saved) - lookback * MINUTE)


def test_r4_a_file_ahead_of_the_mirror_does_not_skip_rows() -> None:
    step = planned(facts(mirror(state(at(NOON - DAY))), timestamp=NOON + 365 * DAY))
    assert step.window.lower == at(NOON - DAY)


def test_the_saved_watermark_is_the_mirrors_even_where_the_file_rewinds() -> None:
    step = planned(facts(mirror(state(at(NOON - MINUTE))), timestamp=NOON - DAY))
    assert step.saved == at(NOON - MINUTE)


@pytest.mark.parametrize(
    ("kind", "zone", "lower"),
    [
        (CursorKind.TIMESTAMP, "UTC", "2026-02-28T12:00:00.000000"),
        (CursorKind.TIMESTAMP, "America/New_York", "2026-02-28T07:00:00.000000"),
        (CursorKind.DATE, "UTC", "2026-02-28"),
    ],
)
def test_the_files_instant_is_read_in_the_cursors_own_terms(kind: CursorKind, zone: str, lower: str) -> None:
    saved = Watermark(kind, microseconds(NOON) if kind is CursorKind.TIMESTAMP else 20_513)
    known = facts(mirror(state(saved)), timestamp=NOON - DAY, source=replace(SOURCE, cursor=kind))
    step = planned(known, with_state("full_load", cursor_timezone=zone))
    assert str(step.window.lower) == lower


# --- R5: a missing file


def test_r5_without_the_timestamp_file_everything_is_loaded() -> None:
    step = planned(facts(mirror(state(at(NOON))), timestamp=None))
    assert (step.load_type, step.window.lower) == ("full", None)
    assert step.reason == "the timestamp file is missing"


def test_r5_without_the_timestamp_file_the_snapshots_may_be_used_where_asked_for() -> None:
    step = planned(facts(mirror(state(at(NOON))), timestamp=None), with_state("use_snapshots"))
    assert (step.load_type, step.window.lower) == ("incremental", at(NOON))


def test_r11_where_neither_witness_is_left_everything_is_loaded() -> None:
    step = planned(facts(mirror(None), timestamp=None), with_state("use_snapshots"))
    assert step.load_type == "full"


# --- other reasons for a full load


def test_a_full_load_may_be_asked_for() -> None:
    step = planned(facts(mirror(state(at(NOON)))), load_type="full")
    assert (step.load_type, step.window.lower, step.reason) == ("full", None, "asked for")


@pytest.mark.parametrize("empty", [None, mirror()], ids=["no mirror", "a mirror without rows"])
def test_an_empty_mirror_is_loaded_whole(empty: TableHistory | None) -> None:
    assert planned(facts(empty)).load_type == "full"


def test_a_table_without_cursor_is_read_whole_in_every_run() -> None:
    step = planned(facts(mirror(state()), source=replace(SOURCE, cursor=None)))
    assert (step.load_type, step.window.lower) == ("full", None)


def test_a_full_load_forgets_the_saved_watermark() -> None:
    assert planned(facts(mirror(state(at(NOON + DAY)))), load_type="full").saved is None


# --- R11: commits of others


def test_r11_a_compaction_does_not_lose_the_watermark() -> None:
    step = planned(facts(mirror(None, None, state(at(NOON - MINUTE)))))
    assert step.window.lower == at(NOON - MINUTE)


@pytest.mark.parametrize("superseded", [False, True])
@pytest.mark.parametrize("file", [NOON - DAY, NOON + DAY])
def test_r11_where_the_history_is_gone_all_rows_are_compared(*, superseded: bool, file: datetime) -> None:
    snapshots = mirror(None, state(at(NOON))).snapshots[:1]
    known = facts(replace(mirror(), snapshots=snapshots, is_superseded=superseded), timestamp=file)
    step = planned(known)
    assert (step.load_type, step.window.lower, step.doubted) == ("reconcile", None, True)
    assert step.reason == "the mirror's history does not say any more up to where it is complete"
    undigested = replace(SOURCE, is_digested=False)
    assert (
        planned(
            replace(known, tables=facts(known.tables["queue"].mirror, source=undigested).tables)
        ).load_type
        == "full"
    )


def test_a_mirror_that_never_saw_a_cursor_value_is_read_whole_but_deletes_nothing() -> None:
    step = planned(facts(mirror(state(None))))
    assert (step.load_type, step.window.lower) == ("incremental", None)


@pytest.mark.parametrize("old", [CursorKind.TIMESTAMPTZ, CursorKind.TIMESTAMP, CursorKind.DATE, INTEGER])
@pytest.mark.parametrize("new", [CursorKind.TIMESTAMPTZ, CursorKind.TIMESTAMP, CursorKind.DATE, INTEGER])
def test_a_new_kind_of_cursor_reads_everything_once(old: CursorKind, new: CursorKind) -> None:
    saved = Watermark(old, 20_000)
    step = planned(facts(mirror(state(saved)), timestamp=NOON, source=replace(SOURCE, cursor=new)))
    if old is new:
        assert step.window.lower is not None
    else:
        assert step.load_type == "full"
        assert step.saved is None


def test_another_cursor_column_of_the_same_type_reads_everything_once() -> None:
    saved = replace(state(), cursor="created_at")
    assert planned(facts(mirror(saved), timestamp=NOON)).reason == "the cursor column is another one"


# --- integer cursors


def integers(*marks: tuple[datetime, int | None, int]) -> Facts:
    """Return facts of an integer cursor: when each state was read, watermark and greatest, newest first."""
    states = [
        state(
            None if watermark is None else Watermark(INTEGER, watermark),
            greatest=Watermark(INTEGER, greatest),
            complete_through=when,
            read_at=when,
        )
        for when, watermark, greatest in marks
    ]
    return facts(mirror(*states), timestamp=NOON, source=replace(SOURCE, cursor=INTEGER))


def test_an_integer_cursor_starts_where_it_started_for_what_was_open_at_its_last_read() -> None:
    step = planned(integers((NOON - MINUTE, 10, 20)))
    assert step.window.lower == Watermark(INTEGER, 10)


@pytest.mark.parametrize(("read", "saved"), [(NOON, 20), (NOON + timedelta(microseconds=1), 10)])
def test_a_read_settles_the_greatest_value_of_the_one_before_once_its_transactions_ended(
    read: datetime, saved: int
) -> None:
    step = planned(replace(integers((read, 10, 20)), timestamp=NOON + DAY))
    assert step.saved == Watermark(INTEGER, saved)


def test_r4_an_older_file_rewinds_an_integer_cursor_to_the_state_of_its_time() -> None:
    known = integers((NOON - MINUTE, 20, 30), (NOON - DAY, 10, 20), (NOON - 3 * DAY, 5, 10))
    step = planned(replace(known, timestamp=NOON - 2 * DAY))
    assert step.window.lower == Watermark(INTEGER, 5)
    assert "timestamp file" in step.reason


def test_a_file_that_only_dropped_the_fraction_of_the_second_rewinds_nothing() -> None:
    known = integers((NOON - MINUTE + timedelta(microseconds=999_999), 10, 20))
    assert planned(replace(known, timestamp=NOON - MINUTE)).window.lower == Watermark(INTEGER, 10)


def test_a_file_older_than_all_history_of_an_integer_cursor_reads_everything() -> None:
    step = planned(replace(integers((NOON - MINUTE, 10, 20)), timestamp=NOON - 9 * DAY))
    assert (step.load_type, step.window.lower) == ("incremental", None)


def test_a_lookback_means_nothing_to_an_integer_cursor() -> None:
    step = planned(integers((NOON - MINUTE, 10, 20)), with_state("full_load", lookback_minutes=60))
    assert step.window.lower == Watermark(INTEGER, 10)


# --- R13: the right source


def test_r13_another_source_is_refused_by_both_names() -> None:
    error = refused(facts(mirror(state(at(NOON), source="fake:2/prd/7"))))
    assert isinstance(error, SourceIdentityError)
    assert "fake:2/prd/7" in error.message
    assert "fake:1/prd/7" in error.message
    assert "--accept-new-source" in error.hint


def test_r13_a_source_that_is_accepted_is_loaded_whole() -> None:
    step = planned(facts(mirror(state(at(NOON), source="fake:2/prd/7"))), accept_new_source=True)
    assert (step.load_type, step.window.lower, step.saved) == ("full", None, None)


def test_r13_a_full_load_does_not_accept_another_source_by_itself() -> None:
    known = facts(mirror(state(at(NOON), source="fake:2/prd/7")))
    assert isinstance(refused(known, load_type="full"), SourceIdentityError)


# --- schema changes


def test_a_new_column_is_in_the_plan() -> None:
    known = facts(mirror(state(at(NOON)), columns={"id": "long"}))
    assert planned(known).change.added == (Column("v", "string"),)


def test_a_change_that_iceberg_cannot_follow_is_refused_before_anything_is_read() -> None:
    error = refused(facts(mirror(state(at(NOON)), columns={**MIRROR_COLUMNS, "v": "int"})))
    assert isinstance(error, SchemaChangeError)
    assert "'v' changed from int to string" in error.message


def test_another_primary_key_is_refused() -> None:
    error = refused(facts(mirror(state(at(NOON))), source=replace(SOURCE, primary_key=("v",))))
    assert isinstance(error, SchemaChangeError)


def test_lineage_columns_do_not_count_as_dropped() -> None:
    assert planned(facts(mirror(state(at(NOON))))).change.absent == ()


# --- whole plans


def several(**known: TableFacts) -> Facts:
    return Facts(NOON - MINUTE, known)


GOOD = TableFacts(SOURCE, None, Horizon(NOON, NOON))
LOST = SourceUnreachableError("source 'prd' cannot be reached")


def test_r9_the_refusal_of_one_table_leaves_the_others() -> None:
    config = configured("account", "queue", "risk", marts={"m": mart("account", "queue")})
    plan = plan_run(config, several(account=GOOD, queue=TableFacts(LOST), risk=GOOD), RunRequest())
    assert [type(step) for step in plan.steps] == [
        MergeWindow,
        Refuse,
        MergeWindow,
        MaintainMart,
        WriteTimestamp,
    ]
    assert plan.steps[1] == Refuse("queue", LOST)
    assert plan.table_steps == plan.steps[:3]


def test_the_timestamp_file_comes_last() -> None:
    plan = plan_run(configured("queue"), several(queue=GOOD), RunRequest())
    assert plan.steps[-1] == WriteTimestamp(NOON - MINUTE, ("queue",))


def test_a_table_that_is_not_enabled_has_no_step() -> None:
    config = configured(tables={"queue": table("queue"), "old": table("old", enabled=False)})
    plan = plan_run(config, several(queue=GOOD), RunRequest())
    assert [step.table for step in plan.table_steps] == ["queue"]


def test_chosen_tables_bring_their_marts_and_no_others() -> None:
    marts = {"one": mart("account", "queue"), "two": mart("risk", "queue"), "three": mart("risk", "other")}
    config = configured("account", "queue", "risk", "other", marts=marts)
    plan = plan_run(config, several(queue=GOOD), RunRequest(tables=("queue",)))
    assert [step.table for step in plan.table_steps] == ["queue"]
    assert [step.mart for step in plan.mart_steps] == ["one", "two"]


def test_the_same_facts_make_the_same_plan() -> None:
    config, known = configured("queue"), several(queue=GOOD)
    assert plan_run(config, known, RunRequest()) == plan_run(config, known, RunRequest())


def test_r9_an_unforeseen_error_while_a_mart_is_planned_is_that_marts_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise OverflowError("out of range")

    config = configured("account", "queue", marts={"m": mart("account", "queue")})
    monkeypatch.setattr("iceberg_datamart.core.plan.planner.mart_obstacles", fail)
    plan = plan_run(config, several(account=GOOD, queue=GOOD), RunRequest())
    assert [type(step) for step in plan.table_steps] == [MergeWindow, MergeWindow]
    (step,) = plan.mart_steps
    assert isinstance(step.engine, DatamartError)
    assert "OverflowError: out of range" in step.engine.message
