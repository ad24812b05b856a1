"""The files that the in-process engine writes: of sizes that readers like, merged where they are many."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pyiceberg.io.pyarrow
import pyiceberg.table.update
import pytest
from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.manifest import ManifestContent, ManifestEntryStatus, ManifestWriterV2

from iceberg_datamart.core.columns import Column
from iceberg_datamart.errors import NeedsSparkError
from iceberg_datamart.lake.in_process.failures import translating
from support.lakes.local_lake import LocalLake, numbered


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    found = LocalLake(tmp_path)
    found.create()
    return found


def manifests_of(lake: LocalLake) -> dict[ManifestContent, list[Any]]:
    table = lake.tables.load("t")
    current = table.current_snapshot()
    assert current is not None
    found: dict[ManifestContent, list[Any]] = {ManifestContent.DATA: [], ManifestContent.DELETES: []}
    for manifest in current.manifests(table.io):
        found[manifest.content].append(manifest)
    return found


def test_many_small_manifests_are_merged_and_every_entry_keeps_its_numbers(tmp_path: Path) -> None:
    lake = LocalLake(tmp_path)
    lake.create(columns=COLUMNS_OF_MANY)
    lake.catalog.set_properties("t", {"commit.manifest.min-count-to-merge": "5"})
    expected = {0: "v0"}
    lake.change(numbered(0, 0))
    entries: dict[str, tuple[int | None, int | None]] = {}
    for each in range(1, 13):
        lake.change(numbered(each, each), f"id = {each - 1}" if each % 2 else None, mark=str(each))
        expected[each] = f"v{each}"
        if each % 2:
            del expected[each - 1]
        for path, numbers in numbers_of(lake).items():
            assert entries.setdefault(path, numbers) == numbers
        assert all(len(found) <= 5 for found in manifests_of(lake).values())
    assert {row[0]: row[1] for row in lake.rows_of_all_readers()} == expected
    assert lake.summary()["mark"] == "12"
    assert (lake.summary()["total-records"], lake.summary()["total-position-deletes"]) == ("13", "6")
    assert (lake.summary()["total-data-files"], lake.summary()["total-delete-files"]) == ("13", "6")


COLUMNS_OF_MANY = (Column("id", "long"), Column("v", "string"), Column("n", "int"))


def numbers_of(lake: LocalLake) -> dict[str, tuple[int | None, int | None]]:
    """Return each live file's sequence number and snapshot, which only its first commit may say is new."""
    table, found = lake.tables.load("t"), {}
    for manifest in (each for several in manifests_of(lake).values() for each in several):
        for entry in manifest.fetch_manifest_entry(table.io):
            assert (entry.status == ManifestEntryStatus.ADDED) <= (
                entry.snapshot_id == manifest.added_snapshot_id
            )
            found[entry.data_file.file_path] = (entry.sequence_number, entry.snapshot_id)
    return found


def test_old_metadata_files_go_as_the_table_says(lake: LocalLake) -> None:
    lake.catalog.set_properties("t", {"write.metadata.previous-versions-max": "3"})
    for each in range(6):
        lake.change(numbered(each, each))
    folder = Path(lake.tables.load("t").metadata_location.removeprefix("file://")).parent
    assert len(list(folder.glob("*.metadata.json"))) == 4
    assert len(lake.rows_of_all_readers()) == 6


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iceberg_datamart.lake.in_process.data_files.ROW_GROUP_ROWS", 1000)


@pytest.mark.usefixtures("small_groups")
def test_rows_go_into_files_of_the_target_size_and_none_is_lost(lake: LocalLake) -> None:
    lake.catalog.set_properties("t", {"write.target-file-size-bytes": "30000"})
    lake.change("SELECT i AS id, md5(i::VARCHAR) AS v, 1 AS n FROM range(5555) r(i)")
    files = lake.tables.files(lake.tables.load("t"), lake.tables.load("t").current_snapshot()).data
    assert len(files) > 2
    assert sum(file.rows for file in files) == 5555
    assert lake.fetch(f"SELECT count(DISTINCT id), sum(id) FROM {lake.tables.relation('t')}") == [
        (5555, 5555 * 5554 // 2)
    ]
    lake.change(None, "id % 7 = 0")
    assert len(lake.rows_of_all_readers()) == 5555 - 794


def test_what_is_used_of_pyiceberg_beside_its_documented_interface_is_there() -> None:
    """PyIceberg may change these without notice; a new version is let in when all tests pass with it."""
    for owner, name in (
        (MetastoreCatalog, "_delete_old_metadata"),
        (MetastoreCatalog, "_update_and_stage_table"),
        (ManifestWriterV2, "_meta"),
        (pyiceberg.table.update, "_apply_table_update"),
        (pyiceberg.table.update, "ValidatableTableRequirement"),
        (pyiceberg.io.pyarrow, "compute_statistics_plan"),
        (pyiceberg.io.pyarrow, "parquet_path_to_id_mapping"),
        (pyiceberg.io.pyarrow.PyArrowFileIO, "parse_location"),
    ):
        assert hasattr(owner, name), name
    assert version("pyiceberg").startswith("0.12.")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("write.target-file-size-bytes", "512MB"),
        ("commit.manifest.min-count-to-merge", "x"),
        ("write.metadata.metrics.default", "nonsense"),
    ],
)
def test_a_property_that_is_not_understood_is_left_to_spark(tmp_path: Path, name: str, value: str) -> None:
    lake = LocalLake(tmp_path)
    lake.create()
    lake.catalog.set_properties("t", {name: value})
    with pytest.raises(NeedsSparkError, match="t: it cannot be done in process"), translating("t"):
        lake.change(numbered(1, 5))
    assert lake.tables.load("t").metadata.snapshots == []


@pytest.mark.parametrize("codec", ["zstd", "gzip", "snappy", "uncompressed"])
def test_files_are_compressed_as_the_table_says(tmp_path: Path, codec: str) -> None:
    lake = LocalLake(tmp_path)
    lake.create()
    level = {"write.parquet.compression-level": "3"}
    lake.catalog.set_properties("t", {"write.parquet.compression-codec": codec, **level})
    lake.change(numbered(1, 5))
    (path,) = tmp_path.rglob("*.parquet")
    assert pq.read_metadata(path).row_group(0).column(0).compression == codec.upper()
    assert [row[0] for row in lake.rows_of_all_readers()] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("codec", ["brotli", "lz4"])
def test_a_codec_that_not_every_reader_has_is_left_to_spark(tmp_path: Path, codec: str) -> None:
    lake = LocalLake(tmp_path)
    lake.create()
    lake.catalog.set_properties("t", {"write.parquet.compression-codec": codec})
    with pytest.raises(NeedsSparkError, match=codec):
        lake.change(numbered(1, 5))
