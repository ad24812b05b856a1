"""R11: a state that is kept in a property counts only where it is an ancestor's."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.state.commit import MartState, MirrorState
from iceberg_datamart.core.state.history import Snapshot, TableHistory
from iceberg_datamart.core.state.origin import origin_of, origin_properties

NOON = datetime(2026, 3, 1, 12, 0, 0, 123000, tzinfo=timezone.utc)


def run(snapshot_id: int, parent: int | None, load_type: str = "incremental") -> Snapshot:
    read = NOON + timedelta(minutes=snapshot_id)
    state = MirrorState(f"run-{snapshot_id}", load_type, "postgres:1/a/2", read, read)
    return Snapshot(snapshot_id, parent, NOON, "append", state.summary(), snapshot_id, 3)


def foreign(snapshot_id: int, parent: int | None, operation: str = "replace") -> Snapshot:
    return Snapshot(snapshot_id, parent, NOON, operation, {}, snapshot_id, 3)


def kept(*published: Snapshot, gone: tuple[int, ...] = ()) -> dict[str, str]:
    """Return a table's properties after these were published, `gone` having expired before the last was."""
    found: dict[str, str] = {}
    for snapshot in published:
        found |= origin_properties(snapshot, found, lambda snapshot_id: snapshot_id not in gone)
    return found


def history(properties: dict[str, str], *snapshots: Snapshot, last: int = 9) -> TableHistory:
    """Return what a table's metadata say; `snapshots` come newest first."""
    origin = origin_of(properties, snapshots)
    return TableHistory(
        {"id": "long"}, ("id",), snapshots, last_sequence_number=last, origin=origin, schema_id=3
    )


def test_r11_the_state_survives_another_tools_compaction_and_expiry() -> None:
    found = history(kept(run(7, 6)), foreign(8, 7), last=8)
    assert found.origin == run(7, 6)
    assert found.mirror_state is not None
    assert found.mirror_state.run_id == "run-7"
    assert not found.needs_reconcile
    assert not found.is_altered


@pytest.mark.parametrize(
    "left",
    [
        pytest.param((foreign(8, 6),), id="compacted after a rollback to 6"),
        pytest.param((foreign(9, 8),), id="compacted twice, or written to by another tool in between"),
        pytest.param((foreign(8, None),), id="its parent is forgotten"),
        pytest.param((), id="nothing is left"),
    ],
)
def test_r11_a_state_that_is_not_provably_an_ancestors_does_not_count(left: tuple[Snapshot, ...]) -> None:
    found = history(kept(run(6, 5), run(7, 6)), *left)
    assert found.origin is None
    assert found.mirror_state is None


def test_r11_a_snapshot_that_is_there_tells_of_itself() -> None:
    found = history(kept(run(7, 6)), foreign(8, 7), run(7, 6), run(6, None))
    assert found.origin is None
    assert [state.run_id for state in found.mirror_states] == ["run-7", "run-6"]


def test_r11_what_a_rollback_may_have_undone_is_not_forgotten_with_the_snapshots() -> None:
    assert history(kept(run(6, 5)), foreign(8, 6), last=8).needs_reconcile, "7 may have been a full load"


def test_r8_what_a_mart_consumed_is_followed_over_another_tools_compaction_and_the_next_run() -> None:
    properties = kept(run(7, 6), run(9, 8), gone=(7,))
    found = history(properties, run(9, 8), foreign(8, 7))
    assert found.since_known(7) == ((run(9, 8), foreign(8, 7)), run(7, 6), 8)
    assert found.since_known(6) is None
    changed = history(properties, run(9, 8), foreign(8, 7, "overwrite"))
    assert changed.since_known(7) is None
    assert found.since_known(8) == ((run(9, 8),), foreign(8, 7), 8)


def test_a_snapshot_without_a_state_is_not_kept_and_a_marts_is() -> None:
    assert kept(foreign(8, 7)) == {}
    mart = replace(run(7, 6), summary=MartState("run-7", "d", {"a": 1}).summary())
    found = history(kept(mart), foreign(8, 7))
    assert found.mart_state == MartState("run-7", "d", {"a": 1})


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"snapshot-id": 7}', "7"])
def test_a_property_that_another_tool_wrote_over_is_none(text: str) -> None:
    assert origin_of({"iceberg-datamart.newest-state": text}, (foreign(8, 7),)) is None


@given(st.lists(st.sampled_from(["run", "compact", "write", "back", "expire"]), max_size=14))
def test_r11_whatever_is_done_to_a_table_the_state_is_never_newer_than_its_rows(steps: list[str]) -> None:
    line, properties, number = [run(1, None)], kept(run(1, None)), 1
    truth = [1]
    known = {1}
    for step in steps:
        number += 1
        if step == "run":
            line.insert(0, run(number, line[0].snapshot_id))
            properties |= origin_properties(line[0], properties, known.__contains__)
            truth.insert(0, number)
        elif step in {"compact", "write"}:
            operation = "replace" if step == "compact" else "append"
            line.insert(0, foreign(number, line[0].snapshot_id, operation))
            truth.insert(0, truth[0])
        elif step == "back" and len(line) > 1:
            line, truth = line[1:], truth[1:]
        elif step == "expire":
            line, truth = line[:1], truth[:1]
        known = {snapshot.snapshot_id for snapshot in line} | (known if step != "expire" else set())
        found = history(properties, *line, last=number)
        states = found.mirror_states
        assert not states or states[0].run_id == f"run-{truth[0]}"
