"""Files on S3 that the Data Catalog describes, in five formats and with partitions: a log of versions."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from support.oracles.oracle import assert_same
from support.servers import s3_server
from support.shops.glue_shop import DATABASE
from support.shops.table_files import COLUMNS, WRITERS, at, expected
from support.worlds.jars import reading_files
from support.worlds.laptop import PROGRAM, SMALL_SPARK, problems

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.servers.aws_server import AwsServer
    from support.servers.s3_server import S3Server
    from support.shops.table_files import Row
    from support.worlds.laptop import Ended, Laptop
    from support.worlds.warm_process import WarmProcess

MONDAY, TUESDAY = "2026-03-02", "2026-03-03"
NORTH, SOUTH, NOWHERE = (MONDAY, "north"), (MONDAY, "south"), (TUESDAY, "__HIVE_DEFAULT_PARTITION__")
FIRST: list[Row] = [
    (1, 'O"Hara, Zoë', 1.5, at(1)),
    (1, "older", 9.25, at(0)),
    (2, None, -2.0, at(2)),
    (3, "back\\slash", 1e300, at(3)),
]
SECOND: list[Row] = [(2, "newer", 2.0, at(5)), (4, "fourth [*]", 4.0, at(4))]


class Files:
    """A laptop whose tables are files in a bucket, described by the catalog."""

    def __init__(self, laptop: Laptop, aws: AwsServer, s3: S3Server, warm: WarmProcess) -> None:
        self.laptop, self.glue, self.s3, self.warm = laptop, aws.client("glue"), s3, warm
        self.folder = f"{laptop.directory.name}/tables"
        laptop.configure({}, {})
        laptop.settings["sources"] = {"prd": {"type": "glue", "database": DATABASE}}
        laptop.settings["spark"]["properties"] = {**SMALL_SPARK, **reading_files(s3.endpoint)}
        with suppress(self.glue.exceptions.AlreadyExistsException):
            self.glue.create_database(DatabaseInput={"Name": DATABASE})

    def add(self, table: str, kind: str, **parameters: str) -> None:
        """Describe a table of files, and mirror it."""
        name = f"files_{table}"
        with suppress(self.glue.exceptions.EntityNotFoundException):
            self.glue.delete_table(DatabaseName=DATABASE, Name=name)
        header = {"skip.header.line.count": "1"} if kind == "csv" else {}
        self.glue.create_table(
            DatabaseName=DATABASE,
            TableInput={
                "Name": name,
                "PartitionKeys": [{"Name": "day", "Type": "date"}, {"Name": "region", "Type": "string"}],
                "Parameters": {"classification": kind, **header, **parameters},
                "StorageDescriptor": {
                    "Columns": [{"Name": column, "Type": type_} for column, type_ in COLUMNS],
                    "Location": self.place(table),
                    "SerdeInfo": {"Parameters": {"field.delim": ","} if kind == "csv" else {}},
                },
            },
        )
        self.laptop.settings["tables"][table] = {
            "source": "prd",
            "from": name,
            "primary_key": ["id"],
            "cursor": "at",
        }
        self.laptop.save()

    def place(self, table: str) -> str:
        return f"s3://{s3_server.BUCKET}/{self.folder}/{table}/"

    def put(self, table: str, rows: Sequence[Row], partition: tuple[str, str], name: str) -> None:
        """Write a file into a partition, which the catalog then knows; its folder need not tell which.

        The format is what stands after the last _ of the table's name.
        """
        folder, kind = f"{table}/{' '.join(partition)}", table.rpartition("_")[2]
        key = f"{self.folder}/{folder}/{name}"
        self.s3.client().put_object(Bucket=s3_server.BUCKET, Key=key, Body=WRITERS[kind](rows))
        with suppress(self.glue.exceptions.AlreadyExistsException):
            self.glue.create_partition(
                DatabaseName=DATABASE,
                TableName=f"files_{table}",
                PartitionInput={
                    "Values": list(partition),
                    "StorageDescriptor": {"Location": f"s3://{s3_server.BUCKET}/{self.folder}/{folder}"},
                },
            )

    def drop(self, table: str, partition: tuple[str, str], name: str) -> None:
        key = f"{self.folder}/{table}/{' '.join(partition)}/{name}"
        self.s3.client().delete_object(Bucket=s3_server.BUCKET, Key=key)

    def run(self, *arguments: str) -> dict[str, Any]:
        ended = self.ended("run", *arguments)
        assert ended.exit_code == 0, f"{problems(ended.report)}\n{ended.stderr}"
        return ended.report

    def ended(self, verb: str, *arguments: str) -> Ended:
        words = ("--config", str(self.laptop.file), "--json", *arguments)
        return self.warm.run(PROGRAM, verb, *words)

    def check(self, table: str, *parts: list[dict[str, Any]]) -> None:
        """Assert that a mirror holds exactly these rows."""
        assert_same(table, self.laptop.rows(table), [row for part in parts for row in part], ["id"])


@pytest.fixture
def files(laptop: Laptop, catalog_aws: AwsServer, s3: S3Server, warm: WarmProcess) -> Files:
    return Files(laptop, catalog_aws, s3, warm)


def test_every_format_is_mirrored_by_its_newest_versions(files: Files) -> None:
    for kind in WRITERS:
        files.add(f"of_{kind}", kind)
        files.put(f"of_{kind}", FIRST, NORTH, f"part [1].{kind}")
        files.put(f"of_{kind}", [], NORTH, "_SUCCESS")
    files.run()
    newest = expected([FIRST[0], FIRST[2], FIRST[3]], MONDAY, "north")
    for kind in WRITERS:
        files.check(f"of_{kind}", newest)
    before = files.laptop.files()
    report = files.run()
    assert {table["outcome"] for table in report["tables"].values()} == {"unchanged"}
    assert files.laptop.files() == before, "no file changed, so nothing is written (R3)"
    # New files, one in a new partition, one with a version that is older than the mirror's.
    for kind in WRITERS:
        files.put(f"of_{kind}", SECOND, NOWHERE, f"b.{kind}")
        files.put(f"of_{kind}", [(3, "late", 0.0, at(0))], SOUTH, f"c.{kind}")
    report = files.run()
    for kind in WRITERS:
        files.check(f"of_{kind}", newest[:1], newest[2:], expected(SECOND, TUESDAY, None))
        found = report["tables"][f"of_{kind}"]
        assert (found["inserted"], found["updated"], found["deleted"]) == (1, 1, 0)
    # What is gone from the bucket is gone from the mirror by a full load, and by a full load alone.
    for kind in WRITERS:
        files.drop(f"of_{kind}", NOWHERE, f"b.{kind}")
    files.run()
    for kind in WRITERS:
        files.check(f"of_{kind}", newest[:1], newest[2:], expected(SECOND, TUESDAY, None))
    assert files.ended("reconcile").exit_code == 0
    for kind in WRITERS:
        files.check(f"of_{kind}", newest)


BAD = {
    "word_csv": (
        b"id,name,amount,at\n1,a,1.0,2026-03-01 12:00:00\nx,b,1.0,2026-03-01 12:00:00\n",
        "column 'id' does not fit long: x",
    ),
    "short_csv": (b"id,name,amount,at\n1,a\n", "Malformed"),
    "half_json": (b'{"Id": 1, "at": "2026-03-01T12:00:00Z"}\n{"Id": 2, \n', "malformed line of JSON"),
    "fraction_json": (b'{"Id": 1.5, "at": "2026-03-01T12:00:00Z"}\n', "1.5"),
    "keyless_json": (b'{"Id": null, "at": "2026-03-01T12:00:00Z"}\n', "1 rows have NULL in their key (id)"),
    "cents_csv": (b"id,name,amount,at\n2,a,1.005,2026-03-01 12:00:00\n", "decimal(10, 2): 1.005"),
    "cents_parquet": (WRITERS["parquet"](SECOND), "'amount' as double, which decimal(10, 2) may not hold"),
    "mixed_json": (b'{"ID": 7, "Id": 7, "at": "2026-03-01T12:00:00Z"}\n', "it has column 'id' twice"),
}


def test_a_file_that_does_not_fit_fails_its_table_and_nothing_of_it_is_written(files: Files) -> None:
    for table, (content, _) in BAD.items():
        files.add(table, table.rpartition("_")[2])
        files.put(table, [(1, "good", 1.0, at(1))], NORTH, "a")
        key = f"{files.folder}/{table}/{' '.join(NORTH)}/b"
        files.s3.client().put_object(Bucket=s3_server.BUCKET, Key=key, Body=content)
        if table.startswith("cents"):
            files.laptop.settings["tables"][table]["columns"] = {"amount": {"type": "decimal(10,2)"}}
    files.add("good_csv", "csv")
    files.put("good_csv", SECOND, NORTH, "a")
    files.laptop.settings["tables"]["good_csv"]["soft_delete"] = "name = 'newer'"
    files.laptop.save()
    ended = files.ended("run")
    assert ended.exit_code == 1, ended.stdout
    for table, (_, words) in BAD.items():
        assert words in ended.report["tables"][table]["error"]["message"]
        assert ended.report["tables"][table]["snapshot_id"] is None
    files.check("good_csv", expected(SECOND[1:], *NORTH))
    assert files.laptop.timestamp() is None


ODD: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "keyless_csv": ({"primary_key": None}, {}, "files, which have no primary key"),
    "texts_csv": ({"cursor": "name"}, {}, "cursor column 'name' of table 'texts_csv' has type string"),
    "gone_csv": ({"cursor": "gone"}, {}, "has no column 'gone'"),
    "projected_csv": ({}, {"projection.enabled": "true"}, "partitions projected"),
    "headed_csv": ({}, {"skip.header.line.count": "2"}, "skips 2 lines"),
}


def test_a_table_of_files_that_cannot_be_followed_is_refused_and_verify_names_the_full_load(
    files: Files,
) -> None:
    for table, (settings, parameters, _) in ODD.items():
        files.add(table, "csv", **parameters)
        files.put(table, FIRST, NORTH, "a")
        files.laptop.settings["tables"][table].update(settings)
    files.laptop.save()
    files.add("a_json", "json")
    files.put("a_json", FIRST, NORTH, "a")
    ended = files.ended("run")
    assert ended.exit_code == 1
    for table, (_, _, words) in ODD.items():
        assert words in ended.report["tables"][table]["error"]["message"]
    ended = files.ended("verify")
    assert "--load-type full" in ended.report["tables"]["a_json"]["error"]["hint"]


def test_a_bucket_that_is_not_there_fails_the_table(
    files: Files, catalog_environment: dict[str, str]
) -> None:
    files.add("lost_csv", "csv")
    files.put("lost_csv", FIRST, NORTH, "a")
    wrong = {**catalog_environment, "AWS_SECRET_ACCESS_KEY": "another"}
    ended = files.laptop.process("run", "--json", environment=wrong)
    error = ended.report["tables"]["lost_csv"]["error"]
    assert "s3://iceberg-logics-sandeep" in error["message"]
