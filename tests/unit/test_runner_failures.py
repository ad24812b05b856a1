"""No failure of a run reaches further than its table, and none loses a row (R2, R9, R12, D3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceberg_datamart.errors import (
    CommitConflictError,
    LakeError,
    SourceError,
    SourceRefusedError,
    SourceUnreachableError,
)
from support.fakes.ports import MINUTE, NOON, mart
from support.fakes.runs import foreign_commit, outcomes, two_sources, world

if TYPE_CHECKING:
    from iceberg_datamart.core.settings.model import PostgresSource
    from support.fakes.ports import FakeSourceSession, FakeWorld

LOST = SourceUnreachableError("source 'prd' cannot be reached")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)


# --- R9: failures stay where they are


def test_r9_a_failing_table_leaves_the_others() -> None:
    found = world()
    found.lake.faults["queue"] = [LakeError("queue: no space left")]
    report = found.run()
    assert outcomes(report) == {"account": "merged", "queue": "failed", "m": "merged"}
    assert found.effects == ["commit account", "commit m"]
    assert report.exit_code == 1


def test_r9_an_unexpected_exception_in_a_merge_is_that_tables_failure() -> None:
    found = world()
    found.lake.faults["queue"] = [RuntimeError("out of cheese")]
    report = found.run()
    assert report.tables["account"].outcome == "merged"
    assert "RuntimeError: out of cheese" in str(report.tables["queue"].error)
    assert report.exit_code == 1


def test_r9_a_table_that_cannot_be_described_leaves_the_others() -> None:
    found = world()
    found.source.faults["queue"] = SourceError("source table queue does not exist")
    assert outcomes(found.run()) == {"account": "merged", "queue": "failed", "m": "skipped"}


def test_r9_an_unexpected_exception_while_facts_are_gathered_is_that_tables_failure() -> None:
    found = world()
    found.source.faults["queue"] = RuntimeError("out of cheese")
    report = found.run()
    assert outcomes(report) == {"account": "merged", "queue": "failed", "m": "skipped"}
    assert "out of cheese" in str(report.tables["queue"].error)


def test_d3_a_failed_table_keeps_its_watermark_and_loses_nothing() -> None:
    found = world()
    found.run()
    for minute in range(1, 4):
        found.source.clock += MINUTE
        for name in ("account", "queue"):
            found.source.tables[name][10 + minute] = (f"minute {minute}", found.source.clock)
        found.lake.faults["queue"] = [LakeError("queue: no space left")] if minute < 3 else []
        found.run()
    assert found.lake.rows["queue"] == found.source.tables["queue"]
    assert found.lake.rows["account"] == found.source.tables["account"]


def test_a_mart_says_which_of_its_tables_failed() -> None:
    found = world()
    found.run()
    found.source.clock += MINUTE
    found.source.tables["account"][3] = ("new", found.source.clock)
    found.source.tables["queue"][3] = ("new", found.source.clock)
    found.lake.faults["queue"] = [LakeError("queue: no space left")]
    assert outcomes(found.run()) == {"account": "merged", "queue": "failed", "m": "merged"}
    assert found.lake.maintained[-1].state.failed_inputs == ("queue",)


def test_a_mart_waits_for_the_tables_it_requires() -> None:
    found = world(marts={"m": mart("account", "queue", require=["queue"])})
    found.run()
    found.source.clock += MINUTE
    found.source.tables["account"][3] = ("new", found.source.clock)
    found.source.tables["queue"][3] = ("new", found.source.clock)
    found.lake.faults["queue"] = [LakeError("queue: no space left")]
    report = found.run()
    assert report.marts["m"].outcome == "skipped"
    assert report.marts["m"].reason == "the required table 'queue' failed"


def test_a_failing_mart_leaves_the_mirrors_and_the_timestamp_file() -> None:
    found = world()
    found.lake.faults["m"] = [LakeError("m: no space left")]
    report = found.run()
    assert outcomes(report) == {"account": "merged", "queue": "merged", "m": "failed"}
    assert found.file.read() == NOON
    assert report.exit_code == 1


@pytest.mark.parametrize("moment", ["unreachable", "lost"])
def test_r17_a_lost_source_is_one_line_of_the_log_for_all_its_tables(
    caplog: pytest.LogCaptureFixture, moment: str
) -> None:
    found = world()
    setattr(found.source, moment, LOST)
    report = found.run()
    assert outcomes(report) == {"account": "failed", "queue": "failed", "m": "skipped"}
    told = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert told == ["'account', 'queue' failed: source 'prd' cannot be reached"]


def test_r17_tables_that_one_error_refuses_are_one_line_and_others_have_their_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = world()
    found.source.unreachable = SourceRefusedError("source 'prd' cannot be reached: no such role")
    found.run()
    told = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert told == ["'account', 'queue' failed: source 'prd' cannot be reached: no such role"]
    caplog.clear()
    found.source.unreachable = None
    found.source.faults |= {name: SourceError(f"no {name}") for name in ("account", "queue")}
    found.run()
    told = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert told == ["'account' failed: no account", "'queue' failed: no queue"]


@pytest.mark.parametrize("moment", ["unreachable", "lost"])
def test_r9_the_tables_of_a_lost_source_fail_and_the_others_go_on(moment: str) -> None:
    found, other = two_sources()
    setattr(other, moment, LOST)
    report = found.run()
    assert outcomes(report) == {"account": "merged", "risk": "failed"}
    assert report.tables["risk"].error is LOST
    assert found.file.read() is None
    assert report.exit_code == 75
    assert len(other.sessions) == {"unreachable": 0, "lost": 3}[moment]


def test_r8_all_tables_of_a_source_that_was_lost_are_read_again_at_one_fresh_point() -> None:
    found = world()
    first = found.source.open

    def open_later(name: str, config: PostgresSource) -> FakeSourceSession:
        if found.source.sessions:
            found.source.clock += MINUTE
            for table in ("account", "queue"):
                found.source.tables[table][9] = ("between the passes", found.source.clock)
        return first(name, config)

    found.source.open = open_later
    found.lake.faults["queue"] = [LOST]
    report = found.run()
    assert outcomes(report) == {"account": "merged", "queue": "merged", "m": "merged"}
    assert (report.tables["account"].inserted, report.tables["queue"].inserted) == (3, 3)
    assert found.lake.rows["account"] == found.source.tables["account"]
    assert found.lake.rows["queue"] == found.source.tables["queue"]
    assert found.effects[-2:] == ["commit m", "timestamp 12:01:00"], "marts follow the last pass"
    assert [session.closed for session in found.source.sessions] == [True, True]


def test_a_source_that_is_lost_in_every_pass_is_given_up_after_three() -> None:
    found = world()
    found.lake.faults["queue"] = [LOST] * 5
    report = found.run()
    assert report.tables["account"].outcome == "merged"
    assert report.tables["queue"].error is LOST
    assert len(found.lake.faults["queue"]) == 2
    assert found.file.read() is None


def test_another_sources_tables_are_not_read_again() -> None:
    found, other = two_sources()
    found.lake.faults["risk"] = [LOST]
    assert outcomes(found.run()) == {"account": "merged", "risk": "merged"}
    assert (len(found.source.sessions), len(other.sessions)) == (1, 2)


# --- R12: other writers


def test_r12_a_table_that_another_writer_changed_is_planned_again_from_its_fresh_history() -> None:
    found = world()
    found.run()
    found.source.clock += MINUTE
    found.source.tables["queue"][3] = ("new", found.source.clock)
    run = found.new_run()
    prepared = run.prepare()
    foreign_commit(found, "queue")
    report = run.execute(prepared)
    assert report.tables["queue"].outcome == "merged"
    assert found.lake.rows["queue"] == found.source.tables["queue"]


@pytest.mark.parametrize(("conflicts", "outcome", "code"), [(3, "merged", 0), (4, "failed", 75)])
def test_r12_a_conflict_is_tried_four_times_and_then_told(conflicts: int, outcome: str, code: int) -> None:
    found = world(marts={})
    error = CommitConflictError("another run committed to queue while this one was merging")
    found.lake.faults["queue"] = [error] * (conflicts + 5)
    del found.lake.faults["queue"][conflicts:]
    report = found.run()
    assert report.tables["queue"].outcome == outcome
    assert report.exit_code == code
    assert found.lake.faults["queue"] == []
    assert (found.file.read() is None) == (outcome == "failed")


def test_other_errors_are_not_tried_again() -> None:
    found = world()
    found.lake.faults["queue"] = [LakeError("queue: no space left"), LakeError("a second time")]
    found.run()
    assert len(found.lake.faults["queue"]) == 1


# --- R2: crashes


class Crash(BaseException):
    """Ends a run on the spot, as a killed process would."""


@pytest.mark.parametrize("at", ["merge", "mart", "file"])
def test_r2_after_a_crash_the_next_run_gives_what_a_run_never_killed_would_have_given(
    at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise Crash

    found, healthy = world(), world()
    for each in (found, healthy):
        each.run()
        each.source.clock += MINUTE
        each.source.tables["queue"][3] = ("new", each.source.clock)
    place = {"merge": (found.lake, "merge"), "mart": (found.lake, "maintain"), "file": (found.file, "write")}
    with monkeypatch.context() as patch:
        patch.setattr(*place[at], crash)
        with pytest.raises(Crash):
            found.run()
    healthy.run()
    found.run()
    assert found.lake.rows == healthy.lake.rows
    assert found.file.read() == healthy.file.read()
    assert len(found.lake.snapshots["queue"]) == len(healthy.lake.snapshots["queue"])
    assert len(found.lake.snapshots["m"]) == len(healthy.lake.snapshots["m"])


# --- any history


@dataclass
class Story:
    """A source that people write to while runs fail; late commits are written with an older time."""

    world: FakeWorld
    pending: list[tuple[str, int, str]] = field(default_factory=list)

    def tick(self) -> None:
        self.world.source.clock += timedelta(seconds=37)

    def write(self, name: str, key: int) -> None:
        """Commit a change, its cursor the present time."""
        clock = self.world.source.clock
        self.world.source.tables[name][key] = (f"written {clock}", clock)

    def begin(self, name: str, key: int) -> None:
        """Open a transaction that takes its time now, and commits later."""
        if not self.pending:
            self._since = self.world.source.clock
        self.pending.append((name, key, f"late since {self._since}"))

    def end(self) -> None:
        """Commit what the open transaction wrote."""
        for name, key, value in self.pending:
            self.world.source.tables[name][key] = (value, self._since)
        self.pending.clear()

    def load(self, fault: str | None) -> None:
        """Run with a fault; the horizon is the start of the open transaction."""
        source, lake = self.world.source, self.world.lake
        source.held_back = source.clock - self._since if self.pending else timedelta(0)
        source.unreachable = LOST if fault == "source" else None
        lake.faults = {fault: [LakeError(f"{fault}: no space left")]} if fault in ("account", "queue") else {}
        if fault == "rewind" and self.world.file.content is not None:
            self.world.file.content = b"last_load_timestamp\n2026-02-28 00:00:00\n"
        if fault == "compaction" and lake.history("queue") is not None:
            lake.commit("queue", {}, {})
        self.world.run()


changes = st.tuples(
    st.sampled_from(["write", "begin"]), st.sampled_from(["account", "queue"]), st.integers(0, 4)
)
loads = st.tuples(
    st.just("load"), st.sampled_from([None, "account", "queue", "source", "rewind", "compaction"])
)
steps = st.one_of(changes, loads, st.just(("end",)), st.just(("tick",)))


@settings(max_examples=100, deadline=None)
@given(st.lists(steps, max_size=25))
def test_after_any_history_and_one_good_run_the_mirrors_equal_their_sources(story: list[Any]) -> None:
    found = Story(world())
    for verb, *words in story:
        getattr(found, verb)(*words)
    found.end()
    found.load(None)
    for name in ("account", "queue"):
        assert found.world.lake.rows[name] == found.world.source.tables[name]
    stamp = found.world.file.read()
    assert stamp is not None
    assert timedelta(0) <= found.world.source.clock - stamp < timedelta(seconds=1)
