"""Which snapshots expire: never one that somebody needs."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.settings.upkeep import UpkeepConfig
from iceberg_datamart.core.state.commit import UPKEEP, MartState, MirrorState
from iceberg_datamart.core.state.history import Snapshot, TableHistory
from iceberg_datamart.core.upkeep.planner import due_by_summary, expiry
from iceberg_datamart.core.upkeep.retention import Needs, consumed_by, retention

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def state(number: int, load_type: str = "incremental") -> dict[str, str]:
    read = NOW - timedelta(days=100) + timedelta(minutes=number)
    return MirrorState(f"run-{number}", load_type, "postgres:1/a/2", read, read).summary()


def line(ages: list[timedelta], summaries: dict[int, dict[str, str]] | None = None) -> TableHistory:
    """Return a history of snapshots 1, 2, …, which became current so long ago, the oldest first."""
    found = [
        Snapshot(
            number,
            number - 1 or None,
            NOW - age,
            "append",
            (summaries or {}).get(number, state(number)),
            number,
        )
        for number, age in enumerate(ages, 1)
    ]
    log = tuple((snapshot.committed_at, snapshot.snapshot_id) for snapshot in found)
    return TableHistory(
        {"id": "long"}, ("id",), tuple(reversed(found)), log=log, last_sequence_number=len(found)
    )


def expired(history: TableHistory, needs: Needs | None = None, **settings: float) -> set[int]:
    found = retention(history, UpkeepConfig(**settings), needs or Needs(), NOW)
    every = {s.snapshot_id for s in (*history.snapshots, *history.others)}
    gone = {s.snapshot_id for s in found.expired}
    assert {s.snapshot_id for s in found.kept} == every - gone
    return gone


def test_a_snapshot_stays_for_as_long_as_it_was_current_within_keep_days() -> None:
    history = line([30 * 24 * HOUR, 8 * 24 * HOUR, 3 * 24 * HOUR, HOUR])
    assert expired(history, keep_days=7) == {1}, "2 was current until 3 days ago"
    assert expired(history, keep_days=0) == {1, 2, 3}
    assert expired(history) == {1}


def test_no_more_snapshots_stay_than_keep_snapshots_however_young() -> None:
    assert expired(line([4 * HOUR, 3 * HOUR, 2 * HOUR, HOUR]), keep_snapshots=2) == {1, 2}


def test_what_a_mart_is_the_join_of_stays_and_all_that_came_after_it() -> None:
    mart = line([2 * HOUR], {1: MartState("run-1", "d", {"customer": 2, "purchase": 9}).summary()})
    consumed = consumed_by(mart.snapshots, "customer")
    assert consumed == {2}
    history = line([4 * HOUR, 3 * HOUR, 2 * HOUR, HOUR])
    assert expired(history, Needs(consumed=consumed), keep_snapshots=1) == {1}


def test_the_newest_state_stays_where_other_tools_committed_since() -> None:
    replaced = {number: {} for number in (3, 4)}
    assert expired(line([4 * HOUR, 3 * HOUR, 2 * HOUR, HOUR], replaced), keep_snapshots=1) == {1}


def test_r4_the_state_of_the_timestamp_files_time_stays() -> None:
    history = line([4 * HOUR, 3 * HOUR, 2 * HOUR, HOUR])
    read = history.snapshots[2].summary["iceberg-datamart.complete-through"]
    needs = Needs(timestamp=datetime.fromisoformat(read.replace("Z", "+00:00")))
    assert expired(history, needs, keep_snapshots=1) == {1}


def test_a_snapshot_that_a_tag_names_stays_and_a_foreign_commit_with_all_after_it() -> None:
    history = line([4 * HOUR, 3 * HOUR, 2 * HOUR, HOUR])
    assert expired(history, Needs(named={1}), keep_snapshots=1) == {2, 3}
    assert expired(history, Needs(foreign={2}), keep_snapshots=1) == {1}


def test_what_is_staged_stays_for_a_day_and_longer_only_while_it_is_young() -> None:
    history = line([30 * 24 * HOUR, HOUR])
    staged = [
        Snapshot(10, 1, NOW - 20 * HOUR, "append", {}, 1),
        Snapshot(11, 1, NOW - 30 * HOUR, "append", {}, 1),
        Snapshot(12, 1, NOW - 300 * HOUR, "append", {}, 1),
    ]
    history = replace(history, others=tuple(staged))
    assert expired(history, keep_days=7) == {12}
    assert expired(history, keep_days=0) == {1, 11, 12}
    assert expired(history, Needs(consumed={12}), keep_days=0) == {1, 11}, "a mart joined it before that"
    unmade = replace(staged[2], sequence_number=3)
    assert expired(replace(history, others=(unmade,)), keep_days=7) == set(), "it may have been rolled back"


def test_all_stays_that_leads_back_to_an_expired_snapshot_whose_state_or_rows_are_needed() -> None:
    whole = line([4 * HOUR, 3 * HOUR, 2 * HOUR, HOUR], {2: {}, 3: {}})
    left = replace(whole, snapshots=whole.snapshots[:-1], origin=whole.snapshots[-1])
    assert expired(left, keep_snapshots=1) == {2, 3}, "4 has a state of its own"
    assert expired(left, Needs(consumed={1}), keep_snapshots=1) == set()
    stateless = line([4 * HOUR, 3 * HOUR, 2 * HOUR], {2: {}, 3: {}})
    left = replace(stateless, snapshots=stateless.snapshots[:-1], origin=stateless.snapshots[-1])
    assert expired(left, keep_snapshots=1) == set()


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=12),
    st.tuples(*[st.sets(st.integers(1, 12))] * 3),
    st.integers(1, 12),
    st.floats(0, 50),
)
def test_nothing_that_is_needed_expires_and_what_stays_is_one_piece(
    hours: list[int], needed: tuple[set[int], set[int], set[int]], most: int, days: float
) -> None:
    consumed, named, foreign = needed
    ages = [timedelta(hours=hour) for hour in sorted(hours, reverse=True)]
    history = line(ages, {number: {} for number in foreign})
    present = {s.snapshot_id for s in history.snapshots}
    gone = expired(history, Needs(consumed, foreign, named=named), keep_snapshots=most, keep_days=days)
    states = [s.snapshot_id for s in history.snapshots if s.run_id is not None]
    assert not gone & (consumed | named | foreign | {len(hours)} | set(states[:1]))
    stays = present - gone - named
    if stays:
        assert stays | (named & present) >= set(range(min(stays), len(hours) + 1))


def test_few_expired_snapshots_are_not_worth_a_commit() -> None:
    history = line([timedelta(hours=hours) for hours in range(12, 0, -1)])
    many = UpkeepConfig(keep_snapshots=9)
    assert expiry(retention(history, many, Needs(), NOW), many).is_due
    few = UpkeepConfig(keep_snapshots=100, keep_days=0.4)
    assert not expiry(retention(history, few, Needs(), NOW), few).is_due


def test_a_table_is_looked_at_where_its_newest_summary_counts_many_files_or_snapshots() -> None:
    settings = UpkeepConfig(min_files=10, keep_snapshots=10)
    few, many = ({**state(3), "total-data-files": n, "total-delete-files": "5"} for n in ("5", "6"))
    assert not due_by_summary(line([HOUR] * 3, {3: few}), settings)
    assert due_by_summary(line([HOUR] * 3, {3: many}), settings)
    assert not due_by_summary(line([HOUR] * 11), settings)
    assert due_by_summary(line([HOUR] * 12), settings)
    assert not due_by_summary(line([]), settings)


def test_a_commit_of_maintain_counts_as_no_load_and_changes_no_row() -> None:
    carried = {**state(1, "full"), UPKEEP: "rewrite", "added-records": "5"}
    history = line([3 * HOUR, 2 * HOUR, HOUR], {2: {}, 3: carried})
    newest = history.snapshots[0]
    assert not newest.changes_rows
    assert newest.run_id == "run-1"
    assert newest.load_type == "maintain"
    assert [s.snapshot_id for s in history.foreign()] == [2], "no full load came after it"
