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


def test_a_table_that_is_not_in_the_catalog_fails_alone_and_is_loaded_once_it_is_there(
    laptop: Laptop, aws: AwsServer, shop: Oracle
) -> None:
    name = laptop.settings["tables"]["purchase"]["from"]
    crawled = aws.client("glue").get_table(DatabaseName=DATABASE, Name=name)["Table"]
    aws.client("glue").delete_table(DatabaseName=DATABASE, Name=name)
    report = laptop.failing_run()
    error = report["tables"]["purchase"]["error"]
    assert error["message"] == f"there is no table '{name}' in the Glue database '{DATABASE}'"
    assert "tables.purchase.from" in error["hint"]
    assert report["tables"]["customer"]["outcome"] == "merged"
    assert laptop.timestamp() is None, "not every table is complete"
    crawl(aws, laptop.url, "purchase", crawled["Parameters"]["connectionName"])
    laptop.run()
    shop.check(laptop, against_source=True)


def test_a_database_that_is_not_in_the_catalog_fails_its_tables(laptop: Laptop, shop: Oracle) -> None:
    del shop
    laptop.settings["sources"]["prd"]["database"] = "nowhere"
    laptop.save()
    error = laptop.failing_run()["tables"]["customer"]["error"]
    assert "Glue database 'nowhere'" in error["message"]
    assert "sources.prd.database" in error["hint"]


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


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"classification": "mysql"}, "has classification 'mysql', which is not read"),
        ({"classification": "parquet"}, "files, which have no primary key"),
        ({"classification": "", "table_type": "ICEBERG"}, "metadata_location '', which is no address on S3"),
    ],
)
def test_a_table_that_cannot_be_read_fails_alone(
    laptop: Laptop, aws: AwsServer, shop: Oracle, parameters: dict[str, str], words: str
) -> None:
    del shop
    crawl(aws, laptop.url, "purchase", "any", **parameters)
    report = laptop.failing_run()
    assert words in report["tables"]["purchase"]["error"]["message"]
    assert report["tables"]["customer"]["outcome"] == "merged"


def test_a_connection_that_is_not_there_is_named(laptop: Laptop, aws: AwsServer, shop: Oracle) -> None:
    del shop
    crawl_all(laptop, aws, "gone")
    report = laptop.failing_run()
    assert "there is no Glue connection 'gone'" in report["tables"]["purchase"]["error"]["message"]


def test_a_crawled_table_without_a_connection_is_told_apart(
    laptop: Laptop, aws: AwsServer, shop: Oracle
) -> None:
    del shop
    crawl(aws, laptop.url, "purchase", None)
    error = laptop.failing_run()["tables"]["purchase"]["error"]
    assert "does not say through which Glue connection" in error["message"]


def test_tables_of_two_connections_need_two_sources(laptop: Laptop, aws: AwsServer, shop: Oracle) -> None:
    another = connect(aws, laptop.url)
    crawl(aws, laptop.url, "purchase", another)
    error = laptop.failing_run()["tables"]["purchase"]["error"]
    assert f"was crawled through connection '{another}', others of source 'prd' through" in error["message"]
    laptop.settings["sources"]["second"] = {"type": "glue", "database": DATABASE}
    laptop.settings["tables"]["purchase"]["source"] = "second"
    laptop.save()
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
