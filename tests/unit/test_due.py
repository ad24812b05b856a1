"""Reconciling: whose turn it is, what it costs, and that a lost count or a failure overlooks nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from iceberg_datamart.core.instants import microseconds
from iceberg_datamart.core.load_types import FULL, RECONCILE
from iceberg_datamart.errors import LakeError, TimestampFileError
from iceberg_datamart.stores.run_counts import LocalRunCounts
from support.fakes.ports import NOON, FakeSource, FakeWorld, configured, table
from support.fakes.runs import rows

if TYPE_CHECKING:
    from pathlib import Path


def world(every: int = 3) -> FakeWorld:
    config = configured(tables={"queue": table("queue", reconcile=f"every {every} runs")})
    return FakeWorld(config, FakeSource({"queue": rows(1, 2, 3, 4)}))


def load_types(found: FakeWorld, runs: int) -> list[str]:
    """Return the planned load type of each of the next runs."""
    types = []
    for _ in range(runs):
        with found.new_run() as run:
            prepared = run.prepare()
            types += [step.load_type for step in prepared.plan.table_steps]
            run.execute(prepared)
    return types


def test_every_third_run_reconciles() -> None:
    full, *others = load_types(world(), 10)
    assert full == FULL
    assert others == (["incremental"] * 2 + [RECONCILE]) * 3


def test_every_run_may_reconcile() -> None:
    assert load_types(world(every=1), 3) == [FULL, RECONCILE, RECONCILE]


def test_a_lost_count_is_its_tables_turn() -> None:
    found = world()
    found.run()
    found.run_counts.counts.clear()
    assert load_types(found, 2) == [RECONCILE, "incremental"]


def test_a_failed_reconcile_keeps_its_turn() -> None:
    found = world(every=2)
    found.run()
    found.run()
    del found.source.tables["queue"][1]
    found.lake.faults["queue"] = [LakeError("queue: no space left")]
    assert load_types(found, 2) == [RECONCILE, RECONCILE]
    assert 1 not in found.lake.rows["queue"]


def test_reconcile_finds_deletes_and_updates_that_the_cursor_does_not_show() -> None:
    found = world(every=999)
    found.source.tables["queue"][2] = ("old", NOON - timedelta(days=1))
    found.run()
    del found.source.tables["queue"][1]
    found.source.tables["queue"][2] = ("changed", found.source.tables["queue"][2][1])
    assert found.run().tables["queue"].outcome == "unchanged"
    outcome = found.run(load_type=RECONCILE).tables["queue"]
    assert (outcome.rows_read, outcome.updated, outcome.deleted) == (1, 1, 1)
    assert found.lake.rows["queue"] == found.source.tables["queue"]


def test_reconcile_of_equal_tables_reads_and_commits_nothing() -> None:
    found = world()
    found.run()
    before = len(found.effects), len(found.source.reads)
    outcome = found.run(load_type=RECONCILE).tables["queue"]
    assert (outcome.outcome, outcome.rows_read) == ("unchanged", 0)
    assert (len(found.effects), len(found.source.reads)) == before


def test_a_count_that_cannot_be_written_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    found = world()

    def refuse(_: object) -> None:
        raise TimestampFileError("No space left on device")

    found.run_counts.write = refuse  # type: ignore[method-assign]
    assert found.run().exit_code == 0
    assert "No space left" in caplog.text


def test_r7_reconcile_moves_the_watermark_no_further_than_the_horizon() -> None:
    found = world()
    found.run()
    found.source.tables["queue"][9] = ("late", NOON)
    found.source.held_back = timedelta(hours=1)
    found.run(load_type=RECONCILE)
    history = found.lake.history("queue")
    assert history is not None
    watermark = history.mirror_states[0].watermark
    assert watermark is not None
    assert watermark.value == microseconds(NOON - timedelta(hours=1))


def test_the_counts_are_kept_in_a_file_beside_the_timestamp_file(tmp_path: Path) -> None:
    counts = LocalRunCounts(str(tmp_path / "state" / "last.csv"))
    assert counts.read() == {}
    counts.write({"queue": 2})
    assert LocalRunCounts(str(tmp_path / "state" / "last.csv")).read() == {"queue": 2}
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["last.reconcile.json"]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"\xff", b'{"runs_since_reconcile": {"queue": null}}', b"{}"]
)
def test_a_senseless_file_of_counts_counts_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.reconcile.json").write_bytes(content)
    assert LocalRunCounts(str(tmp_path / "last.csv")).read() == {}
