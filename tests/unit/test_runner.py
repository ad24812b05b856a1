"""The order of effects of a run, and when its timestamp file moves (R3, R4, R6, R7, R11)."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from iceberg_datamart.core.state.watermark import LOOKBACK
from iceberg_datamart.errors import (
    AuditError,
    LakeError,
    SourceLockedError,
    SourceUnreachableError,
    TimestampFileConflictError,
    TimestampFileError,
)
from iceberg_datamart.run.runner import new_run_id
from support.fakes.ports import MINUTE, NOON, table
from support.fakes.runs import foreign_commit, outcomes, rows, two_sources, world

if TYPE_CHECKING:
    from iceberg_datamart.ports import Merged, MirrorMerge
    from support.fakes.ports import FakeWorld

# --- the order of effects


def test_tables_come_first_then_marts_and_the_timestamp_file_last() -> None:
    found = world()
    report = found.run()
    assert sorted(found.effects[:2]) == ["commit account", "commit queue"]
    assert found.effects[2:] == ["commit m", "timestamp 12:00:00"]
    assert outcomes(report) == {"account": "merged", "queue": "merged", "m": "merged"}
    assert (report.exit_code, report.timestamp) == (0, "2026-03-01 12:00:00")


def test_the_plan_alone_has_no_effect() -> None:
    found = world()
    with found.new_run() as run:
        run.prepare()
    assert found.effects == []


def test_everything_that_was_opened_is_closed() -> None:
    found = world()
    found.run()
    assert found.lake.closed
    assert all(session.closed for session in found.source.sessions)


def test_the_tables_of_a_run_share_one_consistent_point() -> None:
    found = world()
    run = found.new_run()
    prepared = run.prepare()
    found.source.tables["queue"] = rows(1, 2, 3)
    run.execute(prepared)
    assert found.lake.rows["queue"] == rows(1, 2)
    assert len(found.source.sessions) == 1


def test_r3_a_rerun_over_an_unchanged_source_commits_nothing() -> None:
    found = world()
    found.run()
    found.effects.clear()
    report = found.run()
    assert found.effects == []
    assert set(outcomes(report).values()) == {"unchanged"}


def test_a_quiet_source_still_moves_the_timestamp_file() -> None:
    found = world()
    found.run()
    found.effects.clear()
    found.source.clock += MINUTE
    found.run()
    assert found.effects == ["timestamp 12:01:00"]


def test_a_change_is_merged_by_the_next_run() -> None:
    found = world()
    found.run()
    found.source.clock += MINUTE
    found.source.tables["queue"][2] = ("changed", found.source.clock)
    report = found.run()
    assert outcomes(report) == {"account": "unchanged", "queue": "merged", "m": "merged"}
    assert (report.tables["queue"].inserted, report.tables["queue"].updated) == (0, 1)
    assert found.lake.rows["queue"] == found.source.tables["queue"]


def test_an_empty_source_makes_an_empty_mirror_and_is_said() -> None:
    found = world()
    found.source.tables["queue"] = {}
    report = found.run()
    assert report.tables["queue"].outcome == "skipped"
    assert report.tables["queue"].reason == "the source is empty"
    assert found.lake.history("queue") is not None
    assert report.exit_code == 0


# --- audits that name other tables


def chained(parallel: int) -> FakeWorld:
    """Return three tables, the first of which names the others in its audits; a merge takes a moment."""
    audits = [{"type": "sql", "sql": "select 1 from {account}, {risk}"}]
    tables = {
        "queue": table("queue", audits=audits),
        "account": table("account", audits=[{"type": "foreign_key", "columns": ["id"], "table": "risk"}]),
        "risk": table("risk"),
    }
    found = world(tables=tables, marts={}, run={"parallel_tables": parallel})
    merge = found.lake.merge

    def slow(change: MirrorMerge) -> Merged:
        time.sleep(0.05)
        return merge(change)

    found.lake.merge = slow  # type: ignore[method-assign]
    return found


@pytest.mark.parametrize("parallel", [1, 2, 4])
def test_a_table_is_merged_after_those_that_its_audits_name(parallel: int) -> None:
    found = chained(parallel)
    report = found.run()
    assert found.effects[:3] == ["commit risk", "commit account", "commit queue"]
    assert list(report.tables) == ["queue", "account", "risk"], "the report keeps the order of the settings"


def test_a_table_goes_on_where_one_that_it_waits_for_failed() -> None:
    found = chained(2)
    found.lake.faults["risk"] = [LakeError("risk: no space left")]
    assert outcomes(found.run()) == {"queue": "merged", "account": "merged", "risk": "failed"}
    assert found.effects == ["commit account", "commit queue"]


def test_the_order_holds_when_tables_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found = chained(4)
    found.lake.faults["risk"] = [SourceUnreachableError("lost")]
    with monkeypatch.context() as patch:
        patch.setattr("tenacity.nap.time.sleep", lambda _: None)
        report = found.run()
    assert report.exit_code == 0
    assert "commit risk" in found.effects
    assert found.lake.rows["risk"] == found.source.tables["risk"]


def test_r6_a_failed_audit_is_not_tried_again_and_holds_the_timestamp_file() -> None:
    found = world()
    found.run()
    found.source.clock += MINUTE
    found.source.tables["queue"] = rows(1, 2, 3)
    refused = AuditError("staged snapshot 9 fails", staged_snapshot_id=9)
    found.lake.faults["queue"] = [refused, refused]
    report = found.run()
    assert len(found.lake.faults["queue"]) == 1
    assert report.tables["queue"].as_json()["staged_snapshot_id"] == 9
    assert (found.file.read(), report.exit_code) == (NOON, 1)
    found.lake.faults.clear()
    assert found.run().tables["queue"].inserted == 1


# --- rejected rows


def test_a_row_with_a_null_key_is_rejected_before_the_others_are_committed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = world(tables={"queue": table("queue")}, marts={})
    found.source.tables["queue"][None] = ("v", NOON)  # type: ignore[index]
    report = found.run()
    assert found.effects == ["reject queue", "commit queue", "timestamp 12:00:00"]
    assert (report.tables["queue"].inserted, report.tables["queue"].rejected) == (2, 1)
    said = "table 'queue': 1 rejected, kept in 'queue__rejected'; the first: NULL in key column 'id'"
    assert report.tables["queue"].warnings == (said,)
    assert said in caplog.text
    assert report.exit_code == 0


def test_r3_a_rejected_row_is_rejected_once_and_then_the_table_is_quiet() -> None:
    found = world()
    found.run()
    found.source.tables["queue"][None] = ("v", NOON)  # type: ignore[index]
    found.effects.clear()
    assert found.run().tables["queue"].rejected == 1
    assert found.effects == ["reject queue", "commit queue"], "the window's fingerprint is recorded"
    found.effects.clear()
    report = found.run()
    assert found.effects == []
    assert report.tables["queue"].rejected == 0
    assert set(outcomes(report).values()) == {"unchanged"}


def test_a_rejected_row_that_cannot_be_kept_fails_its_table_alone() -> None:
    found = world(marts={})
    found.run()
    found.effects.clear()
    for rows_of in found.source.tables.values():
        rows_of[3] = ("new", NOON)
    found.source.tables["queue"][None] = ("v", NOON)  # type: ignore[index]
    found.source.clock += MINUTE
    found.lake.faults["queue__rejected"] = [LakeError("queue__rejected: no space left")]
    report = found.run()
    assert outcomes(report) == {"account": "merged", "queue": "failed"}
    assert found.effects == ["commit account"]
    report = found.run()
    assert (report.tables["queue"].inserted, report.tables["queue"].rejected) == (1, 1)


def test_a_source_of_rejected_rows_alone_is_said_to_be_one() -> None:
    found = world(marts={})
    found.source.tables["queue"] = {None: ("v", NOON)}  # type: ignore[dict-item]
    report = found.run()
    assert (report.tables["queue"].outcome, report.tables["queue"].rejected) == ("skipped", 1)
    assert report.tables["queue"].reason == "all rows of the source are rejected"


# --- R6: the timestamp file


def test_r6_a_failed_table_holds_the_timestamp_file() -> None:
    found = world()
    found.run()
    found.source.clock += MINUTE
    found.source.tables["queue"] = rows(1, 2, 3)
    found.lake.faults["queue"] = [LakeError("queue: no space left")]
    report = found.run()
    assert found.file.read() == NOON
    assert report.timestamp == "2026-03-01 12:00:00"
    assert report.exit_code == 1


def test_r6_a_run_of_some_tables_holds_the_timestamp_file() -> None:
    found = world()
    found.run()
    found.source.clock += MINUTE
    found.run(tables=("queue",))
    assert found.file.read() == NOON


def test_r6_a_table_that_is_not_enabled_does_not_hold_it() -> None:
    tables = {"queue": table("queue"), "old": table("old", enabled=False)}
    found = world(tables=tables, marts={})
    found.run()
    assert found.file.read() == NOON


def test_r6_the_file_says_the_horizon_floored_to_the_second() -> None:
    found = world()
    found.source.clock += timedelta(seconds=90, microseconds=999_999)
    found.source.held_back = timedelta(seconds=30)
    assert found.run().timestamp == "2026-03-01 12:01:00"


def test_r6_the_least_horizon_of_all_sources_counts() -> None:
    found, slow = two_sources()
    slow.clock = NOON - 5 * MINUTE
    assert found.run().timestamp == "2026-03-01 11:55:00"


def test_the_timestamp_file_never_goes_back_because_the_horizon_does() -> None:
    found = world()
    found.run()
    found.source.clock += MINUTE
    found.source.held_back = 10 * MINUTE
    report = found.run()
    assert found.file.read() == NOON
    assert report.timestamp == "2026-03-01 12:00:00"


def test_a_timestamp_file_ahead_of_the_sources_clock_is_set_back_with_a_warning() -> None:
    found = world()
    found.file.content = b"last_load_timestamp\n2036-01-01 00:00:00\n"
    assert "ahead of the source's clock" in found.run().warnings[0]
    assert found.file.read() == NOON


def test_a_file_that_changes_during_the_run_is_not_overwritten() -> None:
    found = world()
    run = found.new_run()
    prepared = run.prepare()
    found.file.content = b"last_load_timestamp\n2026-01-01 00:00:00\n"
    report = run.execute(prepared)
    assert isinstance(report.error, TimestampFileConflictError)
    assert report.exit_code == 75
    assert found.file.content == b"last_load_timestamp\n2026-01-01 00:00:00\n"
    assert set(outcomes(report).values()) == {"merged"}


def test_r12_a_file_that_another_run_moved_on_is_moved_further() -> None:
    found = world()
    found.run()
    found.source.clock += 2 * MINUTE
    run = found.new_run()
    prepared = run.prepare()
    found.file.write(NOON + MINUTE, NOON)
    report = run.execute(prepared)
    assert report.exit_code == 0
    assert found.file.read() == NOON + 2 * MINUTE


def test_r4_a_file_that_a_person_set_back_during_the_run_stays_so() -> None:
    found = world()
    found.run()
    found.source.clock += 2 * MINUTE
    run = found.new_run()
    prepared = run.prepare()
    found.file.write(NOON - MINUTE, NOON)
    report = run.execute(prepared)
    assert isinstance(report.error, TimestampFileConflictError)
    assert found.file.read() == NOON - MINUTE


def test_a_malformed_timestamp_file_stops_the_run_before_anything_is_opened() -> None:
    found = world()
    found.file.content = b"yesterday"
    with pytest.raises(TimestampFileError):
        found.new_run().prepare()
    assert found.source.sessions == []


def test_r4_an_operator_rewinds_by_editing_the_file() -> None:
    found = world()
    found.run()
    found.lake.rows["queue"].pop(2)
    found.file.content = b"last_load_timestamp\n2026-01-01 00:00:00\n"
    found.run()
    assert found.lake.rows["queue"] == rows(1, 2)


def test_r7_a_row_that_commits_late_is_read_even_where_the_timestamp_file_is_lost() -> None:
    found = world(state={"timestamp_file": "last.csv", "on_missing": "use_snapshots"})
    found.source.tables["queue"][3] = ("just now", NOON)
    found.source.held_back = 10 * MINUTE
    found.run()
    found.file.content = None
    found.source.held_back = timedelta(0)
    found.source.tables["queue"][4] = ("late", NOON - 5 * MINUTE)
    found.run()
    assert found.lake.rows["queue"] == found.source.tables["queue"]


def test_r11_what_a_foreign_commit_did_is_not_taken_for_granted() -> None:
    found = world()
    found.run()
    found.lake.rows["queue"].pop(2)
    foreign_commit(found, "queue")
    found.run()
    assert found.lake.rows["queue"] == rows(1, 2)


# --- run ids


def test_run_ids_sort_by_time_and_never_repeat() -> None:
    early, late = new_run_id(NOON), new_run_id(NOON + timedelta(microseconds=1))
    assert early.startswith("20260301T120000.000000Z-")
    assert early < late
    assert new_run_id(NOON) != new_run_id(NOON)


def test_r16_a_table_that_stays_locked_fails_alone_and_says_try_again() -> None:
    found = world()
    found.source.locked["queue"] = SourceLockedError("table 'queue' stayed locked")
    report = found.run()
    assert outcomes(report) == {"account": "merged", "queue": "failed", "m": "skipped"}
    assert (report.exit_code, len(found.source.sessions), found.file.content) == (75, 1, None)
    found.source.locked.clear()
    assert outcomes(found.run())["queue"] == "merged"


def test_r15_of_a_table_written_elsewhere_rows_that_arrive_late_are_read() -> None:
    found = world()
    found.source.elsewhere["queue"] = "it is refreshed"
    found.source.tables["queue"] = {1: ("first", NOON - 60 * MINUTE), 3: ("newest", NOON - 40 * MINUTE)}
    report = found.run()
    assert report.tables["queue"].complete_through == NOON - LOOKBACK
    assert report.tables["account"].complete_through == NOON
    assert report.timestamp == "2026-03-01 11:55:00"
    found.source.tables["queue"][2] = ("arrived late", NOON - 44 * MINUTE)
    found.source.clock += MINUTE
    assert found.run().tables["queue"].inserted == 1
