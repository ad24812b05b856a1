"""Up to when a report says that each table is complete, also for a table that failed."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from iceberg_datamart.core.plan.windows import known_complete
from iceberg_datamart.core.state.commit import MirrorState
from iceberg_datamart.core.state.history import Snapshot, TableHistory
from iceberg_datamart.errors import LakeError, SourceError, SourceUnreachableError
from support.fakes.ports import MINUTE, NOON
from support.fakes.runs import world

BROKEN = LakeError("no space left")
EARLIER = NOON - 5 * MINUTE


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)


def mirror(*complete_through: datetime) -> TableHistory:
    """Return the history of a mirror with a commit of a run for each instant, newest first."""
    states = [MirrorState("run-1", "incremental", "fake:1", each, each) for each in complete_through]
    commits = [Snapshot(-number, None, NOON, "append", s.summary()) for number, s in enumerate(states)]
    return TableHistory({}, (), tuple(commits))


def test_a_table_is_complete_through_the_sources_horizon_whether_it_changed_or_not() -> None:
    found = world()
    found.source.held_back = timedelta(seconds=7)
    for _ in range(2):
        report = found.run()
        assert {o.complete_through for o in report.tables.values()} == {found.source.clock - 7 * MINUTE / 60}
        assert {o.complete_through for o in report.marts.values()} == {None}
        found.source.clock += MINUTE


def test_a_failed_table_stays_where_the_last_run_had_brought_it() -> None:
    found = world()
    found.run()
    found.source.clock += MINUTE
    found.source.tables["queue"][9] = ("new", found.source.clock)
    found.lake.faults["queue"] = [BROKEN]
    tables = found.run().tables
    assert (tables["queue"].outcome, tables["queue"].complete_through) == ("failed", NOON)
    assert tables["account"].complete_through == NOON + MINUTE


@pytest.mark.parametrize("error", [SourceError("no such table"), RuntimeError("out of cheese")])
def test_so_does_a_table_whose_source_cannot_be_described(error: Exception) -> None:
    found = world()
    found.run()
    found.source.faults["queue"] = error
    assert found.run().tables["queue"].complete_through == NOON


def test_so_does_each_table_of_a_source_that_is_away() -> None:
    found = world()
    found.run()
    found.source.unreachable = SourceUnreachableError("source 'prd' cannot be reached")
    report = found.run()
    assert report.exit_code == 75
    assert {o.complete_through for o in report.tables.values()} == {NOON}


def test_of_a_table_that_was_never_loaded_nothing_is_known() -> None:
    found = world()
    found.source.faults["queue"] = SourceError("no such table")
    assert found.run().tables["queue"].complete_through is None


def test_a_history_that_cannot_be_read_fails_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    found = world()
    found.run()
    found.source.faults["queue"] = SourceError("no such table")
    plain = found.lake.history

    def history(table: str) -> TableHistory | None:
        if table == "queue":
            raise BROKEN
        return plain(table)

    monkeypatch.setattr(found.lake, "history", history)
    report = found.run()
    assert report.tables["queue"].complete_through is None
    assert report.tables["account"].outcome == "unchanged"


def test_r20_no_timestamp_file_vouches_for_a_table_that_it_may_not_have_covered() -> None:
    assert known_complete(mirror(EARLIER, EARLIER - MINUTE)) == EARLIER


def test_nothing_is_known_of_a_mirror_that_no_run_has_filled() -> None:
    assert known_complete(None) is None
    assert known_complete(TableHistory({}, (), ())) is None
