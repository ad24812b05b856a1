"""Which rows of an Iceberg source a run reads, from its snapshots and what the mirror recorded (R1, R4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.plan.facts import Facts, RunRequest, TableFacts
from iceberg_datamart.core.plan.planner import plan_table
from iceberg_datamart.core.plan.steps import MergeWindow
from iceberg_datamart.core.source.reads import SourceTable
from iceberg_datamart.core.source.snapshots import SourceSnapshots
from iceberg_datamart.core.state.commit import MirrorState
from iceberg_datamart.core.state.history import Snapshot, TableHistory
from iceberg_datamart.core.state.watermark import Horizon
from support.fakes.ports import configured, table

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def source(*operations: str, settings: str = "none") -> SourceSnapshots:
    """Return the snapshots 1, 2, … with these operations, oldest first."""
    return SourceSnapshots(tuple(enumerate(operations, start=1))[::-1], settings)


@pytest.mark.parametrize(
    ("operations", "after"),
    [
        (("append", "append"), 1),
        (("append", "replace", "append"), 1),
        (("overwrite", "append", "append"), 1),
        (("append",), 1),
        (("append", "replace", "replace"), 3),
        (("append", "append", "overwrite", "append"), None),
        (("append", "delete"), None),
        (("append", ""), None),
    ],
)
def test_only_appends_since_the_recorded_snapshot_are_read_alone(
    operations: tuple[str, ...], after: int | None
) -> None:
    assert source(*operations).since("source-snapshot 1 none")[0] == after


@pytest.mark.parametrize(
    ("recorded", "words"),
    [
        (None, "does not say"),
        ("2026-03-01T12:00:00.000000Z 0a0a", "does not say"),
        ("source-snapshot 7 none", "no snapshot 7"),
        ("source-snapshot 1 other", "columns or soft_delete"),
    ],
)
def test_all_rows_are_read_where_the_range_is_not_known(recorded: str | None, words: str) -> None:
    after, reason = source("append", "append").since(recorded)
    assert after is None
    assert words in reason


def test_what_is_recorded_is_where_the_next_range_starts() -> None:
    position = source("append", "append").position
    assert source("append", "append", "append").since(position)[0] == 2


def test_a_table_without_snapshots_has_no_position() -> None:
    assert (source().current, source().position) == (None, None)


COLUMNS = (Column("id", "long", nullable=False), Column("v", "string"))
FOUND = SourceTable("glue:1/db/t/u", COLUMNS, ("id",), key_is_unique=False, is_digested=False)


def mirror(*positions: str) -> TableHistory:
    """Return a mirror whose commits, oldest first, an hour apart, recorded these positions."""
    snapshots = []
    for number, position in enumerate(positions, start=1):
        when = NOON + number * HOUR
        state = MirrorState(f"run-{number}", "full", FOUND.identity, when, when, fingerprint=position)
        snapshots.append(Snapshot(number, number - 1 or None, when, "append", state.summary()))
    columns = {"id": "long", "v": "string", "_run_id": "string", "_merged_at": "timestamptz"}
    return TableHistory(columns, ("id",), tuple(reversed(snapshots)))


def planned(found: SourceTable, said: datetime, request: RunRequest | None = None) -> MergeWindow:
    """Return the step of a table whose mirror recorded snapshot 1, then 2."""
    horizon = Horizon(NOON + 3 * HOUR, NOON + 3 * HOUR)
    held = mirror("source-snapshot 1 none", "source-snapshot 2 none")
    facts = Facts(said, {"t": TableFacts(found, held, horizon)})
    step = plan_table("t", configured(tables={"t": table("t", cursor=None)}), facts, request or RunRequest())
    assert isinstance(step, MergeWindow)
    return step


THREE = replace(FOUND, snapshots=source("append", "append", "append"))


def test_a_snapshot_range_needs_no_cursor_column() -> None:
    step = planned(THREE, NOON + 2 * HOUR)
    assert (step.load_type, step.window.after) == ("incremental", 2)


def test_an_older_timestamp_file_goes_back_to_the_snapshot_recorded_then() -> None:
    step = planned(THREE, NOON + HOUR)
    assert (step.load_type, step.window.after) == ("incremental", 1)
    assert planned(THREE, NOON).load_type == "full"


def test_an_overwritten_source_is_compared_whole() -> None:
    step = planned(replace(FOUND, snapshots=source("append", "append", "overwrite")), NOON + 2 * HOUR)
    assert (step.load_type, step.window.after) == ("full", None)


@pytest.mark.parametrize("asked", ["full", "reconcile"])
def test_a_load_that_is_asked_for_reads_all(asked: str) -> None:
    assert planned(THREE, NOON + 2 * HOUR, RunRequest(load_type=asked)).load_type == "full"
