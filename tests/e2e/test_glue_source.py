"""Tables crawled from PostgreSQL, read through their Glue connection: as exact as PostgreSQL itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

from support.servers import aws_server
from support.servers.tls import Authority, tls_before
from support.shops.glue_shop import DATABASE, connect, crawl, crawl_all, open_glue_shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from support.oracles.oracle import Oracle
    from support.servers.aws_server import AwsServer
    from support.worlds.laptop import Databases, Laptop

    Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsServer]:
    with aws_server.running() as server:
        yield server


@pytest.fixture(autouse=True)
def _environment(aws: AwsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def shop(laptop: Laptop, connection: Connection, aws: AwsServer) -> Oracle:
    """Return the oracle of a crawled shop; nothing has run yet."""
    return open_glue_shop(laptop, connection, aws)


def test_mirrors_and_mart_are_the_source_after_full_incremental_and_reconciling_runs(
    laptop: Laptop, connection: Connection, shop: Oracle
) -> None:
    report = laptop.run()
    shop.follow(full=True)
    shop.check(laptop, against_source=True)
    assert {name: table["rows_read"] for name, table in report["tables"].items()} == {
        "customer": 20,
        "purchase": 60,
    }
    before = laptop.files()
    laptop.run()
    assert laptop.files() == before, "nothing changed, so nothing is written (R3)"
    # One side alone changes, then the other.
    connection.execute("update customer set name = 'renamed', updated_at = now() where customer_id = 3")
    report = laptop.run()
    assert report["tables"]["customer"]["rows_read"] < 5, "the window is read, not the table"
    shop.follow(full=False)
    shop.check(laptop, against_source=True)
    connection.execute("update purchase set amount = 7, updated_at = now() where purchase_id = 9")
    connection.execute("insert into purchase (customer_id, amount, updated_at) values (3, 1.5, now())")
    laptop.run()
    shop.follow(full=False)
    shop.check(laptop, against_source=True)
    connection.execute("delete from purchase where purchase_id in (1, 2)")
    laptop.run()
    shop.follow(full=False)
    shop.check(laptop)
    connection.execute("update customer set name = 'silent' where customer_id = 4")
    assert laptop.command("reconcile").exit_code == 0
    shop.check(laptop, against_source=True)


def test_the_tables_are_read_at_one_point_and_no_row_is_missed_that_commits_late(
    laptop: Laptop, connection: Connection, other: Connection, shop: Oracle
) -> None:
    laptop.run()
    other.execute("begin")
    other.execute("insert into customer (name, updated_at) values ('late', now())")
    connection.execute("insert into customer (name, updated_at) values ('early', clock_timestamp())")
    laptop.run()
    other.execute("commit")
    laptop.run()
    shop.follow(full=False)
    shop.check(laptop, against_source=True)


# By a crawled table's name: what the crawler wrote that cannot be read, and what is said of it.
CRAWLED = {
    "mysql": ({"classification": "mysql"}, "has classification 'mysql', which is not read"),
    "parquet": ({"classification": "parquet"}, "files, which have no primary key"),
    "iceberg": (
        {"classification": "", "table_type": "ICEBERG"},
        "metadata_location '', which is no address on S3",
    ),
}


def mirrored(laptop: Laptop, table: str, crawled: str, source: str = "prd") -> None:
    laptop.settings["tables"][table] = {"source": source, "from": crawled, "cursor": "updated_at"}


def test_a_table_to_which_the_catalog_does_not_lead_fails_alone_and_is_loaded_once_it_does(
    laptop: Laptop, connection: Connection, aws: AwsServer, shop: Oracle
) -> None:
    glue, url, name = aws.client("glue"), laptop.url, laptop.settings["tables"]["purchase"]["from"]
    ours = glue.get_table(DatabaseName=DATABASE, Name=name)["Table"]["Parameters"]["connectionName"]
    glue.delete_table(DatabaseName=DATABASE, Name=name)
    another = connect(aws, url)
    for table, (parameters, _) in CRAWLED.items():
        mirrored(laptop, table, crawl(aws, url, table, "any", **parameters))
    laptop.settings["sources"]["second"] = {"type": "glue", "database": DATABASE}
    laptop.settings["sources"]["third"] = {"type": "glue", "database": "nowhere"}
    mirrored(laptop, "unconnected", crawl(aws, url, "unconnected", None))
    mirrored(laptop, "other", crawl(aws, url, "other", another))
    mirrored(laptop, "lost", crawl(aws, url, "lost", "gone"), "second")
    mirrored(laptop, "nowhere", name, "third")
    connection.execute("create table other (like purchase including all); insert into other table purchase")
    expected = {
        "purchase": f"there is no table '{name}' in the Glue database '{DATABASE}'",
        **{table: words for table, (_, words) in CRAWLED.items()},
        "unconnected": "does not say through which Glue connection",
        "other": f"was crawled through connection '{another}', others of source 'prd' through",
        "lost": "there is no Glue connection 'gone'",
        "nowhere": "Glue database 'nowhere'",
    }
    report = laptop.save().failing_run()["tables"]
    for table, words in expected.items():
        assert words in report[table]["error"]["message"], table
    assert "tables.purchase.from" in report["purchase"]["error"]["hint"]
    assert "sources.third.database" in report["nowhere"]["error"]["hint"]
    assert report["customer"]["outcome"] == "merged"
    assert laptop.timestamp() is None, "not every table is complete"
    crawl(aws, url, "purchase", ours)
    for table in (*CRAWLED, "unconnected", "lost", "nowhere"):
        del laptop.settings["tables"][table]
    del laptop.settings["sources"]["third"]
    laptop.settings["tables"]["other"]["source"] = "second"
    assert laptop.save().run()["tables"]["other"]["inserted"] == 60
    shop.check(laptop, against_source=True)


def test_a_column_added_since_the_crawl_is_read(laptop: Laptop, connection: Connection, shop: Oracle) -> None:
    del shop
    connection.execute("alter table customer add column tier int default 2")
    laptop.run()
    assert {row["tier"] for row in laptop.rows("customer")} == {2}


def test_a_source_may_change_its_type_without_a_full_load(laptop: Laptop, shop: Oracle) -> None:
    laptop.run()
    laptop.settings["sources"]["prd"] = {"type": "postgres", "url": laptop.url}
    for name, table in laptop.settings["tables"].items():
        table["from"] = f"public.{name}"
    laptop.save()
    assert {step["load_type"] for step in laptop.plan().values()} == {"incremental"}
    laptop.run()
    shop.check(laptop, against_source=True)


def test_a_connection_may_take_its_login_from_secrets_manager(
    laptop: Laptop, aws: AwsServer, shop: Oracle
) -> None:
    place = urlsplit(laptop.url)
    login = {"username": unquote(place.username or ""), "password": unquote(place.password or "")}
    aws.client("secretsmanager").create_secret(Name="glue/prd", SecretString=json.dumps(login))
    crawl_all(laptop, aws, connect(aws, laptop.url, USERNAME=None, PASSWORD=None, SECRET_ID="glue/prd"))
    laptop.run()
    shop.check(laptop, against_source=True)


def test_a_database_that_is_away_fails_all_tables_and_is_worth_another_run(
    laptop: Laptop, aws: AwsServer, shop: Oracle
) -> None:
    del shop
    away = f"jdbc:postgresql://127.0.0.1:9{urlsplit(laptop.url).path}"
    crawl_all(laptop, aws, connect(aws, laptop.url, JDBC_CONNECTION_URL=away))
    ended = laptop.command("run")
    assert ended.exit_code == 75
    assert "cannot be reached" in ended.report["tables"]["purchase"]["error"]["message"]


def test_enforced_tls_is_demanded_of_the_server(
    laptop: Laptop, aws: AwsServer, databases: Databases, shop: Oracle, tmp_path: Path
) -> None:
    crawl_all(laptop, aws, connect(aws, laptop.url, JDBC_ENFORCE_SSL="true"))
    error = laptop.failing_run()["tables"]["customer"]["error"]
    assert "server does not support SSL" in error["message"]
    server = databases.server
    certificate = Authority.made(tmp_path, "ours").issue(tmp_path, "127.0.0.1")
    with tls_before(server.host, server.port, certificate) as port:
        url = laptop.url.replace(f":{server.port}/", f":{port}/")
        crawl_all(laptop, aws, connect(aws, url, JDBC_ENFORCE_SSL="true"))
        laptop.run()
    shop.check(laptop, against_source=True)


def test_status_tells_what_holds_the_connections_database_back(
    laptop: Laptop, other: Connection, shop: Oracle
) -> None:
    del shop
    other.execute("begin")
    started = other.execute("select now()").fetchall()[0][0]
    other.execute("select pg_sleep(1.2)")  # a transaction of the last second does not count
    said = laptop.status()["sources"]["prd"]
    assert (said["error"], said["horizon"]) == (None, started.isoformat())
    assert [each["since"] for each in said["open_transactions"]] == [started.isoformat()]


def test_status_tells_that_the_catalog_leads_nowhere(laptop: Laptop, aws: AwsServer, shop: Oracle) -> None:
    del shop
    crawl_all(laptop, aws, "gone")
    said = laptop.status()["sources"]["prd"]
    assert "there is no Glue connection" in said["error"]["message"]
