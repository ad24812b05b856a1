"""DuckDB, which shares no code with the job, reads every table and its history as PostgreSQL told it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.lake.runtime import GLUE_4_0, present_runtime
from support.oracles import athena, second_reader
from support.oracles.oracle import assert_same, rows_of
from support.servers import aws_server, s3_server
from support.shops.shop import JOIN, open_shop
from support.shops.shop_rules import rename
from support.worlds import warm_process
from support.worlds.laptop import LINEAGE, PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg

    from support.oracles.oracle import Row
    from support.servers.aws_server import AwsServer
    from support.servers.s3_server import S3Server
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]
    # What PostgreSQL said, by table and by the snapshot that was current when it did.
    Told = dict[str, dict[int, list[Row]]]

TYPES = Path(__file__).parents[1] / "support" / "schemas" / "thing.sql"
KEYS = {
    "customer": ("customer_id",),
    "purchase": ("purchase_id",),
    "customer_purchases": ("customer_id", "purchase_id"),
}
TRUTH = {
    "customer": "select * from customer",
    "purchase": "select * from purchase",
    "customer_purchases": JOIN,
}
TRUTH_WITH_NOTE = TRUTH | {"customer_purchases": JOIN.replace("p.amount", "p.amount, p.note")}


def remember(told: Told, laptop: Laptop, connection: Connection, truth: Mapping[str, str] = TRUTH) -> None:
    """Note what PostgreSQL holds now under the snapshot of each table that is current now."""
    for name, query in truth.items():
        current = laptop.table(name).metadata.current_snapshot_id
        assert current is not None
        told.setdefault(name, {})[current] = rows_of(connection, query, "public")


def without_lineage(rows: list[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if name not in LINEAGE} for row in rows]


def a_working_week(laptop: Laptop, connection: Connection, other: Connection) -> Told:
    """Update, delete, commit late and add a column, a run after each; return what had to be held."""
    told: Told = {}
    remember(told, laptop, connection)
    rename(connection, "renamed")
    laptop.run()
    remember(told, laptop, connection)
    with other.transaction():
        rename(other, "late", "customer_id = 7")
        connection.execute("insert into purchase (customer_id, amount, updated_at) values (7, 1, now())")
        laptop.run()
        remember(told, laptop, connection)
    laptop.run()
    remember(told, laptop, connection)
    connection.execute(
        "delete from purchase where purchase_id % 5 = 0; delete from customer where customer_id = 3"
    )
    laptop.run("--load-type", "full")
    remember(told, laptop, connection)
    connection.execute(
        "alter table purchase add note text; "
        "update purchase set note = 'new', updated_at = clock_timestamp() where purchase_id = 8"
    )
    laptop.run()
    remember(told, laptop, connection, TRUTH_WITH_NOTE)
    return told


@pytest.mark.runtime
@pytest.mark.matrix_on("glue-4.0")
@pytest.mark.usefixtures("oracle")
def test_every_snapshot_of_every_table_is_read_as_postgresql_held_it_then(
    laptop: Laptop, connection: Connection, other: Connection
) -> None:
    told = a_working_week(laptop, connection, other)
    for name, expected in told.items():
        table = laptop.table(name)
        place = table.metadata_location
        assert int(table.metadata.snapshots[-1].summary["total-position-deletes"]) > 0, "merged on read"
        assert second_reader.snapshot_ids(place) == list(expected), f"{name}: PostgreSQL told of each"
        for snapshot_id, rows in expected.items():
            found = second_reader.rows(place, snapshot_id)
            assert_same(f"{name} at {snapshot_id}", without_lineage(found), rows, KEYS[name])
            third = table.scan(snapshot_id=snapshot_id).to_arrow().to_pylist()
            assert_same(f"{name} at {snapshot_id} for PyIceberg", third, found, KEYS[name])
        current = without_lineage(second_reader.rows(place))
        assert_same(name, current, list(expected.values())[-1], KEYS[name])
        assert athena.problems_at(place) == []


# The rows of docs/types.md that thing.sql lacks; the embedded server is built without xml.
REST = """
    create domain short_price as numeric(6, 2) check (value > -1000);
    create type pair as (left_part int, right_part text);
    create table rest (
        id int primary key, number oid, zoned timetz, cash money, place point, network inet,
        span int4range, marks bit(3), station macaddr, price short_price, both_parts pair, grid int[][],
        ids uuid[], prices numeric[], smalls int2[], singles float4[], codes varchar(4)[],
        moments timestamptz[], at timestamptz);
    insert into rest values
        (1, 4294967295, '08:15:00.5+02', -1.5, '(1,2)', '10.0.0.0/8', '[1,5)', '101', '08:00:2b:01:02:03',
         -0.01, (1, 'a,b'), '{{1,2},{3,4}}', array[md5('1')::uuid, null], '{1.50,NULL}', '{-1,NULL}',
         '{0.5,NaN}', '{ab,NULL,""}', '{2026-01-01Z,NULL}', '0001-01-01Z'),
        (2, 0, '23:59:59.999999-08', 0, '(0,-0.5)', '::1', 'empty', '000', null, 999.99,
         (null, ''), '{}', '{}', '{}', '{}', '{}', '{}', '{}', '9999-12-31 23:59:59.999999Z');
    insert into rest (id, at) values (3, '1969-12-31 23:59:59.999999Z')
"""
THINGS = """
    select id, small, whole, big, truth, single::float8, precise, price, tiny, words, code, short, bytes,
        uid::text, doc::text, feeling::text, span::text, day, clock::text, local, instant, numbers, longs,
        fractions, truths, names, to_jsonb(grid)::text as grid, at from thing
"""
RESTS = """
    select id, number::int8, zoned::text, cash::text, place::text, network::text, span::text, marks::text,
        station::text, price, both_parts::text, to_jsonb(grid)::text as grid, ids::text[], prices::text[],
        smalls::int4[], singles::float8[], codes::text[], moments::text[], at from rest
"""


@pytest.mark.runtime
def test_every_type_arrives_with_its_value(laptop: Laptop, connection: Connection) -> None:
    schema = TYPES.read_text(encoding="utf-8").replace(":key", "int8").replace(":value", "n")
    for number, word in enumerate((":first", ":second", ":third"), start=1):
        schema = schema.replace(word, str(number))
    connection.execute(schema)
    connection.execute(REST)
    tables = {name: {"from": f"public.{name}", "cursor": "at"} for name in ("thing", "rest")}
    laptop.configure(tables, {})
    laptop.run()
    connection.execute("update thing set at = clock_timestamp() where id % 7 = 0")
    laptop.run()
    for name, query in {"thing": THINGS, "rest": RESTS}.items():
        found = without_lineage(second_reader.rows(laptop.table(name).metadata_location))
        assert_same(name, found, rows_of(connection, query, "public"), ("id",))
        assert athena.problems_at(laptop.table(name).metadata_location) == []


# Format version 3 comes first: Iceberg 1.0 does not know it.
FOREIGN = {
    "'format-version' = '3', 'write.delete.mode' = 'merge-on-read'": ["format version 3", "PUFFIN"],
    "'write.format.default' = 'orc'": ["written as orc", "is ORC"],
    "'write.format.default' = 'avro'": ["written as avro", "is AVRO"],
}


@pytest.mark.usefixtures("oracle")
def test_what_athena_could_not_read_is_found_in_tables_of_another_tool(laptop: Laptop) -> None:
    known = list(FOREIGN.items())[0 if present_runtime() is not GLUE_4_0 else 1 :]
    for number, (properties, words) in enumerate(known):
        table = f"datamart.datamart.foreign_{number}"
        laptop.spark_sql(f"create table {table} (id int) using iceberg tblproperties ({properties})")
        laptop.spark_sql(f"insert into {table} select id from range(0, 100, 1, 1)")
        laptop.spark_sql(f"delete from {table} where id = 4")
        found = athena.problems_at(newest_metadata(laptop.warehouse / "datamart" / f"foreign_{number}"))
        for word in words:
            assert any(word in problem for problem in found), found


def newest_metadata(table: Path) -> str:
    return str(max((table / "metadata").glob("*.metadata.json")))


@pytest.fixture
def glue(s3: S3Server) -> Iterator[tuple[AwsServer, dict[str, str]]]:
    """Yield a Glue catalog of tables on S3, and the environment that leads to both."""
    with aws_server.running() as server:
        keys = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
        yield server, server.environment | keys


def test_tables_of_glue_in_a_bucket_are_read_as_those_on_disk_and_athena_could_read_them(
    laptop: Laptop, connection: Connection, s3: S3Server, glue: tuple[AwsServer, dict[str, str]]
) -> None:
    told: Told = {}
    open_shop(laptop, connection)
    server, environment = glue
    laptop.settings["catalog"] = {
        "type": "glue",
        "warehouse": f"s3://{s3_server.BUCKET}/of_glue",
        "properties": s3.properties | server.properties,
    }
    laptop.save()
    # A process of its own, because a JVM takes the jars for S3 only when it starts.
    with warm_process.running(laptop.directory, environment) as process:
        for name in ("one", "two"):
            rename(connection, name)
            ended = process.run(PROGRAM, "run", "--config", str(laptop.file))
            assert ended.exit_code == 0, ended.stdout + ended.stderr
            for table, query in TRUTH.items():
                held = registered(server, table)["Parameters"]["metadata_location"]
                current = second_reader.metadata(held, s3.properties)["current-snapshot-id"]
                told.setdefault(table, {})[current] = rows_of(connection, query, "public")
    for name, expected in told.items():
        table = registered(server, name)
        location = table["Parameters"]["metadata_location"]
        assert athena.problems_at(location, s3.properties, table) == []
        assert second_reader.snapshot_ids(location, s3.properties) == list(expected)
        for snapshot_id, rows in expected.items():
            found = second_reader.rows(location, snapshot_id, s3.properties)
            assert_same(f"{name} at {snapshot_id}", without_lineage(found), rows, KEYS[name])


def registered(server: AwsServer, table: str) -> dict[str, Any]:
    """Return a table as Glue has it."""
    return server.client("glue").get_table(DatabaseName="datamart", Name=table)["Table"]


@pytest.mark.usefixtures("oracle")
def test_rejected_rows_are_read_as_those_of_any_table(laptop: Laptop, connection: Connection) -> None:
    for number in (1, 2):
        connection.execute(
            f"update purchase set amount = 'NaN', updated_at = clock_timestamp() where purchase_id = {number}"
        )
        laptop.run()
    location = laptop.table("purchase__rejected").metadata_location
    assert len(second_reader.snapshot_ids(location)) == 2
    assert ["NaN" in row["reason"] for row in second_reader.rows(location)] == [True, True]
    assert athena.problems_at(location) == []
