"""Iceberg tables of the Data Catalog as sources: what was appended is read alone, all else is compared."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.schema import Schema
from pyiceberg.types import DecimalType, LongType, NestedField, StringType, TimestampType, TimestamptzType

from iceberg_datamart.app.settings_file import load_config
from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.source.reads import IcebergRead
from iceberg_datamart.lake.spark.iceberg_source import iceberg_frame
from iceberg_datamart.lake.spark.session import open_session
from support.oracles.oracle import assert_same
from support.servers import s3_server
from support.shops.glue_shop import DATABASE
from support.shops.table_files import at
from support.worlds.jars import reading_files
from support.worlds.laptop import PROGRAM, SMALL_SPARK, problems

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from support.servers.aws_server import AwsServer
    from support.servers.s3_server import S3Server
    from support.worlds.laptop import Ended, Laptop
    from support.worlds.warm_process import WarmProcess

SCHEMA = Schema(
    NestedField(1, "Id", LongType(), required=True),
    NestedField(2, "name", StringType()),
    NestedField(3, "amount", DecimalType(10, 2)),
    NestedField(4, "at", TimestamptzType()),
    NestedField(5, "wall", TimestampType()),
    identifier_field_ids=[1],
)


class Ledger:
    """A laptop that mirrors one Iceberg table, which PyIceberg writes."""

    def __init__(self, laptop: Laptop, aws: AwsServer, s3: S3Server, warm: WarmProcess) -> None:
        self.laptop, self.warm = laptop, warm
        properties = {**aws.properties, **s3.properties, **_keys_of_glue(aws)}
        self.catalog = load_catalog("other", type="glue", **properties)
        self.catalog.create_namespace_if_not_exists(DATABASE)
        self.place = f"s3://{s3_server.BUCKET}/{laptop.directory.name}/ledger"
        self.table = self.create()
        laptop.configure({"ledger": {"from": "ledger"}}, {})
        laptop.settings["sources"] = {"prd": {"type": "glue", "database": DATABASE}}
        laptop.settings["spark"]["properties"] = {**SMALL_SPARK, **reading_files(s3.endpoint)}
        laptop.save()

    def create(self) -> Table:
        """Make the source again, without rows."""
        with suppress(NoSuchTableError):
            self.catalog.drop_table((DATABASE, "ledger"))
        return self.catalog.create_table(
            (DATABASE, "ledger"), SCHEMA, location=f"{self.place}/{len(self.catalog.list_tables(DATABASE))}"
        )

    def rows(self, *ids: int, name: str = "first") -> pa.Table:
        found = [
            {"Id": i, "name": name, "amount": None, "at": at(i), "wall": at(i).replace(tzinfo=None)}
            for i in ids
        ]
        return pa.Table.from_pylist(found, schema=self.table.schema().as_arrow())

    def ended(self, verb: str, *arguments: str) -> Ended:
        words = ("--config", str(self.laptop.file), "--json", *arguments)
        return self.warm.run(PROGRAM, verb, *words)

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run the job; return what became of the table, whose mirror must equal it then."""
        ended = self.ended("run", *arguments)
        assert ended.exit_code == 0, f"{problems(ended.report)}\n{ended.stderr}"
        self.check()
        return ended.report["tables"]["ledger"]

    def planned(self) -> dict[str, Any]:
        ended = self.ended("plan")
        assert ended.exit_code == 0, ended.stderr
        return ended.report["steps"][0]

    def check(self) -> None:
        source = self.table.refresh().scan().to_arrow().to_pylist()
        held = self.laptop.rows("ledger")
        for row in held:
            # Spark 3.3 has no timestamps without zone.
            row["wall"] = row["wall"].replace(tzinfo=None)
        assert_same("ledger", held, source, ["Id"])


def _keys_of_glue(aws: AwsServer) -> dict[str, str]:
    environment = aws.environment
    return {
        "glue.access-key-id": environment["AWS_ACCESS_KEY_ID"],
        "glue.secret-access-key": environment["AWS_SECRET_ACCESS_KEY"],
    }


@pytest.fixture
def ledger(laptop: Laptop, catalog_aws: AwsServer, s3: S3Server, warm: WarmProcess) -> Ledger:
    return Ledger(laptop, catalog_aws, s3, warm)


def test_appended_rows_are_read_alone_and_all_else_is_compared_whole(ledger: Ledger) -> None:
    ledger.table.append(ledger.rows(1, 2, 3, 4))
    first = ledger.run()
    assert (first["outcome"], first["inserted"]) == ("merged", 4)

    before = ledger.laptop.files()
    assert ledger.run()["outcome"] == "unchanged"
    assert ledger.laptop.files() == before, "no snapshot came, so nothing is written (R3)"

    read = ledger.table.current_snapshot().snapshot_id
    ledger.table.append(ledger.rows(5))
    ledger.table.append(ledger.rows(6, 7))
    step = ledger.planned()
    assert (step["load_type"], step["window"]["after_snapshot"]) == ("incremental", read)
    appended = ledger.run()
    assert (appended["rows_read"], appended["inserted"], appended["deleted"]) == (3, 3, 0)

    ledger.table.delete("Id = 2")
    ledger.table.overwrite(ledger.rows(3, name="second"), overwrite_filter="Id = 3")
    assert ledger.planned()["load_type"] == "full"
    compared = ledger.run()
    assert (compared["rows_read"], compared["updated"], compared["deleted"]) == (6, 1, 1)
    assert ledger.run()["outcome"] == "unchanged"


def test_a_renamed_column_has_its_values_in_old_rows_too(ledger: Ledger) -> None:
    ledger.table.append(ledger.rows(1, 2))
    ledger.run()
    with ledger.table.update_schema() as update:
        update.rename_column("name", "title")
    ended = ledger.ended("run")
    assert ended.exit_code == 0, ended.stderr
    assert {row["title"] for row in ledger.laptop.rows("ledger")} == {"first"}


def test_a_later_append_with_an_older_cursor_replaces_no_row(ledger: Ledger) -> None:
    ledger.laptop.settings["tables"]["ledger"].update(cursor="at", soft_delete="name = 'gone'")
    ledger.laptop.save()
    ledger.table.append(ledger.rows(1, 2, 3))
    ledger.run()
    older = ledger.rows(1, name="older").to_pylist()
    ledger.table.append(pa.Table.from_pylist([{**older[0], "at": at(0)}], schema=ledger.rows().schema))
    ledger.table.append(ledger.rows(3, name="gone"))
    ended = ledger.ended("run")
    found = ended.report["tables"]["ledger"]
    assert (found["rows_read"], found["updated"], found["deleted"]) == (2, 0, 1), ended.stdout
    assert {row["Id"]: row["name"] for row in ledger.laptop.rows("ledger")} == {1: "first", 2: "first"}
    # A version of the row that is gone, older than its deletion; and a new row.
    late = [{**row, "at": at(1)} for row in ledger.rows(3, 4).to_pylist()]
    ledger.table.append(pa.Table.from_pylist(late, schema=ledger.rows().schema))
    found = ledger.ended("run").report["tables"]["ledger"]
    assert (found["rows_read"], found["inserted"], found["deleted"]) == (2, 1, 0)
    assert {row["Id"] for row in ledger.laptop.rows("ledger")} == {1, 2, 4}


def test_a_compaction_between_two_appends_is_passed_over(laptop: Laptop) -> None:
    settings = laptop.configure({"t": {"from": "t"}}, {}).settings["catalog"]
    load_catalog("datamart", **settings).create_namespace("datamart")
    laptop.spark_sql("create table datamart.datamart.t (id bigint) using iceberg")
    for number in (1, 2, 3):
        laptop.spark_sql(f"insert into datamart.datamart.t values ({number})")
        if number == 1:
            first = laptop.table("t").current_snapshot()
        if number == 2:
            options = "options => map('rewrite-all', 'true', 'min-input-files', '1')"
            laptop.spark_sql(
                f"call datamart.system.rewrite_data_files(table => 'datamart.datamart.t', {options})"
            )
    table = laptop.table("t")
    assert [each.summary.operation.value for each in table.metadata.snapshots][2] == "replace"
    read = IcebergRead(table.metadata_location, (Column("id", "long"),), after=first.snapshot_id)
    session = open_session(load_config(laptop.file, os.environ))
    assert sorted(row[0] for row in iceberg_frame(session, read).collect()) == [2, 3]


def test_a_table_recreated_under_the_same_name_is_refused(ledger: Ledger) -> None:
    ledger.table.append(ledger.rows(1))
    ledger.run()
    ledger.table = ledger.create()
    ended = ledger.ended("run")
    assert ended.exit_code == 1
    error = ended.report["tables"]["ledger"]["error"]
    assert str(ledger.table.metadata.table_uuid) in error["message"]
    assert len(ledger.laptop.rows("ledger")) == 1, "nothing was written (R13)"
