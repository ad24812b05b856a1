"""A source whose rows are read otherwise than before (R19), or that went back (R20), is compared whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iceberg_datamart.core.plan.steps import MergeWindow
from iceberg_datamart.core.settings.model import TableConfig
from iceberg_datamart.core.source.reads import SourceTable, StoredPart
from iceberg_datamart.core.source.recipe import whole_recipe, with_hidden
from iceberg_datamart.core.state.history import Snapshot
from iceberg_datamart.errors import CommitConflictError
from support.fakes.ports import MINUTE, NOON, table
from support.fakes.runs import world

if TYPE_CHECKING:
    from iceberg_datamart.core.report.run import RunReport
    from support.fakes.ports import FakeWorld

UNTOLD = "the mirror's history does not say any more up to where it is complete"


def one_table(**changes: Any) -> FakeWorld:
    """Return a world of the table `queue`, loaded once, a minute ago."""
    found = world(tables={"queue": table("queue", **changes)}, marts={})
    found.run()
    found.source.clock += MINUTE
    return found


def rewrite(found: FakeWorld) -> None:
    """Change every value, and no cursor."""
    rows = found.source.tables["queue"]
    found.source.tables["queue"] = {key: (f"{value} rewritten", at) for key, (value, at) in rows.items()}


def equal(found: FakeWorld) -> bool:
    return found.lake.rows["queue"] == found.source.tables["queue"]


def told(report: RunReport) -> str:
    """Return why all rows of the one table were compared."""
    text = report.warnings[-1]
    return text.removeprefix("table 'queue': all rows are compared: ")


def configure(found: FakeWorld, **changes: Any) -> None:
    tables = {"queue": table("queue", **changes)}
    found.config = world(tables=tables, marts={}).config


# --- R19


@pytest.mark.parametrize("load_type", ["incremental", "backfill", "reconcile", "full"])
def test_r19_rows_that_are_read_otherwise_are_compared_whole(load_type: str) -> None:
    found = one_table()
    found.source.recipe = {"column 'v'": "bigint"}
    rewrite(found)
    report = found.run(load_type=load_type)
    assert equal(found)
    if load_type == "incremental":
        assert told(report) == "column 'v' was string and is bigint now"
    found.effects.clear()
    found.source.clock += MINUTE
    assert found.run().warnings == ()
    assert found.effects == ["timestamp 12:02:00"], "it is recorded, and compared once"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"soft_delete": "v = 'gone'"}, "soft_delete is v = 'gone' now"),
        ({"columns": {"v": {"type": "string"}}}, "columns.v.type is string now"),
        (
            {"checks": [{"type": "not_null", "columns": ["v"], "on_fail": "reject"}]},
            "checks is those that reject rows now",
        ),
    ],
)
def test_r19_a_setting_that_changes_what_a_mirror_holds_compares_it(
    changes: dict[str, Any], reason: str
) -> None:
    found = one_table()
    configure(found, **changes)
    rewrite(found)
    assert told(found.run()) == reason
    assert equal(found)


def test_r19_rows_that_change_though_nobody_writes_are_compared_in_each_run() -> None:
    found = one_table()
    found.source.unsteady = "the view public.queue asks now()"
    for _ in range(2):
        rewrite(found)
        (step,) = found.new_run().prepare().plan.table_steps
        assert isinstance(step, MergeWindow)
        assert (step.load_type in {"full", "reconcile"}, step.reason) == (True, found.source.unsteady)
        found.run()
        assert equal(found)
        found.source.clock += MINUTE


def test_r19_a_check_is_recorded_as_it_is_set_so_that_a_later_setting_of_checks_changes_nothing() -> None:
    check = {"type": "not_null", "columns": ["v"], "on_fail": "reject"}
    table = TableConfig.model_validate({"source": "prd", "from": "queue", "checks": [check]})
    said = '{"type":"not_null","on_fail":"reject","columns":["v"]}'
    recorded = whole_recipe(SourceTable("id", (), ("id",), True), table)["checks"]
    assert recorded == with_hidden("those that reject rows", said)


def test_r19_a_column_that_is_left_out_and_taken_in_again_holds_what_the_source_has() -> None:
    found = one_table()
    configure(found, exclude=["v"])
    found.source.tables["queue"][3] = ("while it was out", found.source.clock)
    found.run()
    rewrite(found)
    configure(found)
    found.source.clock += MINUTE
    assert told(found.run()) == "column 'v' is new"
    assert equal(found)


def test_r19_what_an_earlier_version_committed_is_compared_once() -> None:
    found = one_table()
    (newest,) = found.lake.snapshots["queue"]
    old = {key: value for key, value in newest.summary.items() if not key.endswith(("recipe", "transaction"))}
    found.lake.snapshots["queue"] = (replace(newest, summary=old),)
    rewrite(found)
    assert told(found.run()).startswith("an earlier version of this program did not record")
    assert equal(found)
    assert found.run().warnings == ()


def test_r19_a_change_is_noticed_where_its_text_is_lost() -> None:
    found = one_table()
    found.lake.properties.clear()
    found.source.recipe = {"column 'v'": "bigint"}
    rewrite(found)
    assert told(found.run()) == "how the source's rows are read has changed"
    assert equal(found)


# --- R20


def test_r20_a_clock_that_went_back_loses_no_row() -> None:
    found = one_table()
    found.source.clock -= 30 * MINUTE
    found.source.tables["queue"][3] = ("after the setback", found.source.clock)
    found.source.clock += MINUTE
    assert told(found.run()).startswith("the source's clock went back: it says 2026-03-01 11:32")
    assert equal(found)
    found.source.clock += 60 * MINUTE
    found.source.tables["queue"][4] = ("later", found.source.clock)
    found.run()
    assert equal(found)


def test_r20_a_server_with_fewer_transactions_is_compared() -> None:
    found = one_table()
    found.source.points = 20
    found.source.tables["queue"][3] = ("new", found.source.clock)
    found.run()
    found.source.points = 3
    rewrite(found)
    assert told(found.run()).startswith("the server's transactions went back, from 21 to 4")
    assert equal(found)


def test_r20_a_truncated_table_is_compared() -> None:
    found = world(tables={"queue": table("queue", max_delete_fraction=1.0)}, marts={})
    found.source.parts = {"queue": (StoredPart(7, 7, "public.queue"),)}
    found.run()
    found.source.parts = {"queue": (StoredPart(7, 8, "public.queue"),)}
    found.source.tables["queue"] = {9: ("old", NOON - 9 * MINUTE)}
    assert told(found.run()) == "'public.queue' was truncated, restarted or rewritten"
    assert equal(found)


def test_r20_a_window_without_the_row_at_its_lower_end_compares_all() -> None:
    found = one_table()
    rows = found.source.tables["queue"]
    found.source.tables["queue"] = {key: (value, NOON - 9 * MINUTE) for key, (value, _) in rows.items()}
    report = found.run()
    assert "there is no row: the cursor went back, or rows were deleted" in report.tables["queue"].warnings[0]
    assert equal(found)
    found.effects.clear()
    assert found.run().tables["queue"].warnings == ()
    assert found.effects == []


def test_r20_where_the_history_is_gone_no_timestamp_file_vouches_for_a_table() -> None:
    found = one_table()
    found.source.tables["queue"][3] = ("while it was disabled", NOON + timedelta(seconds=1))
    found.lake.snapshots["queue"] = (Snapshot(99, 98, NOON, "replace"),)
    found.file.content = b"last_load_timestamp\n2026-03-01 12:00:30\n"
    assert told(found.run()) == UNTOLD
    assert equal(found)


@pytest.mark.parametrize("file_is_kept", [True, False], ids=["told by the file", "told by the commit"])
def test_r20_a_run_that_was_overtaken_is_no_more_complete_than_what_was_merged(*, file_is_kept: bool) -> None:
    found = one_table()
    found.source.tables["queue"][4] = ("read by both", found.source.clock)
    late, before = found.new_run(), found.file.content
    prepared = late.prepare()
    found.source.tables["queue"][3] = ("new", found.source.clock)
    found.source.clock += MINUTE
    newer = found.run().tables["queue"]
    if not file_is_kept:
        found.file.content = before
    outcome = late.execute(prepared).tables["queue"]
    assert (outcome.outcome, outcome.reason) == (
        "unchanged",
        "another run merged a later state of the source",
    )
    # The file alone does not say of which table it speaks: then what was recorded before the plan counts.
    assert outcome.complete_through == (NOON if file_is_kept else newer.complete_through)
    assert equal(found)


def test_r5_a_run_that_was_to_load_everything_does_not_give_way_to_one_that_read_less() -> None:
    found = one_table()
    before = found.file.content
    found.source.tables["queue"][4] = ("read by both", found.source.clock)
    del found.source.tables["queue"][1]
    found.file.content = None
    late = found.new_run()
    prepared = late.prepare()
    # As one that read the file before it was taken away.
    found.file.content = before
    found.run()
    found.file.content = None
    outcome = late.execute(prepared).tables["queue"]
    assert (outcome.outcome, type(outcome.error)) == ("failed", CommitConflictError)
    found.source.clock += MINUTE
    found.run()
    assert equal(found)


def test_r4_a_run_of_an_earlier_timestamp_file_does_not_give_way_to_one_that_read_less() -> None:
    found = one_table()
    before = found.file.content
    found.source.tables["queue"][4] = ("read by both", found.source.clock)
    found.source.tables["queue"][5] = ("loaded late", NOON - 2 * MINUTE)
    found.file.content = b"last_load_timestamp\n2026-03-01 11:50:00\n"
    late = found.new_run()
    prepared = late.prepare()
    found.file.content = before
    found.run()
    assert not equal(found)
    assert isinstance(late.execute(prepared).tables["queue"].error, CommitConflictError)


def test_r12_a_full_load_gives_way_to_a_later_one() -> None:
    found = one_table()
    found.source.tables["queue"][4] = ("read by both", found.source.clock)
    found.file.content = None
    late = found.new_run()
    prepared = late.prepare()
    found.run()
    assert late.execute(prepared).tables["queue"].outcome == "unchanged"
    assert equal(found)


def test_r12_a_rerun_of_a_snapshot_does_not_give_way() -> None:
    found = one_table()
    (first,) = found.lake.snapshots["queue"]
    late = found.new_run(snapshot_id=first.snapshot_id)
    prepared = late.prepare()
    found.source.tables["queue"][4] = ("new", found.source.clock)
    found.run()
    assert isinstance(late.execute(prepared).tables["queue"].error, CommitConflictError)


def test_r20_clocks_do_not_tell_which_of_two_runs_read_later() -> None:
    found = one_table()
    found.source.tables["queue"][4] = ("read by both", found.source.clock)
    early = found.new_run()
    prepared = early.prepare()
    found.source.clock -= 30 * MINUTE
    found.source.tables["queue"][3] = ("written by a clock that went back", found.source.clock)
    found.run()
    assert equal(found)
    assert early.execute(prepared).tables["queue"].reason == "another run merged a later state of the source"
    assert equal(found)


# --- any story


class Story:
    """A table that people write to, whose clock steps, whose settings, files and history change."""

    def __init__(self) -> None:
        self.world = world(tables={"queue": table("queue", max_delete_fraction=1.0)}, marts={})
        self.oids = 7
        self.world.source.points = 1000
        self.truncate()

    def write(self, key: int) -> None:
        source = self.world.source
        source.tables["queue"][key] = (f"at {source.clock}", source.clock)

    def tick(self, minutes: int) -> None:
        self.world.source.clock += minutes * MINUTE

    def set_back(self, minutes: int) -> None:
        """Step the clock back; a run sees it before it has passed what it said (see reliability.md)."""
        self.world.source.clock -= minutes * MINUTE
        self.write(minutes % 4)
        self.run()

    def rewrite(self) -> None:
        rewrite(self.world)
        self.world.source.recipe = {"column 'v'": f"type {self.world.source.clock} {self.oids}"}
        self.oids += 1

    def truncate(self) -> None:
        self.oids += 1
        self.world.source.parts = {"queue": (StoredPart(7, self.oids, "public.queue"),)}
        self.world.source.tables["queue"] = {0: ("first", self.world.source.clock - 90 * MINUTE)}

    def restore(self) -> None:
        """Bring a backup back: older rows, and fewer transactions than at the last run."""
        source = self.world.source
        source.points -= 10
        rows = source.tables["queue"]
        source.tables["queue"] = {key: (v, source.clock - 80 * MINUTE) for key, (v, _) in rows.items()}

    def expire(self) -> None:
        if self.world.lake.snapshots.get("queue"):
            self.world.lake.snapshots["queue"] = (Snapshot(10_000 + self.oids, 1, NOON, "replace"),)

    def edit(self, minutes: int) -> None:
        instant = self.world.source.clock + (minutes - 60) * MINUTE
        self.world.file.content = f"last_load_timestamp\n{instant:%Y-%m-%d %H:%M:%S}\n".encode()

    def run(self) -> None:
        report = self.world.run()
        assert report.exit_code == 0
        assert equal(self.world)
        reached = report.tables["queue"].complete_through
        assert reached is not None
        assert reached <= self.world.source.clock


minutes = st.integers(1, 120)
steps = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 3)),
    st.tuples(st.sampled_from(["tick", "set_back", "edit"]), minutes),
    st.tuples(st.sampled_from(["rewrite", "truncate", "restore", "expire", "run", "run"])),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=20))
def test_r20_after_any_story_of_a_source_that_goes_back_no_row_is_lost(story: list[Any]) -> None:
    found = Story()
    for verb, *words in story:
        getattr(found, verb)(*words)
    found.run()


def test_the_plan_says_why_all_rows_are_compared() -> None:
    found = one_table()
    found.source.recipe = {"location": "s3://elsewhere"}
    run = found.new_run()
    (step, *_) = run.prepare().plan.steps
    assert isinstance(step, MergeWindow)
    assert (step.load_type, step.reason) == ("full", "location is s3://elsewhere now")
