"""What counts as a run that read later: commits of other runs, and nothing that only carries a state on."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

from iceberg_datamart.core.plan.overtaking import _states_since
from iceberg_datamart.core.state.commit import UPKEEP, MirrorState
from iceberg_datamart.core.state.history import Snapshot, TableHistory

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def test_r12_no_run_gives_way_to_a_compaction_that_carries_a_state_on() -> None:
    state = MirrorState("run-1", "incremental", "postgres:1/a/2", NOON, NOON)
    first = Snapshot(1, None, NOON, "append", state.summary())
    planned = TableHistory({"id": "long"}, ("id",), (first,))
    carried = Snapshot(2, 1, NOON, "replace", {**state.summary(), UPKEEP: "rewrite"})
    now = replace(planned, snapshots=(carried, first))
    assert _states_since(now, planned, "run-2") == []
    other = replace(state, run_id="run-3")
    later = replace(now, snapshots=(Snapshot(3, 2, NOON, "append", other.summary()), *now.snapshots))
    assert _states_since(later, planned, "run-2") == [other]
