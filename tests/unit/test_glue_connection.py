"""A Glue connection means to psycopg and JDBC what it means to Glue, or it is refused."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from iceberg_datamart.core.names import SourceName
from iceberg_datamart.errors import SourceError
from iceberg_datamart.sources.glue.connection import crawled_table, database_of, postgres_source
from iceberg_datamart.sources.postgres.jdbc import credentials_of, jdbc_url

LOGIN = {"USERNAME": "reader", "PASSWORD": "p@ss/w%rd"}
URL = "jdbc:postgresql://db.internal:5433/prd"


def made(url: str = URL, **properties: str) -> str:
    """Return the url of the source that a connection with a login stands for."""
    return postgres_source("crawled", "c", {**LOGIN, "JDBC_CONNECTION_URL": url, **properties}).url


def test_user_and_password_are_those_of_the_connection() -> None:
    source = postgres_source("crawled", "c", {**LOGIN, "JDBC_CONNECTION_URL": URL})
    assert credentials_of(source) == {"user": "reader", "password": "p@ss/w%rd"}
    assert jdbc_url(source).startswith(URL)
    assert database_of(source) == "prd"


def test_a_secret_comes_before_a_password() -> None:
    source = postgres_source("crawled", "c", {**LOGIN, "SECRET_ID": "prd/x", "JDBC_CONNECTION_URL": URL})
    assert (source.user, source.password, source.secret) == (None, None, "prd/x")


@pytest.mark.parametrize("database", ["my db", "a/b", "ö?x"])
def test_a_database_keeps_its_name(database: str) -> None:

    source = postgres_source(
        "crawled", "c", {**LOGIN, "JDBC_CONNECTION_URL": f"jdbc:postgresql://db/{quote(database, safe='')}"}
    )
    assert database_of(source) == database


@pytest.mark.parametrize(
    ("url", "enforced", "mode"),
    [
        (URL, "false", None),
        (URL, "true", "require"),
        (URL, "TRUE", "require"),
        (URL + "?sslmode=prefer", "true", "require"),
        (URL + "?sslmode=disable", "true", "require"),
        (URL + "?sslmode=verify-full", "true", "verify-full"),
        (URL + "?sslmode=verify-ca", "false", "verify-ca"),
    ],
)
def test_enforced_tls_is_at_least_required(url: str, enforced: str, mode: str | None) -> None:
    query = made(url, JDBC_ENFORCE_SSL=enforced).partition("?")[2]
    assert query == ("" if mode is None else f"sslmode={mode}")


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        (
            {"JDBC_CONNECTION_URL": "jdbc:mysql://reader:hush@db/prd?password=hush"},
            "'jdbc:mysql', not to PostgreSQL",
        ),
        ({"JDBC_CONNECTION_URL": ""}, "not to PostgreSQL"),
        ({"JDBC_CONNECTION_URL": "jdbc:postgresql://db"}, "no database"),
        ({"JDBC_CONNECTION_URL": "jdbc:postgresql:///prd"}, "names no host"),
        ({"JDBC_CONNECTION_URL": URL + "?ssl=true&user=a"}, "parameters ssl, user"),
        ({"CUSTOM_JDBC_CERT": "s3://certificates/root.pem"}, "root certificate on S3"),
        ({"PASSWORD": ""}, "holds no login"),
        ({"USERNAME": ""}, "holds no login"),
    ],
)
def test_a_connection_that_cannot_be_followed_is_refused(properties: dict[str, str], words: str) -> None:
    with pytest.raises(SourceError, match="source 'crawled': the Glue connection 'c'") as caught:
        postgres_source("crawled", "c", {**LOGIN, "JDBC_CONNECTION_URL": URL, **properties})
    assert words in caught.value.message
    assert "hush" not in caught.value.message + caught.value.hint
    assert LOGIN["PASSWORD"] not in caught.value.message + caught.value.hint


def test_a_password_that_only_its_key_opens_is_told_apart() -> None:
    properties = {"USERNAME": "reader", "ENCRYPTED_PASSWORD": "AQEC", "JDBC_CONNECTION_URL": URL}
    with pytest.raises(SourceError, match="encrypted password") as caught:
        postgres_source("crawled", "c", properties)
    assert "kms:Decrypt" in caught.value.hint


@pytest.mark.parametrize(
    ("location", "database", "schema", "table"),
    [
        ("prd.public.account", "prd", "public", "account"),
        ("my.prd.public.account", "my.prd", "public", "account"),
        ("prd.public.a.b", "prd", "public", "a.b"),
        ("prd.Sales.Order Items", "prd", "Sales", "Order Items"),
    ],
)
def test_a_crawled_location_names_schema_and_table(
    location: str, database: str, schema: str, table: str
) -> None:
    assert crawled_table("Glue table 'x'", location, database) == SourceName(schema, table)


@pytest.mark.parametrize(
    "location", ["", "prd", "prd.public", "prd.public.", "prd..a", "other.public.a", "prd2.a.b"]
)
def test_a_location_of_another_database_is_refused(location: str) -> None:
    with pytest.raises(SourceError, match="no table of the connection's database 'prd'"):
        crawled_table("Glue table 'x'", location, "prd")
