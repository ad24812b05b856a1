"""What the in-process engine writes: snapshots that others read, staged, and published once or not at all."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
import requests
from pyiceberg.exceptions import CommitFailedException, ServiceUnavailableError
from sqlalchemy.exc import OperationalError

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.plan.schema import SchemaChange
from iceberg_datamart.core.quality.touched import SUMMARY_FIELDS, Touched
from iceberg_datamart.errors import CatalogUnreachableError, CommitConflictError, LakeError
from iceberg_datamart.lake.in_process.commits import add_snapshot
from support.lakes.local_lake import LocalLake, numbered

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyiceberg.table import Table


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    found = LocalLake(tmp_path)
    found.create()
    return found


def ids(lake: LocalLake) -> list[int]:
    return sorted(row[0] for row in lake.rows_of_all_readers())


def test_a_staged_snapshot_is_seen_by_no_reader_until_it_is_published(lake: LocalLake) -> None:
    staged = lake.stage(numbered(1, 3), mark="x")
    table = lake.tables.load("t")
    assert table.current_snapshot() is None
    assert lake.rows() == []
    assert [row[0] for row in lake.rows(snapshot_id=staged.snapshot_id)] == [1, 2, 3]
    lake.staging().publish(staged)
    assert ids(lake) == [1, 2, 3]
    assert (lake.summary()["wap.id"], lake.summary()["mark"]) == ("run-1", "x")


def test_a_table_whose_snapshots_are_all_staged_says_that_none_is_current(lake: LocalLake) -> None:
    # Iceberg 1.0 reads no metadata that leaves it out, and none whose first snapshot has a null parent.
    lake.stage(numbered(1, 3))
    text = Path(lake.tables.load("t").metadata_location.removeprefix("file://")).read_text("utf-8")
    assert '"current-snapshot-id":-1' in text
    assert "parent-snapshot-id" not in text


def test_rows_are_added_and_deleted_in_one_snapshot(lake: LocalLake) -> None:
    lake.change(numbered(1, 10))
    staged = lake.change(numbered(3, 3, "new"), "id in (3, 5)")
    assert [row for row in lake.rows_of_all_readers() if row[0] in {2, 3, 5}] == [
        *((2, "v2", None), (3, "new3", None)),
    ]
    assert set(staged.summary) == set(SUMMARY_FIELDS)
    assert Touched(inserted=0, updated=1, deleted=1).accounts_for(staged.summary)
    current = lake.tables.load("t").current_snapshot()
    assert current is not None
    assert current.summary is not None
    assert current.summary.operation.value == "overwrite"
    assert lake.summary()["total-records"] == "11"


def test_what_was_deleted_in_several_snapshots_stays_deleted(lake: LocalLake) -> None:
    lake.change(numbered(1, 10))
    for each in range(1, 6):
        lake.change(None, f"id = {each}")
        lake.change(numbered(100 + each, 100 + each))
    assert ids(lake) == [*range(6, 11), *range(101, 106)]
    assert lake.places("id = 1").num_rows == 0
    history = lake.catalog.history("t")
    assert history is not None
    assert history.current is not None
    assert history.current.rows == 10


def test_a_row_may_be_deleted_as_often_as_it_is_there(lake: LocalLake) -> None:
    lake.change(f"{numbered(1, 3)} UNION ALL {numbered(2, 2)}")
    lake.change(numbered(2, 2, "one"), "id = 2")
    assert lake.rows_of_all_readers() == [(1, "v1", None), (2, "one2", None), (3, "v3", None)]


def test_a_place_that_is_named_twice_is_deleted_once(lake: LocalLake) -> None:
    lake.change(numbered(1, 3))
    places = lake.places("id = 2")
    twice = pa.concat_tables([places, places]).to_reader()
    staged = lake.staging().change(lake.tables.load("t"), None, twice, {})
    lake.staging().publish(staged)
    assert staged.summary["added-position-deletes"] == "1"
    assert ids(lake) == [1, 3]


def test_a_stamp_changes_no_row_and_takes_all_files_over(lake: LocalLake) -> None:
    lake.change(numbered(1, 5))
    lake.change(None, "id = 1")
    before = lake.rows()
    staged = lake.staging("run-2").stamp("t", {"mark": "x"})
    lake.staging("run-2").publish(staged)
    assert lake.rows_of_all_readers() == before
    assert (lake.summary()["wap.id"], lake.summary()["mark"]) == ("run-2", "x")
    assert (lake.summary()["total-records"], lake.summary()["total-position-deletes"]) == ("5", "1")
    assert Touched().accounts_for(staged.summary)


def test_nothing_is_staged_of_a_first_commit_without_rows_but_its_summary(lake: LocalLake) -> None:
    lake.change(f"{numbered(1, 3)} LIMIT 0", mark="x")
    assert lake.rows_of_all_readers() == []
    lake.change(numbered(1, 2))
    assert ids(lake) == [1, 2]


def test_of_two_snapshots_staged_on_one_base_the_second_is_refused(lake: LocalLake) -> None:
    lake.change(numbered(1, 5))
    first, second = lake.stage(None, "id = 1"), lake.stage(numbered(9, 9), "id = 2")
    assert first.parent == second.parent
    lake.staging().publish(first)
    before = lake.files()
    with pytest.raises(CommitConflictError):
        lake.staging().publish(second)
    assert ids(lake) == [2, 3, 4, 5]
    # The staged snapshot is in the metadata, so its files stay, as Spark leaves them, until it expires.
    assert lake.files() == before
    assert [row[0] for row in lake.rows(snapshot_id=second.snapshot_id)] == [1, 3, 4, 5, 9]
    lake.change(numbered(10, 10))
    assert ids(lake) == [2, 3, 4, 5, 10]


def test_snapshots_staged_side_by_side_have_numbers_of_their_own(lake: LocalLake) -> None:
    staged = [lake.stage(numbered(each, each)) for each in (1, 2, 3)]
    snapshots = [lake.tables.load("t").snapshot_by_id(each.snapshot_id) for each in staged]
    assert [snapshot.sequence_number for snapshot in snapshots if snapshot is not None] == [1, 2, 3]


def moving(monkeypatch: pytest.MonkeyPatch, *changes: Callable[[], object]) -> None:
    """Let another run make a change before each of the first snapshots that are added."""
    waiting = list(changes)

    def first(*arguments: Any) -> None:
        if waiting:
            waiting.pop(0)()
        add_snapshot(*arguments)

    monkeypatch.setattr("iceberg_datamart.lake.in_process.staging.add_snapshot", first)


def test_a_snapshot_that_another_run_staged_meanwhile_is_passed_over(
    lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = LocalLake(Path(lake.warehouse).parent)
    moving(monkeypatch, lambda: other.stage(numbered(7, 7)), lambda: other.stage(numbered(8, 8)))
    lake.change(numbered(1, 3))
    table = lake.tables.load("t")
    assert [snapshot.sequence_number for snapshot in table.metadata.snapshots] == [1, 2, 3]
    manifests = table.metadata.snapshots[-1].manifests(table.io)
    assert [(each.sequence_number, each.min_sequence_number) for each in manifests] == [(3, 3)]
    assert ids(lake) == [1, 2, 3]
    lake.change(None, "id = 1")
    assert ids(lake) == [2, 3]
    lists = {snapshot.manifest_list for snapshot in lake.tables.load("t").metadata.snapshots}
    assert {path for path in lake.files() if Path(path).name.startswith("snap-")} == lists


def test_a_table_that_moves_while_rows_are_staged_is_left_alone_and_the_files_go(
    lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.change(numbered(1, 3))
    other = LocalLake(Path(lake.warehouse).parent)
    seen: list[set[str]] = []

    def change() -> None:
        other.change(numbered(4, 4))
        seen.append(other.files())

    before = lake.files()
    moving(monkeypatch, change)
    with pytest.raises(CommitConflictError):
        lake.stage(numbered(5, 5), "id = 1")
    assert ids(lake) == [1, 2, 3, 4]
    # Six files were written for it: rows, deletes, two manifests and the list of them; and the other's three.
    assert len(seen[0] - before) == 5 + 3
    assert len(lake.files() - before) == 3


def test_columns_that_change_while_rows_are_staged_refuse_them(
    lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = SchemaChange(added=(Column("late", "int"),))
    moving(monkeypatch, lambda: lake.evolve(added))
    before = lake.files()
    with pytest.raises(CommitConflictError):
        lake.stage(numbered(1, 3))
    assert lake.files() == before


def lost_answers(lake: LocalLake, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let each commit happen, and `error` be the answer."""
    commit = lake.tables.catalog.commit_table

    def lost(*arguments: Any) -> Any:
        commit(*arguments)
        raise error

    monkeypatch.setattr(lake.tables.catalog, "commit_table", lost)


DOWN = OperationalError("update", {}, Exception("server closed the connection unexpectedly"))


def test_after_a_lost_answer_to_staging_no_file_is_removed(lake: LocalLake) -> None:
    lake.change(numbered(1, 3))
    with pytest.MonkeyPatch.context() as patched:
        lost_answers(lake, patched, DOWN)
        with pytest.raises(CatalogUnreachableError):
            lake.stage(numbered(4, 5), "id = 1")
    newest = lake.tables.load("t").metadata.snapshots[-1]
    assert [row[0] for row in lake.rows(snapshot_id=newest.snapshot_id)] == [2, 3, 4, 5]
    assert ids(lake) == [1, 2, 3]


def test_a_conflict_that_is_none_is_found_out_by_asking_the_table(lake: LocalLake) -> None:
    # So Glue answers where its client sent a commit again whose first answer was lost.
    with pytest.MonkeyPatch.context() as patched:
        lost_answers(lake, patched, CommitFailedException("Cannot commit because the version changed"))
        staged = lake.stage(numbered(1, 3))
        with pytest.raises(CommitConflictError):
            lake.staging().publish(staged)
    assert staged.snapshot_id in lake.staging().ancestors("t")
    assert ids(lake) == [1, 2, 3]


@pytest.mark.parametrize(
    "error", [DOWN, ServiceUnavailableError("busy"), requests.ConnectionError("Connection aborted.")]
)
def test_after_a_lost_answer_to_publishing_the_table_tells(lake: LocalLake, error: Exception) -> None:
    staged = lake.stage(numbered(1, 3))
    with pytest.MonkeyPatch.context() as patched:
        lost_answers(lake, patched, error)
        with pytest.raises(CatalogUnreachableError):
            lake.staging().publish(staged)
    assert staged.snapshot_id in lake.staging().ancestors("t")
    assert ids(lake) == [1, 2, 3]


def test_a_snapshot_is_published_only_onto_its_parent(lake: LocalLake) -> None:
    one = lake.change(numbered(1, 3))
    two = lake.change(numbered(4, 4))
    staged = lake.stage(numbered(5, 5))
    lake.catalog.roll_back("t", two.snapshot_id, one.snapshot_id)
    with pytest.raises(CommitConflictError):
        lake.staging().publish(staged)
    assert ids(lake) == [1, 2, 3]


def test_r12_a_table_that_moves_between_loading_and_publishing_is_left_as_it_is(
    lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.change(numbered(1, 3))
    staged, staging = lake.stage(numbered(4, 4)), lake.staging()
    load = lake.tables.load

    def loaded_too_early(name: str) -> Table:
        found = load(name)
        monkeypatch.setattr(lake.tables, "load", load)
        lake.change(numbered(5, 5))
        return found

    monkeypatch.setattr(lake.tables, "load", loaded_too_early)
    with pytest.raises(CommitConflictError):
        staging.publish(staged)
    assert ids(lake) == [1, 2, 3, 5]


def test_a_staged_snapshot_that_was_expired_cannot_be_published(lake: LocalLake) -> None:
    lake.change(numbered(1, 3))
    staged = lake.stage(numbered(4, 4))
    lake.tables.load("t").maintenance.expire_snapshots().by_id(staged.snapshot_id).commit()
    with pytest.raises(CommitConflictError, match="gone"):
        lake.staging().publish(staged)


def test_a_table_that_was_rolled_back_goes_on_from_there(lake: LocalLake) -> None:
    one = lake.change(numbered(1, 5))
    two = lake.change(numbered(6, 6), "id = 1")
    lake.catalog.roll_back("t", two.snapshot_id, one.snapshot_id)
    assert ids(lake) == [1, 2, 3, 4, 5]
    three = lake.change(numbered(7, 7), "id = 2")
    assert three.parent == one.snapshot_id
    assert ids(lake) == [1, 3, 4, 5, 7]
    assert lake.summary()["total-records"] == "6"
    numbers = [snapshot.sequence_number for snapshot in lake.tables.load("t").metadata.snapshots]
    assert numbers == [1, 2, 3]


def test_a_clock_that_is_far_behind_writes_nothing_that_java_could_not_read(
    lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.change(numbered(1, 3))
    staged, before = lake.stage(numbered(4, 4)), lake.files()
    now = time.time_ns()
    monkeypatch.setattr("time.time_ns", lambda: now - 61_000_000_000)
    for write in (lambda: lake.stage(numbered(5, 5)), lambda: lake.staging().publish(staged)):
        with pytest.raises(LakeError, match="in the future"):
            write()
    assert lake.files() == before


def test_an_empty_table_of_places_deletes_nothing(lake: LocalLake) -> None:
    lake.change(numbered(1, 3))
    staged = lake.change(numbered(4, 4), "false")
    assert staged.summary["added-position-deletes"] is None
    assert ids(lake) == [1, 2, 3, 4]


def test_places_of_another_snapshot_are_refused_and_the_files_go(lake: LocalLake) -> None:
    lake.change(numbered(1, 3))
    before = lake.files()
    stranger = pa.table({"file_path": ["/no/such/file.parquet"], "pos": [0]}).to_reader()
    with pytest.raises(CommitConflictError):
        lake.staging().change(lake.tables.load("t"), lake.reader(numbered(4, 5)), stranger, {})
    for place in (3, -1):
        beyond = lake.places("id = 1").set_column(1, "pos", pa.array([place])).to_reader()
        with pytest.raises(LakeError, match=r"^t: .* has 3 rows"):
            lake.staging().change(lake.tables.load("t"), lake.reader(numbered(4, 5)), beyond, {})
    assert lake.files() == before


def test_rows_that_do_not_fit_are_refused_and_the_files_go(lake: LocalLake) -> None:
    before = lake.files()
    for select, says in (
        ("SELECT 1::BIGINT AS id, 'x' AS v", "columns"),
        ("SELECT 1::BIGINT AS id, 'x' AS v, 1 AS n, 1 AS more", "columns"),
        ("SELECT 1::BIGINT AS id, 1 AS v, 1 AS n", "'v'"),
        ("SELECT i AS id, 'x' AS v, 3000000000 * (i // 250000) AS n FROM range(500000) r(i)", "'n'"),
        ("SELECT nullif(i, 300000) AS id, 'x' AS v, 1 AS n FROM range(400000) r(i)", "'id' cannot be NULL"),
        ("SELECT i AS id, error('lost') AS v, 1 AS n FROM range(10) r(i)", "lost"),
    ):
        with pytest.raises(Exception, match=says):
            lake.stage(select)
        assert lake.files() == before, select
    assert lake.tables.load("t").metadata.snapshots == []
