"""The in-process engine's tables on S3, by PyArrow's file system alone."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pyarrow as pa  # type: ignore[import-untyped]
import pytest

from iceberg_datamart.errors import CommitConflictError, LakeError
from support.lakes.local_lake import LocalLake, numbered
from support.servers.s3_server import BUCKET

if TYPE_CHECKING:
    from pathlib import Path

    from support.servers.s3_server import S3Server


@pytest.fixture
def lake(tmp_path: Path, s3: S3Server) -> LocalLake:
    found = LocalLake(tmp_path, f"s3://{BUCKET}/{uuid.uuid4()}/a b's", s3.properties)
    found.create()
    return found


def keys(lake: LocalLake, s3: S3Server) -> set[str]:
    """Return all objects of the lake that are no metadata files, nor PyArrow's folders."""
    prefix = lake.warehouse.removeprefix(f"s3://{BUCKET}/")
    found = s3.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return {each["Key"] for each in found if not each["Key"].endswith((".json", "/"))}


def test_rows_on_s3_are_written_and_read(lake: LocalLake, s3: S3Server) -> None:
    lake.change("SELECT i AS id, 'v' || i AS v, 1 AS n FROM range(250000) r(i)")
    lake.change(numbered(7, 7, "new"), "id % 1000 = 7")
    assert lake.fetch(f"SELECT count(*), sum(id) FROM {lake.tables.relation('t')}") == [
        (250_000 - 250 + 1, sum(range(250_000)) - sum(range(7, 250_000, 1000)) + 7)
    ]
    found = lake.tables.load("t").scan(row_filter="id < 10").to_arrow().sort_by("id")
    assert found["v"].to_pylist() == ["v0", "v1", "v2", "v3", "v4", "v5", "v6", "new7", "v8", "v9"]
    assert len(keys(lake, s3)) == 8


def test_files_on_s3_of_a_refused_commit_are_removed(lake: LocalLake, s3: S3Server) -> None:
    lake.change(numbered(1, 5))
    before = keys(lake, s3)
    with pytest.raises(LakeError):
        lake.stage("SELECT nullif(i, 300000) AS id, 'x' AS v, 1 AS n FROM range(400000) r(i)")
    elsewhere = pa.table({"file_path": ["s3://elsewhere/file.parquet"], "pos": [0]}).to_reader()
    with pytest.raises(CommitConflictError):
        lake.staging().change(lake.tables.load("t"), lake.reader(numbered(6, 7)), elsewhere, {})
    assert keys(lake, s3) == before


def test_threads_read_s3_side_by_side(lake: LocalLake) -> None:
    lake.change("SELECT i AS id, md5(i::VARCHAR) AS v, 1 AS n FROM range(300000) r(i)")
    relation = lake.tables.relation("t")
    both = f"SELECT count(*) FROM {relation} a JOIN {relation} b USING (id, v)"
    assert lake.fetch(both) == [(300_000,)]
