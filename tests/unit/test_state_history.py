"""What a commit records is read back as it was, and what a history says (R1, R11)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.instants import EPOCH, CursorKind, microseconds
from iceberg_datamart.core.state.commit import PREFIX, MartState, MirrorState, mart_state, mirror_state
from iceberg_datamart.core.state.history import Snapshot, TableHistory
from iceberg_datamart.core.state.watermark import Watermark

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)

texts = st.text(min_size=1, max_size=20)
instants = st.datetimes(
    datetime(1970, 1, 1),  # noqa: DTZ001
    datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([timezone.utc, timezone(timedelta(hours=5, minutes=45))]),
)
table_names = st.from_regex(r"[a-z_][a-z0-9_ $-]{0,15}", fullmatch=True)


def marks(kind: CursorKind) -> st.SearchStrategy[Watermark | None]:
    return st.none() | st.integers(-700_000, 2_900_000).map(lambda value: Watermark(kind, value))


@st.composite
def mirror_states(draw: st.DrawFn) -> MirrorState:
    kind = draw(st.sampled_from(CursorKind))
    return MirrorState(
        run_id=draw(texts),
        load_type=draw(st.sampled_from(["full", "incremental"])),
        source=draw(texts),
        complete_through=draw(instants),
        read_at=draw(instants),
        watermark=draw(marks(kind)),
        greatest=draw(marks(kind)),
        cursor=draw(st.none() | texts),
        fingerprint=draw(st.none() | texts),
        column_ids=draw(st.dictionaries(texts, st.integers(0, 1600), max_size=3)),
        recipe=draw(st.none() | texts),
        parts=draw(st.none() | texts),
        transaction=draw(st.none() | st.integers(0, 2**63)),
        timeline=draw(st.none() | st.integers(1, 2**31)),
        database=draw(st.none() | st.integers(1, 2**32)),
    )


def a_state(**changes: object) -> MirrorState:
    values = {
        "run_id": "run-1",
        "load_type": "incremental",
        "source": "postgres:7/prd/16384",
        "complete_through": NOON,
        "read_at": NOON,
    }
    return MirrorState(**{**values, **changes})  # type: ignore[arg-type]


def snapshot(snapshot_id: int, summary: dict[str, str] | None = None, operation: str = "append") -> Snapshot:
    return Snapshot(snapshot_id, snapshot_id - 1 or None, NOON, operation, summary or {})


def history(*snapshots: Snapshot) -> TableHistory:
    return TableHistory({"id": "long"}, ("id",), snapshots)


# --- mirrors


@given(mirror_states(), st.dictionaries(texts.filter(lambda key: not key.startswith(PREFIX)), texts))
def test_r1_a_mirrors_state_is_read_back_from_its_summary(state: MirrorState, others: dict[str, str]) -> None:
    assert mirror_state({**others, **state.summary()}) == state


@given(mirror_states())
def test_a_summary_is_text_under_this_packages_prefix(state: MirrorState) -> None:
    for key, value in state.summary().items():
        assert key.startswith(PREFIX)
        assert isinstance(value, str)


def test_a_summary_does_not_speak_of_what_a_state_lacks() -> None:
    assert "None" not in a_state().summary().values()


@given(st.dictionaries(texts, texts))
def test_a_foreign_summary_holds_no_state(summary: dict[str, str]) -> None:
    assert mirror_state(summary) is None
    assert mart_state(summary) is None


def test_the_summary_names_what_it_records() -> None:
    mark = Watermark(CursorKind.TIMESTAMPTZ, 1_772_366_400_000_000)
    state = a_state(watermark=mark, greatest=mark, fingerprint="f", column_ids={"id": 1, "größe": 4})
    assert state.summary() == {
        "iceberg-datamart.run-id": "run-1",
        "iceberg-datamart.load-type": "incremental",
        "iceberg-datamart.source": "postgres:7/prd/16384",
        "iceberg-datamart.complete-through": "2026-03-01T12:00:00.000000Z",
        "iceberg-datamart.read-at": "2026-03-01T12:00:00.000000Z",
        "iceberg-datamart.cursor-type": "timestamptz",
        "iceberg-datamart.watermark": "2026-03-01T12:00:00.000000Z",
        "iceberg-datamart.greatest-cursor": "2026-03-01T12:00:00.000000Z",
        "iceberg-datamart.fingerprint": "f",
        "iceberg-datamart.columns": '{"id":1,"gr\\u00f6\\u00dfe":4}',
    }


@pytest.mark.parametrize(("after", "settles"), [(-1, False), (0, True), (1, True)])
def test_an_integer_watermark_settles_once_every_transaction_of_its_read_has_ended(
    after: int, *, settles: bool
) -> None:
    old, new = Watermark(CursorKind.INTEGER, 10), Watermark(CursorKind.INTEGER, 20)
    state = a_state(watermark=old, greatest=new)
    assert state.settled(NOON + timedelta(microseconds=after)) == (new if settles else old)


@pytest.mark.parametrize("kind", [CursorKind.TIMESTAMPTZ, CursorKind.TIMESTAMP, CursorKind.DATE])
def test_the_watermark_of_a_time_does_not_move_by_waiting(kind: CursorKind) -> None:
    state = a_state(watermark=Watermark(kind, 10), greatest=Watermark(kind, 20))
    assert state.settled(NOON + timedelta(days=1)) == Watermark(kind, 10)


def test_r11_commits_of_others_are_passed_over() -> None:
    older, newer = a_state(run_id="run-1"), a_state(run_id="run-2")
    compaction = snapshot(4, {"added-records": "9"}, "replace")
    found = history(compaction, snapshot(3, newer.summary()), compaction, snapshot(1, older.summary()))
    assert found.mirror_states == (newer, older)


# --- marts


@given(
    texts, texts, st.dictionaries(table_names, st.integers(1, 2**63 - 1)), st.lists(table_names, unique=True)
)
def test_r8_a_marts_state_is_read_back_from_its_summary(
    run_id: str, definition: str, consumed: dict[str, int], failed_inputs: list[str]
) -> None:
    state = MartState(run_id, definition, consumed, tuple(failed_inputs))
    assert mart_state(state.summary()) == state


def test_a_mart_and_a_mirror_are_not_taken_for_each_other() -> None:
    mart = MartState("run-1", "abc", {"account": 1})
    assert mirror_state(mart.summary()) is None
    assert mart_state(a_state().summary()) is None


def test_the_newest_state_of_a_mart_counts() -> None:
    old, new = MartState("run-1", "abc", {"account": 1}), MartState("run-2", "abc", {"account": 2})
    found = history(snapshot(3, operation="replace"), snapshot(2, new.summary()), snapshot(1, old.summary()))
    assert found.mart_state == new
    assert history(snapshot(1)).mart_state is None


# --- histories


def test_the_first_snapshot_is_the_one_that_readers_see() -> None:
    assert history(snapshot(2), snapshot(1)).current == snapshot(2)
    assert history().current is None


def test_since_tells_what_came_after_an_ancestor_newest_first() -> None:
    found = history(snapshot(3), snapshot(2), snapshot(1))
    assert found.since(1) == (snapshot(3), snapshot(2))
    assert found.since(3) == ()


def test_r11_a_history_is_whole_where_its_first_commit_is_still_known() -> None:
    assert history(snapshot(2), snapshot(1)).is_whole
    assert not history(snapshot(3), snapshot(2)).is_whole
    assert not history().is_whole


def test_r11_a_foreign_commit_counts_until_a_full_load_has_compared_all_rows() -> None:
    full, increment = a_state(load_type="full").summary(), a_state().summary()
    compaction, foreign = snapshot(3, operation="replace"), snapshot(2, operation="delete")
    assert history(snapshot(4, increment), compaction, foreign).foreign() == (foreign,)
    assert history(snapshot(4, full), compaction, foreign).foreign() == ()
    assert history(snapshot(4, MartState("run-1", "abc", {}).summary()), foreign).foreign() == ()


@pytest.mark.parametrize("unknown", [9, None])
def test_since_says_none_where_the_snapshot_is_no_ancestor(unknown: int | None) -> None:
    assert history(snapshot(3), snapshot(2)).since(unknown) is None


def test_hidden_rows_are_not_counted() -> None:
    assert snapshot(1, {"total-records": "10", "total-position-deletes": "3"}).rows == 7
    assert snapshot(1, {"total-records": "10"}).rows == 10
    assert snapshot(1).rows == 0


FULL_TABLE = {"total-records": "100", "iceberg-datamart.run-id": "run-1"}
UPDATED = {**FULL_TABLE, "total-records": "180", "total-position-deletes": "80", "total-delete-files": "1"}
COMPACTED = {"total-records": "100", "total-position-deletes": "80", "total-delete-files": "1"}


@pytest.mark.parametrize(
    ("summaries", "rows"),
    [
        ([FULL_TABLE], 100),
        ([UPDATED, FULL_TABLE], 100),
        ([{}, FULL_TABLE], None),
        ([COMPACTED, UPDATED, FULL_TABLE], None),
        ([{**UPDATED, "total-records": "181"}, COMPACTED, UPDATED, FULL_TABLE], None),
        ([{"total-records": "100", "total-delete-files": "0"}, UPDATED, FULL_TABLE], 100),
    ],
    ids=["a load", "its own deletes", "no count", "a compaction", "a run after it", "deletes are cleaned up"],
)
def test_r20_a_summarys_rows_are_not_believed_beside_delete_files_that_may_hide_nothing(
    summaries: list[dict[str, str]], rows: int | None
) -> None:
    found = history(*(snapshot(len(summaries) - index, summary) for index, summary in enumerate(summaries)))
    assert found.current is not None
    assert found.rows_of(found.current) == rows


def test_deletes_of_an_expired_past_may_be_anybodys() -> None:
    found = history(snapshot(5, UPDATED))
    assert found.rows_of(found.snapshots[0]) is None


def test_a_load_without_counts_inserted_what_it_added() -> None:
    load = snapshot(1, {PREFIX + "run-id": "run-1", "added-records": "5"})
    assert [load.changed(kind) for kind in ("inserted", "updated", "deleted")] == [5, 0, 0]


def test_the_counts_of_a_merge_are_its_own_not_the_files() -> None:
    counts = {PREFIX + "inserted": "1", PREFIX + "updated": "2", PREFIX + "deleted": "3"}
    merge = snapshot(1, {PREFIX + "run-id": "run-1", "added-records": "3", **counts})
    assert [merge.changed(kind) for kind in ("inserted", "updated", "deleted")] == [1, 2, 3]


def test_a_foreign_commit_changed_no_row_of_ours() -> None:
    foreign = snapshot(1, {"added-records": "5"})
    assert foreign.run_id is None
    assert [foreign.changed(kind) for kind in ("inserted", "updated", "deleted")] == [0, 0, 0]


# --- what holds a watermark back (R7)

HOUR = timedelta(hours=1)


def a_read(
    kind: CursorKind, greatest: int, watermark: int | None = None, read_at: datetime = NOON
) -> MirrorState:
    mark = None if watermark is None else Watermark(kind, watermark)
    return a_state(greatest=Watermark(kind, greatest), watermark=mark, read_at=read_at)


@pytest.mark.parametrize(
    ("opened", "newest", "held"),
    [
        (NOON - HOUR, NOON - HOUR / 2, True),
        (NOON - HOUR, NOON - 2 * HOUR, False),
        (NOON + HOUR, NOON - HOUR / 2, False),
        (NOON, NOON + HOUR, False),
    ],
    ids=["newer rows were read", "only older rows", "opened after the read", "the clock alone is the limit"],
)
def test_r7_a_table_is_held_back_by_what_was_open_when_newer_rows_were_read(
    opened: datetime, newest: datetime, *, held: bool
) -> None:
    state = a_read(CursorKind.TIMESTAMPTZ, microseconds(newest))
    assert state.is_held_back(opened, "UTC") is held


def test_r7_a_cursor_without_zone_is_compared_on_its_own_clock() -> None:
    state = a_read(CursorKind.TIMESTAMP, microseconds(NOON + 5 * HOUR))
    assert state.is_held_back(NOON - HOUR, "Asia/Kolkata")
    assert not state.is_held_back(NOON - HOUR / 4, "Asia/Kolkata")


def test_r7_a_date_is_not_held_back_by_a_transaction_of_today() -> None:
    state = a_read(CursorKind.DATE, (NOON - EPOCH).days, read_at=NOON + 6 * HOUR)
    assert not state.is_held_back(NOON + HOUR, "UTC")
    assert state.is_held_back(NOON - 24 * HOUR, "UTC")


def test_r7_an_integer_is_held_back_while_its_watermark_trails_what_was_read() -> None:
    assert a_read(CursorKind.INTEGER, 9, watermark=7).is_held_back(NOON - HOUR, "UTC")
    assert a_read(CursorKind.INTEGER, 9).is_held_back(NOON - HOUR, "UTC")
    assert not a_read(CursorKind.INTEGER, 9, watermark=9).is_held_back(NOON - HOUR, "UTC")
    assert not a_state().is_held_back(NOON - HOUR, "UTC")


# --- rollbacks

LATER = NOON + timedelta(hours=1)


def load(number: int, load_type: str, *, changed: int = 1) -> Snapshot:
    """Return the snapshot of a load that changed some rows; its number is its sequence number, too."""
    said = {PREFIX + "run-id": f"run-{number}", PREFIX + "load-type": load_type}
    return replace(snapshot(number, {**said, PREFIX + "updated": str(changed)}), sequence_number=number)


def snapshot_of_another(number: int) -> Snapshot:
    """Return what another tool committed."""
    return replace(snapshot(number, {}), sequence_number=number)


def rolled_back(*kept: Snapshot, undone: tuple[Snapshot, ...], last: int | None = None) -> TableHistory:
    """Return a history, `kept` newest first, that once went on with `undone`."""
    seen = sorted((*kept, *undone), key=lambda each: each.sequence_number)
    return replace(
        history(*kept),
        others=undone,
        log=tuple((NOON, each.snapshot_id) for each in seen),
        last_sequence_number=last or seen[-1].sequence_number,
    )


@pytest.mark.parametrize("kind", ["full", "reconcile", "backfill"])
def test_a_rollback_of_a_load_that_found_what_no_cursor_tells_owes_a_comparison(kind: str) -> None:
    assert rolled_back(load(1, "full"), undone=(load(2, kind),)).needs_reconcile


def test_a_rollback_of_incremental_loads_owes_none_for_the_watermark_goes_back_with_it() -> None:
    assert not rolled_back(load(1, "full"), undone=(load(2, "incremental"),)).needs_reconcile


def test_a_rollback_of_a_full_load_that_changed_nothing_owes_no_comparison() -> None:
    assert not rolled_back(load(1, "full"), undone=(load(2, "full", changed=0),)).needs_reconcile


def test_a_comparison_after_the_rollback_is_all_that_is_owed() -> None:
    again = rolled_back(
        load(4, "incremental"), load(3, "reconcile"), load(1, "full"), undone=(load(2, "full"),)
    )
    assert not again.needs_reconcile


def test_what_was_staged_and_never_current_owes_nothing() -> None:
    staged = replace(rolled_back(load(1, "full"), undone=(load(2, "full"),)), log=((NOON, 1),))
    assert not staged.needs_reconcile


def test_a_newest_snapshot_that_expired_may_have_been_a_full_load() -> None:
    assert rolled_back(load(1, "full"), undone=(), last=2).needs_reconcile


def test_a_snapshot_that_is_gone_from_between_may_have_been_one_too() -> None:
    # Undone: 2, which expired, and 3, which is still there.
    assert rolled_back(load(1, "full"), undone=(load(3, "incremental"),)).needs_reconcile
    # Another tool wrote 3 on top of 1, after 2 was undone and expired.
    assert rolled_back(snapshot_of_another(3), load(1, "full"), undone=()).needs_reconcile


def test_a_run_makes_good_what_was_undone_before_it_though_that_expires_later() -> None:
    assert not rolled_back(load(4, "incremental"), load(1, "full"), undone=()).needs_reconcile


def test_a_backfill_makes_good_no_full_load_for_it_finds_no_row_that_is_gone() -> None:
    assert rolled_back(load(3, "backfill"), load(1, "full"), undone=(load(2, "reconcile"),)).needs_reconcile
    assert not rolled_back(
        load(3, "backfill"), load(1, "full"), undone=(load(2, "backfill"),)
    ).needs_reconcile


def test_the_history_after_a_rollback_keeps_what_was_undone_readable() -> None:
    found = rolled_back(load(2, "full"), load(1, "full"), undone=()).as_of(1)
    assert found is not None
    assert [each.snapshot_id for each in found.snapshots] == [1]
    assert found.is_superseded
    assert found.can_read(2)
    assert found.needs_reconcile


def test_the_log_tells_which_snapshot_was_current_when() -> None:
    found = replace(history(), log=((NOON, 1), (LATER, 2), (LATER + timedelta(hours=1), 1)))
    assert found.current_at(NOON - timedelta(milliseconds=1)) is None
    assert [found.current_at(NOON + timedelta(minutes=30 * n)) for n in range(5)] == [1, 1, 2, 2, 1]
