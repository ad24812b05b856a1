"""What a run does about columns that are others than before: followed, read whole, refused or backfilled."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.instants import CursorKind, microseconds
from iceberg_datamart.core.plan.facts import Facts, RunRequest, TableFacts
from iceberg_datamart.core.plan.planner import plan_run, plan_table
from iceberg_datamart.core.plan.steps import MergeWindow, Plan, Refuse
from iceberg_datamart.core.source.reads import SourceTable
from iceberg_datamart.core.state.commit import MirrorState
from iceberg_datamart.core.state.history import Snapshot, TableHistory
from iceberg_datamart.core.state.watermark import Horizon, Watermark
from support.fakes.ports import configured, table

if TYPE_CHECKING:
    from iceberg_datamart.core.settings.model import Config
    from iceberg_datamart.errors import DatamartError

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
BEFORE = NOON - timedelta(minutes=1)
MARK = Watermark(CursorKind.TIMESTAMPTZ, microseconds(BEFORE))
COLUMNS = (Column("id", "long", nullable=False), Column("v", "string"))
SOURCE = SourceTable("fake:1/prd/7", COLUMNS, ("id",), True, CursorKind.TIMESTAMPTZ)
MIRROR_COLUMNS = {"id": "long", "v": "string", "_run_id": "string", "_merged_at": "timestamptz"}
NUMBERED = replace(SOURCE, column_ids={"id": 1, "v": 2})


def mirror(
    numbers: dict[str, int] | None = None, columns: dict[str, str] | None = None, **changes: Any
) -> TableHistory:
    """Return a mirror of one commit, which recorded `numbers`."""
    state = MirrorState(
        *("run-1", "incremental", SOURCE.identity, BEFORE, BEFORE),
        cursor="at",
        watermark=MARK,
        greatest=MARK,
        column_ids=numbers or {},
    )
    snapshot = Snapshot(1, None, NOON, "append", replace(state, **changes).summary())
    return TableHistory(columns or MIRROR_COLUMNS, ("id",), (snapshot,))


EMPTY = replace(mirror(columns={"id": "int"}), snapshots=())


def config(**settings: Any) -> Config:
    return configured("queue", tables={"queue": table("queue", **settings)})


def facts(history: TableHistory | None, source: SourceTable) -> Facts:
    return Facts(BEFORE, {"queue": TableFacts(source, history, Horizon(NOON, NOON))})


def planned(
    history: TableHistory | None, source: SourceTable = NUMBERED, settings: Any = None, **request: Any
) -> MergeWindow:
    step = plan_table("queue", config(**(settings or {})), facts(history, source), RunRequest(**request))
    assert isinstance(step, MergeWindow), step
    return step


def refused(
    history: TableHistory | None, source: SourceTable = NUMBERED, settings: Any = None, **request: Any
) -> DatamartError:
    step = plan_table("queue", config(**(settings or {})), facts(history, source), RunRequest(**request))
    assert isinstance(step, Refuse), step
    return step.error


def plan(history: TableHistory, load_type: str = "incremental") -> Plan:
    return plan_run(config(), facts(history, SOURCE), RunRequest(load_type))


# --- what is warned of


def test_a_column_that_is_gone_is_warned_of() -> None:
    assert plan(mirror(columns={**MIRROR_COLUMNS, "old": "int"})).warnings == (
        "table 'queue': column 'old' is gone from the source; new rows hold NULL",
    )


def test_r19_a_column_that_the_mirror_lacks_makes_a_full_load_that_is_told() -> None:
    history = mirror(columns={"id": "long"})
    found = plan(history)
    assert found.warnings == ("table 'queue': all rows are compared: column 'v' is new",)
    assert found.table_steps[0].load_type == "full"  # type: ignore[union-attr]
    assert plan(history, "full").warnings == plan(history, "backfill").warnings == ()


# --- columns by their numbers


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ({"id": 1, "v": 2}, None),
        ({}, None),
        ({"id": 1}, None),
        ({"id": 1, "v": 3}, "column 'v' was dropped and recreated"),
        ({"id": 1, "v": 0}, "column 'v' was dropped and recreated"),
        ({"id": 1, "w": 2}, "column 'v' is new under this name: it was 'w'"),
    ],
)
def test_a_column_that_is_another_one_than_recorded_makes_a_full_load(
    numbers: dict[str, int], reason: str | None
) -> None:
    step = planned(mirror(numbers))
    assert step.change.full_load_reason == reason
    assert (step.load_type, step.saved) == (("incremental", MARK) if reason is None else ("full", None))
    assert reason in {None, step.reason}


def test_the_numbers_of_another_source_tell_nothing() -> None:
    step = planned(mirror({"id": 9, "v": 8}, source="fake:2/prd/7"), accept_new_source=True)
    assert step.change.full_load_reason is None


def test_a_reconcile_of_recreated_columns_is_a_full_load() -> None:
    assert planned(mirror({"id": 1, "v": 3}), load_type="reconcile").load_type == "full"


# --- on_schema_change


@pytest.mark.parametrize(
    ("columns", "numbers", "words"),
    [
        ({"id": "long", "_run_id": "string"}, {"id": 1}, "adds 'v' string"),
        ({**MIRROR_COLUMNS, "old": "int"}, {**NUMBERED.column_ids, "old": 3}, "'old' is gone"),
        ({**MIRROR_COLUMNS, "old": "int"}, {}, "'old' is gone"),
        ({**MIRROR_COLUMNS, "id": "int"}, NUMBERED.column_ids, "widens 'id' int to long"),
        (MIRROR_COLUMNS, {"id": 1, "v": 3}, "recreates 'v'"),
    ],
)
def test_on_schema_change_fail_refuses_the_table(
    columns: dict[str, str], numbers: dict[str, int], words: str
) -> None:
    history = mirror(numbers, columns)
    assert words in refused(history, settings={"on_schema_change": "fail"}).message
    assert planned(history, settings={"on_schema_change": "evolve"}).change.sentences(columns)


def test_a_column_that_was_gone_at_the_last_merge_or_is_excluded_is_no_news() -> None:
    columns = {**MIRROR_COLUMNS, "old": "int", "left": "int"}
    settings = {"on_schema_change": "fail", "exclude": ["left"]}
    step = planned(mirror({**NUMBERED.column_ids, "old": 0}, columns), settings=settings)
    assert step.change.absent == ("old",)


@pytest.mark.parametrize("name", ["fail", "ignore"])
@pytest.mark.parametrize("history", [None, EMPTY], ids=["no mirror", "one without rows"])
def test_on_schema_change_means_nothing_to_the_first_load(history: TableHistory | None, name: str) -> None:
    assert planned(history, settings={"on_schema_change": name}).load_type == "full"


def test_on_schema_change_ignore_refuses_a_wider_type_alone() -> None:
    columns = {**MIRROR_COLUMNS, "id": "int", "old": "int"}
    error = refused(mirror(columns=columns), settings={"on_schema_change": "ignore"})
    assert "widens 'id' int to long" in error.message
    assert "old" not in error.message


# --- backfill


def test_a_backfill_reads_everything_and_keeps_its_place() -> None:
    step = planned(mirror(), load_type="backfill")
    assert (step.load_type, step.window.lower, step.saved) == ("backfill", None, MARK)


def test_a_backfill_of_a_table_without_cursor_is_no_full_load_either() -> None:
    step = planned(
        mirror(cursor=None, watermark=None, greatest=None),
        replace(NUMBERED, cursor=None),
        {"cursor": None},
        load_type="backfill",
    )
    assert step.load_type == "backfill"


def test_a_backfill_reads_recreated_columns_as_well() -> None:
    assert planned(mirror({"id": 1, "v": 3}), load_type="backfill").load_type == "backfill"


@pytest.mark.parametrize("history", [None, EMPTY], ids=["no mirror", "one without rows"])
def test_a_backfill_of_an_empty_mirror_is_a_full_load(history: TableHistory | None) -> None:
    assert planned(history, load_type="backfill").load_type == "full"


def test_a_backfill_of_files_is_refused() -> None:
    error = refused(mirror(), replace(NUMBERED, is_digested=False), load_type="backfill")
    assert "read whole when their columns change" in error.message
    assert "--load-type full --table queue" in error.hint
