"""What the in-process engine reads: each snapshot's live rows, in the columns that are asked for."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from pyiceberg.manifest import DATA_FILE_TYPE, DataFileContent, FileFormat, ManifestFile
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType, NestedField, StructType

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.plan.schema import SchemaChange
from iceberg_datamart.errors import LakeError, NeedsSparkError
from iceberg_datamart.lake.in_process.commits import add_snapshot, set_current
from iceberg_datamart.lake.in_process.data_files import FileNames, ParquetFile
from iceberg_datamart.lake.in_process.delete_files import _ARROW, _SCHEMA
from iceberg_datamart.lake.in_process.live_files import FILE_PATH_ID
from iceberg_datamart.lake.in_process.manifests import Manifests
from iceberg_datamart.lake.in_process.written import Written
from support.lakes.local_lake import LocalLake, numbered

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pyiceberg.manifest import DataFile

CONTENT_PLACE, FORMAT_PLACE = (
    [field.name for field in DATA_FILE_TYPE[2].fields].index(name) for name in ("content", "file_format")
)


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    found = LocalLake(tmp_path)
    found.create()
    return found


def told(lake: LocalLake, relation: str) -> list[tuple[str, str]]:
    """Return the names and types of a relation's columns."""
    return [(row[0], row[1]) for row in lake.fetch(f"DESCRIBE FROM {relation}")]


def test_a_table_that_is_not_there_has_no_relation_and_an_empty_one_has_no_rows(lake: LocalLake) -> None:
    assert lake.tables.present("none") is None
    present = lake.tables.present("t")
    assert present is not None
    assert told(lake, present) == [("id", "BIGINT"), ("v", "VARCHAR"), ("n", "INTEGER")]
    assert lake.rows() == []
    assert (
        lake.fetch(f"SELECT _datamart_file, _datamart_pos FROM {lake.tables.placed(lake.tables.load('t'))}")
        == []
    )


def test_each_snapshot_is_read_as_it_was_and_the_current_one_by_default(lake: LocalLake) -> None:
    one = lake.change(numbered(1, 3))
    two = lake.change(numbered(4, 4), "id = 1")
    assert [row[0] for row in lake.rows(snapshot_id=one.snapshot_id)] == [1, 2, 3]
    assert [row[0] for row in lake.rows(snapshot_id=two.snapshot_id)] == [2, 3, 4]
    assert lake.rows() == lake.rows(snapshot_id=two.snapshot_id)
    with pytest.raises(LakeError, match="no snapshot 12"):
        lake.rows(snapshot_id=12)


def test_columns_are_told_by_their_ids_and_those_that_came_later_are_null(lake: LocalLake) -> None:
    one = lake.change("SELECT 1::BIGINT AS id, 'one' AS v, 11 AS n")
    lake.evolve(
        SchemaChange(added=(Column("late", "string"),), widened=(Column("n", "long"),), dropped=("v",))
    )
    with lake.tables.load("t").update_schema() as update:
        update.rename_column("n", "number")
    two = lake.change("SELECT 2::BIGINT AS id, 22::BIGINT AS number, 'two' AS late")
    # Another column of the dropped one's name, and of the renamed one's, is another column.
    lake.evolve(SchemaChange(added=(Column("v", "int"), Column("n", "string"))))
    lake.change("SELECT 3::BIGINT AS id, 33::BIGINT AS number, 'three' AS late, 3 AS v, 'n' AS n", "id = 2")
    columns = [
        ("id", "BIGINT"),
        ("number", "BIGINT"),
        ("late", "VARCHAR"),
        ("v", "INTEGER"),
        ("n", "VARCHAR"),
    ]
    for snapshot_id, rows in (
        (one.snapshot_id, [(1, 11, None, None, None)]),
        (two.snapshot_id, [(1, 11, None, None, None), (2, 22, "two", None, None)]),
        (None, [(1, 11, None, None, None), (3, 33, "three", 3, "n")]),
    ):
        assert told(lake, lake.tables.relation("t", snapshot_id)) == columns
        assert lake.rows(snapshot_id=snapshot_id) == rows
        places = [("_datamart_file", "VARCHAR"), ("_datamart_pos", "BIGINT")]
        assert told(lake, lake.tables.placed(lake.tables.load("t"), snapshot_id)) == [*columns, *places]
    assert lake.rows_of_all_readers() == [(1, 11, None, None, None), (3, 33, "three", 3, "n")]


def test_a_snapshot_as_it_was_has_the_columns_of_its_time_and_later_ones_as_null(lake: LocalLake) -> None:
    one = lake.change("SELECT 1::BIGINT AS id, 'one' AS v, 11 AS n")
    lake.evolve(
        SchemaChange(
            added=(Column("late", "decimal(5, 2)"),), widened=(Column("n", "long"),), dropped=("v",)
        ),
    )
    relation = lake.tables.as_it_was("t", one.snapshot_id)
    assert told(lake, relation) == [
        *(("id", "BIGINT"), ("v", "VARCHAR"), ("n", "INTEGER"), ("late", "DECIMAL(5,2)")),
    ]
    assert lake.fetch(f"FROM {relation}") == [(1, "one", 11, None)]


def test_a_column_that_no_file_has_yet_is_null_in_every_row(lake: LocalLake) -> None:
    lake.change(numbered(1, 3))
    lake.evolve(SchemaChange(added=(Column("late", "list<int>"),)))
    assert lake.fetch(f"SELECT DISTINCT late FROM {lake.tables.relation('t')}") == [(None,)]
    assert lake.fetch(f"SELECT count(*) FROM {lake.tables.relation('t')} WHERE late IS NULL") == [(3,)]


def test_names_that_duckdb_has_uses_for_are_only_names(tmp_path: Path) -> None:
    lake = LocalLake(tmp_path)
    names = ("filename", "file_index", "path", "gone_path", "gone_pos", 'a "quoted" one', "it's", "c1")
    lake.create(columns=[Column(name, "int") for name in names], key=())
    values = ", ".join(f'{each} AS "{name.replace(chr(34), 2 * chr(34))}"' for each, name in enumerate(names))
    lake.change(f"SELECT {values} UNION ALL SELECT {', '.join('-' + str(each) for each in range(8))}")
    lake.change(None, "c1 = -7")
    assert lake.rows_of_all_readers() == [tuple(range(8))]


@pytest.mark.parametrize("name", ["a b's 100% ware", "per%20cent%", "[a]*?x", "ünïcödé ☃", "k=v", "a#b"])
def test_folders_may_have_any_name(tmp_path: Path, name: str) -> None:
    lake = LocalLake(tmp_path / "catalog", str(tmp_path / name / "warehouse"))
    lake.create()
    lake.change(numbered(1, 5))
    lake.change(numbered(6, 6), "id in (2, 3)")
    assert [row[0] for row in lake.rows()] == [1, 4, 5, 6]
    assert lake.rows() == lake.rows_of_pyiceberg()


@pytest.mark.parametrize(("name", "also"), [("lake[1]", "lake1"), ("w*", "ware"), ("w?", "w1")])
def test_a_folders_name_is_no_pattern(tmp_path: Path, name: str, also: str) -> None:
    lake = LocalLake(tmp_path / "catalog", str(tmp_path / name))
    lake.create()
    lake.change(numbered(1, 5))
    lake.change(numbered(6, 6), "id in (2, 3)")
    shutil.copytree(tmp_path / name, tmp_path / also)
    assert [row[0] for row in lake.rows()] == [1, 4, 5, 6]
    assert lake.places("id = 1")["file_path"].to_pylist()[0].startswith(str(tmp_path / name))


@pytest.mark.parametrize("scheme", ["file://", "file:"])
def test_a_warehouse_may_be_an_address_of_the_local_disk(tmp_path: Path, scheme: str) -> None:
    lake = LocalLake(tmp_path / "catalog", f"{scheme}{tmp_path}/ware house")
    lake.create()
    lake.change(numbered(1, 5))
    lake.change(numbered(6, 6), "id in (2, 3)")
    assert [row[0] for row in lake.rows()] == [1, 4, 5, 6]
    assert lake.rows() == lake.rows_of_pyiceberg()
    assert lake.places("id = 1")["file_path"][0].as_py().startswith(scheme)


def test_a_warehouse_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lake = LocalLake(tmp_path, "ware/house")
    lake.create()
    lake.change(numbered(1, 5))
    lake.change(numbered(6, 6), "id in (2, 3)")
    assert [row[0] for row in lake.rows()] == [1, 4, 5, 6]
    assert lake.rows() == lake.rows_of_pyiceberg()


def test_a_place_leads_to_its_row_also_where_filters_pass_groups_of_rows_over(
    lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iceberg_datamart.lake.in_process.data_files.ROW_GROUP_ROWS", 500)
    lake.change("SELECT i AS id, 'v' || i AS v, (i % 10)::INTEGER AS n FROM range(3000) r(i)")
    placed = lake.tables.placed(lake.tables.load("t"))
    assert lake.fetch(f"SELECT count(*) FROM {placed} WHERE id <> _datamart_pos") == [(0,)]
    assert lake.fetch(f"SELECT id, _datamart_pos FROM {placed} WHERE id IN (2345, 777) ORDER BY id") == [
        *((777, 777), (2345, 2345)),
    ]
    lake.change(None, "id BETWEEN 1990 AND 2010 OR id = 5")
    placed = lake.tables.placed(lake.tables.load("t"))
    assert lake.fetch(f"SELECT id, _datamart_pos FROM {placed} WHERE id > 1980 ORDER BY id LIMIT 10")[-1] == (
        *(2011, 2011),
    )
    assert lake.fetch(f"SELECT count(*), sum(id) FROM {lake.tables.relation('t')}") == [
        (3000 - 22, sum(range(3000)) - 5 - sum(range(1990, 2011)))
    ]
    keys = "(SELECT unnest([2345, 777, 2000]) AS key)"
    found = lake.fetch(f"SELECT id, _datamart_pos FROM {placed} SEMI JOIN {keys} ON id = key ORDER BY id")
    assert found == [(777, 777), (2345, 2345)]


def crafted(
    lake: LocalLake, data: Sequence[DataFile], deletes: Sequence[DataFile], without: Sequence[DataFile] = ()
) -> None:
    """Publish a snapshot of these new files, and of what there is, without the manifests of some files."""
    table = lake.tables.load("t")
    parent = table.current_snapshot()
    assert parent is not None
    snapshot_id = table.metadata.new_snapshot_id()
    manifests = Manifests(table, snapshot_id, Written(table.io))
    kept = [
        each
        for each in parent.manifests(table.io)
        if not any(entry.data_file in without for entry in each.fetch_manifest_entry(table.io))
    ]
    number = table.metadata.next_sequence_number()
    found = [*manifests.write(None, data, deletes), *kept]
    fields: dict[str, Any] = {
        "snapshot-id": snapshot_id,
        "parent-snapshot-id": parent.snapshot_id,
        "manifest-list": manifests.write_list(parent, found, number),
        "sequence-number": number,
        "schema-id": table.metadata.current_schema_id,
    }
    add_snapshot(lake.tables.catalog, table, Snapshot(**fields, summary=Summary(Operation.OVERWRITE)))
    set_current(lake.tables.catalog, lake.tables.load("t"), snapshot_id, parent.snapshot_id)


def data_files(lake: LocalLake) -> list[DataFile]:
    table = lake.tables.load("t")
    current = table.current_snapshot()
    assert current is not None
    return [
        entry.data_file
        for manifest in current.manifests(table.io)
        for entry in manifest.fetch_manifest_entry(table.io)
        if entry.data_file.content == DataFileContent.DATA
    ]


def deletes_of(lake: LocalLake, places: Sequence[tuple[str, int]]) -> DataFile:
    """Return one delete file for rows of several data files, as Spark writes them for a whole partition."""
    table = lake.tables.load("t")
    file = ParquetFile(table, FileNames(table, "-deletes").next(), _ARROW, Written(table.io))
    paths, positions = zip(*sorted(places), strict=True)
    file.add(pa.Table.from_arrays([pa.array(paths), pa.array(positions, pa.int64())], schema=_ARROW))
    bounds = {
        "lower_bounds": {FILE_PATH_ID: paths[0].encode()},
        "upper_bounds": {FILE_PATH_ID: paths[-1].encode()},
    }
    return file.closed(_SCHEMA, DataFileContent.POSITION_DELETES, **bounds)


def test_one_delete_file_may_name_rows_of_many_data_files(lake: LocalLake) -> None:
    for each in range(5):
        lake.change(numbered(10 * each, 10 * each + 4))
    files = sorted(file.file_path for file in data_files(lake))
    crafted(lake, [], [deletes_of(lake, [(files[0], 0), (files[3], 4), (files[3], 1)])])
    crafted(lake, [], [deletes_of(lake, [(files[0], 0), (files[4], 2)])])
    found = lake.rows_of_all_readers()
    assert len(found) == 25 - 4
    lake.change(numbered(99, 99), "id % 10 = 2")
    assert len(lake.rows_of_all_readers()) == len([row for row in found if row[0] % 10 != 2]) + 1


def test_a_delete_holds_only_for_files_that_are_not_newer(lake: LocalLake) -> None:
    lake.change(numbered(1, 3))
    lake.change(numbered(11, 13))
    one, two = sorted(data_files(lake), key=lambda file: file.file_path)
    places = [(one.file_path, 0), (two.file_path, 0)]
    crafted(lake, [], [deletes_of(lake, places)])
    assert len(lake.rows_of_all_readers()) == 4
    # One of the files is added again, and is newer now than what was deleted of it; the other is not.
    crafted(lake, [two], [], without=[two])
    # PyIceberg (0.12) finds 4: it applies a delete file to every path that is named in it. Spark finds 5.
    assert len(lake.rows()) == 5
    crafted(lake, [], [deletes_of(lake, [(two.file_path, 1)])])
    assert len(lake.rows()) == 4
    crafted(lake, [one, two], [], without=[one, two])
    assert len(lake.rows()) == 6


def test_each_manifest_is_read_once(lake: LocalLake, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    fetch = ManifestFile.fetch_manifest_entry

    def counted(manifest: ManifestFile, *arguments: Any, **named: Any) -> Any:
        read.append(manifest.manifest_path)
        return fetch(manifest, *arguments, **named)

    monkeypatch.setattr(ManifestFile, "fetch_manifest_entry", counted)
    for each in range(4):
        lake.change(numbered(each, each), f"id = {each - 1}" if each else None)
        lake.rows()
        lake.rows()
    assert len(read) == len(set(read)) == 7


def test_duckdb_is_told_how_many_rows_a_table_has(lake: LocalLake) -> None:
    """It would take both for empty, and hash the larger one."""
    lake.create("few")
    lake.change(numbered(1, 3000))
    lake.change(None, "id <= 1000")
    lake.change(numbered(1, 10), name="few")
    for name, least, most in (("t", 100, 3000), ("few", 10, 10)):
        query = f"EXPLAIN (FORMAT json) FROM {lake.tables.relation(name)}"
        [plan] = json.loads(lake.fetch(query)[0][1])
        assert least <= int(plan["extra_info"]["Estimated Cardinality"]) <= most
    assert lake.fetch(f"SELECT count(*) FROM {lake.tables.relation('t')}") == [(2000,)]


def test_bounds_of_each_file_are_kept(lake: LocalLake) -> None:
    lake.change(numbered(3, 9))
    table = lake.tables.load("t")
    (file,) = lake.tables.files(table, table.current_snapshot()).data
    assert (file.lower_bounds[1], file.upper_bounds[1]) == (b"\x03" + bytes(7), b"\x09" + bytes(7))


def partitioned(lake: LocalLake) -> None:
    field = PartitionField(1, 1000, IdentityTransform(), "id")
    lake.tables.catalog.create_table(
        ("datamart", "p"), Schema(NestedField(1, "id", LongType())), partition_spec=PartitionSpec(field)
    )


def of_format_1(lake: LocalLake) -> None:
    schema = Schema(NestedField(1, "id", LongType()))
    lake.tables.catalog.create_table(("datamart", "p"), schema, properties={"format-version": "1"})


def with_a_struct(lake: LocalLake) -> None:
    inner = StructType(NestedField(3, "x", LongType()))
    schema = Schema(NestedField(1, "id", LongType()), NestedField(2, "s", inner))
    lake.tables.catalog.create_table(("datamart", "p"), schema)


def with_a_name_mapping(lake: LocalLake) -> None:
    lake.create("p", **{"schema.name-mapping.default": "[]"})


def with_a_name_that_duckdb_needs(lake: LocalLake) -> None:
    lake.create("p", columns=[Column("id", "long"), Column("File_Row_Number", "long")], key=())


def of_orc_files(lake: LocalLake) -> None:
    lake.create("p", **{"write.format.default": "orc"})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (partitioned, "partitioned"),
        (of_format_1, "version 1"),
        (with_a_struct, "'s' is struct"),
        (with_a_name_mapping, "name mapping"),
        (of_orc_files, "orc"),
        (with_a_name_that_duckdb_needs, "file_row_number"),
    ],
)
def test_what_only_spark_can_do_is_refused(lake: LocalLake, make: Any, says: str) -> None:
    make(lake)
    for read in (
        lake.tables.relation,
        lambda name: lake.tables.placed(lake.tables.load(name)),
        lake.tables.present,
    ):
        with pytest.raises(NeedsSparkError, match=says) as refused:
            read("p")
        assert "engine: auto" in refused.value.hint
    if make is not with_a_struct:
        with pytest.raises(NeedsSparkError, match=says):
            lake.staging().stamp("p", {})


@pytest.mark.parametrize("says", ["equality deletes", "orc"])
def test_files_that_only_spark_can_read_are_refused(lake: LocalLake, says: str) -> None:
    lake.change(numbered(1, 3))
    (file,) = data_files(lake)
    if says == "orc":
        file[FORMAT_PLACE] = FileFormat.ORC
        crafted(lake, [file], [], without=[file])
    else:
        file[CONTENT_PLACE] = DataFileContent.EQUALITY_DELETES
        crafted(lake, [], [file])
    with pytest.raises(NeedsSparkError, match=says):
        lake.rows()
    with pytest.raises(NeedsSparkError, match=says):
        lake.staging().stamp("t", {})
