"""What `maintain` does to one table: files written anew, snapshots expired, orphans removed."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyiceberg.catalog.rest import RestCatalog

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.plan.schema import SchemaChange
from iceberg_datamart.core.upkeep.layout import Rewrite
from iceberg_datamart.errors import CommitConflictError
from iceberg_datamart.lake import upkeep as upkeep_module
from iceberg_datamart.lake.in_process.file_systems import canonical
from iceberg_datamart.lake.in_process.live_files import live_manifests
from iceberg_datamart.lake.upkeep import LakeUpkeep
from support.lakes.local_lake import LocalLake, numbered
from support.servers.s3_server import BUCKET

if TYPE_CHECKING:
    from collections.abc import Collection

    from support.servers.s3_server import S3Server

LATER = datetime.now(timezone.utc) + timedelta(days=1)


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    found = LocalLake(tmp_path)
    found.create()
    return found


def upkeep(lake: LocalLake) -> LakeUpkeep:
    return LakeUpkeep(lake.config, "maintain-1").using("in_process")


def current(lake: LocalLake) -> int:
    found = lake.tables.load("t").metadata.current_snapshot_id
    assert found is not None
    return found


def rewrite(
    lake: LocalLake, data: Collection[str] = (), deletes: Collection[str] = (), **summary: str
) -> None:
    base = current(lake)
    schema_id = lake.tables.load("t").metadata.current_schema_id
    asked = Rewrite("t", base, frozenset(data), frozenset(deletes), ("id",), schema_id)
    upkeep(lake).rewrite(asked, summary)


def totals(lake: LocalLake) -> dict[str, int]:
    said = lake.summary()
    return {name: int(text) for name, text in said.items() if name.startswith("total-")}


def test_small_files_and_their_deletes_become_one_file_in_the_order_of_the_key(lake: LocalLake) -> None:
    for first in (7, 4, 1):
        lake.change(numbered(first, first + 2))
    lake.change(numbered(4, 4, "new"), "id IN (4, 9)")
    before, old = lake.rows_of_all_readers(), current(lake)
    layout = upkeep(lake).layout("t", old)
    assert (len(layout.data), len(layout.deletes)) == (4, 2)
    rewrite(lake, [file.path for file in layout.data], layout.deletes, own="said")
    assert lake.rows_of_all_readers() == before
    assert lake.rows_of_pyiceberg(snapshot_id=old) == before
    assert [row[0] for row in lake.fetch(f"FROM {lake.tables.relation('t')}")] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert totals(lake) == {
        "total-data-files": 1,
        "total-delete-files": 0,
        "total-records": 8,
        "total-position-deletes": 0,
        "total-equality-deletes": 0,
        "total-files-size": upkeep(lake).layout("t", current(lake)).data[0].size,
    }
    said = lake.tables.load("t").current_snapshot()
    assert said is not None
    assert said.summary is not None
    assert said.summary.operation.value == "replace"
    assert (said.parent_snapshot_id, said.summary["own"]) == (old, "said")
    lake.change(numbered(5, 5, "newer"), "id = 5")
    assert len(lake.rows_of_all_readers()) == 8


def test_what_many_delete_files_say_of_a_file_that_stays_is_written_into_one(lake: LocalLake) -> None:
    lake.change(numbered(1, 100))
    lake.change(numbered(201, 210))
    for number in (3, 99, 51):
        lake.change(None, f"id IN ({number}, {number + 150})")
    before = lake.rows_of_all_readers()
    assert len(before) == 110 - 4
    layout = upkeep(lake).layout("t", current(lake))
    stays = max(layout.data, key=lambda file: file.rows)
    goes = {file.path for file in layout.data} - {stays.path}
    assert (stays.delete_files, stays.deleted) == (3, 3)
    rewrite(lake, goes, layout.deletes)
    assert lake.rows_of_all_readers() == before
    left = upkeep(lake).layout("t", current(lake))
    assert stays.path in {file.path for file in left.data}
    assert list(left.deletes.values()) == [{stays.path}]
    assert totals(lake)["total-position-deletes"] == 3


def test_columns_of_different_times_come_together_and_values_stay_what_they_are(lake: LocalLake) -> None:
    lake.change("SELECT 1::BIGINT AS id, 'gone' AS v, 11 AS n")
    change = SchemaChange(
        added=(Column("late", "string"), Column("d", "double")),
        widened=(Column("n", "long"),),
        dropped=("v",),
    )
    lake.evolve(change)
    lake.change("SELECT 2::BIGINT AS id, 2::BIGINT << 40 AS n, 'x' AS late, -0.0::DOUBLE AS d")
    lake.change("SELECT 3::BIGINT AS id, NULL::BIGINT AS n, '' AS late, 'NaN'::DOUBLE AS d")
    before = list(map(repr, lake.rows()))
    rewrite(lake, [file.path for file in upkeep(lake).layout("t", current(lake)).data])
    assert list(map(repr, lake.rows())) == before
    assert list(map(repr, lake.rows_of_pyiceberg())) == before


def test_manifests_are_merged_without_a_file_being_written_anew(lake: LocalLake) -> None:
    for number in range(5):
        lake.change(numbered(number, number), f"id = {number - 1}")
    files = upkeep(lake).layout("t", current(lake))
    before = lake.rows_of_all_readers()
    rewrite(lake)
    left = upkeep(lake).layout("t", current(lake))
    assert (left.data, left.deletes) == (files.data, files.deletes)
    assert (files.manifests, left.manifests) == (9, 2)
    assert lake.rows_of_all_readers() == before
    table = lake.tables.load("t")
    snapshot = table.current_snapshot()
    assert snapshot is not None
    assert all(not each.has_added_files() for each in live_manifests(table.io, snapshot))


def test_a_rewrite_of_what_is_not_current_any_more_is_a_conflict_and_leaves_no_file(lake: LocalLake) -> None:
    lake.change(numbered(1, 3))
    stale = Rewrite("t", current(lake))
    lake.change(numbered(4, 4))
    before = lake.files()
    with pytest.raises(CommitConflictError):
        upkeep(lake).rewrite(stale, {})
    assert lake.files() == before


def expire(lake: LocalLake, *snapshot_ids: int) -> int:
    return upkeep(lake).expire("t", current(lake), snapshot_ids)


def test_expiry_takes_the_files_of_expired_snapshots_alone_and_children_remember_their_parents(
    lake: LocalLake,
) -> None:
    ids = [lake.change(numbered(number, number)).snapshot_id for number in range(4)]
    rewrite(lake, [file.path for file in upkeep(lake).layout("t", current(lake)).data])
    before, rows = lake.files(), lake.rows_of_all_readers()
    third = lake.rows_of_pyiceberg(snapshot_id=ids[2])
    removed = expire(lake, *ids[:2])
    assert len(before - lake.files()) == removed == 2, "their manifest lists alone"
    assert lake.rows_of_pyiceberg(snapshot_id=ids[2]) == third
    metadata = lake.tables.load("t").metadata
    assert metadata.snapshots[0].parent_snapshot_id == ids[1]
    assert [entry.snapshot_id for entry in metadata.snapshot_log] == [*ids[2:], current(lake)]
    assert expire(lake, *ids[2:]) == 2 + 4 + 4, "two lists, and data files with their manifests"
    assert lake.rows_of_all_readers() == rows
    assert len(lake.files()) == 4, "a data file, its manifest, that of the files that went, and the list"


def test_a_tag_that_comes_meanwhile_stops_an_expiry_and_nothing_goes(
    lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = lake.change(numbered(1, 1)).snapshot_id
    lake.change(numbered(2, 2))
    own = upkeep_module.forget_snapshots

    def tagged(*arguments: Any) -> None:
        lake.tables.load("t").manage_snapshots().create_tag(first, "mine").commit()
        own(*arguments)

    monkeypatch.setattr(upkeep_module, "forget_snapshots", tagged)
    before = lake.files()
    with pytest.raises(CommitConflictError):
        expire(lake, first)
    assert lake.files() == before
    assert [row[0] for row in lake.rows_of_pyiceberg(snapshot_id=first)] == [1]
    assert first in upkeep(lake).layout("t", current(lake)).named


def test_a_rest_catalogs_server_is_asked_by_the_formats_own_update(
    lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = lake.change(numbered(1, 1)).snapshot_id
    lake.change(numbered(2, 2))
    monkeypatch.setattr("iceberg_datamart.lake.in_process.commits.MetastoreCatalog", RestCatalog)
    assert expire(lake, first) == 1
    assert len(lake.rows_of_all_readers()) == 2


def test_orphans_are_old_files_of_the_tables_own_folders_that_nothing_names(lake: LocalLake) -> None:
    lake.change(numbered(1, 3))
    lake.change(numbered(4, 4), "id = 1")
    folder = Path(lake.tables.load("t").location().removeprefix("file://"))
    orphans = ("data/left.parquet", "data/a b/left.parquet", "metadata/left.avro", "metadata/.left.avro.crc")
    others = ("mine.txt", "elsewhere/left.parquet", "data/_hidden", "metadata/version-hint.text")
    for name in (*orphans, *others):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    assert upkeep(lake).orphans("t", datetime.now(timezone.utc) - timedelta(hours=1)) == ()
    found = upkeep(lake).orphans("t", LATER)
    assert {str(Path(name).relative_to(folder)) for name in found} == set(orphans)
    assert upkeep(lake).remove_orphans("t", found) == len(orphans)
    assert all((folder / name).exists() for name in others)
    assert len(lake.rows_of_all_readers()) == 3


def test_on_s3_snapshots_expire_and_orphans_go(tmp_path: Path, s3: S3Server) -> None:
    warehouse = f"s3://{BUCKET}/{uuid.uuid4()}/a b's"
    lake = LocalLake(tmp_path, warehouse, s3.properties)
    lake.create()
    ids = [lake.change(numbered(number, number)).snapshot_id for number in range(3)]
    rewrite(lake, [file.path for file in upkeep(lake).layout("t", current(lake)).data])
    assert expire(lake, *ids) == 3 + 3 + 3
    location = lake.tables.load("t").location().removeprefix(f"s3://{BUCKET}/")
    for name in ("data/left.parquet", "elsewhere/left.parquet"):
        s3.client().put_object(Bucket=BUCKET, Key=f"{location}/{name}", Body=b"x")
    found = upkeep(lake).orphans("t", LATER)
    assert found == (f"s3://{BUCKET}/{location}/data/left.parquet",)
    assert upkeep(lake).remove_orphans("t", found) == 1
    assert upkeep(lake).orphans("t", LATER) == ()
    assert [row[0] for row in lake.rows()] == [0, 1, 2]


def test_names_with_two_slashes_are_one_file_and_a_snapshot_without_its_list_stops_no_expiry(
    lake: LocalLake,
) -> None:
    assert canonical("s3a://b/t/data//x") == canonical("s3://b/t/data/x") == "s3://b/t/data/x"
    assert canonical("file:///a//b") == canonical("file:/a/b") == canonical("/a/b") == "/a/b"
    assert canonical("gs://a//b") == "gs://a//b"
    lake.change(numbered(1, 1))
    staged = lake.stage(numbered(2, 2)).snapshot_id
    snapshot = lake.tables.load("t").snapshot_by_id(staged)
    assert snapshot is not None
    Path(snapshot.manifest_list.removeprefix("file://")).unlink()
    lake.change(numbered(3, 3))
    assert expire(lake, staged) == 0
    assert len(lake.rows_of_all_readers()) == 2
