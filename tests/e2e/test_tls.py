"""TLS to PostgreSQL, from psycopg and from JDBC: what the url demands holds for both, or nothing is read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest

from iceberg_datamart.app.settings_file import load_config
from iceberg_datamart.core.settings.model import PostgresSource
from iceberg_datamart.lake.spark.session import open_session
from iceberg_datamart.sources.postgres.jdbc import credentials_of, jdbc_url
from support.servers.tls import Authority, tls_before
from support.shops.shop import open_shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from support.worlds.laptop import Databases, Laptop

    Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("authority"), "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("stranger"), "another")


@pytest.fixture(scope="module")
def right(
    databases: Databases, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """Yield the port of a server whose certificate is for its address."""
    directory: Path = tmp_path_factory.mktemp("right")
    server = databases.server
    with tls_before(server.host, server.port, authority.issue(directory, "127.0.0.1")) as port:
        yield port


@pytest.fixture(scope="module")
def misnamed(
    databases: Databases, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """Yield the port of a server whose certificate is for another host."""
    directory: Path = tmp_path_factory.mktemp("misnamed")
    server = databases.server
    with tls_before(server.host, server.port, authority.issue(directory, "db.elsewhere")) as port:
        yield port


@pytest.fixture
def shop(laptop: Laptop, connection: Connection) -> Laptop:
    open_shop(laptop, connection)
    return laptop


def demand(laptop: Laptop, port: int, sslmode: str, root: Authority | None = None) -> PostgresSource:
    """Let the laptop's source be at `port`, with TLS as told."""
    query = f"sslmode={sslmode}" + (f"&sslrootcert={quote(str(root.root))}" if root else "")
    place = urlsplit(laptop.url)
    laptop.settings["sources"]["prd"]["url"] = place._replace(
        netloc=place.netloc.replace(f":{place.port}", f":{port}"), query=query
    ).geturl()
    laptop.save()
    found = load_config(laptop.file, os.environ).sources["prd"]
    assert isinstance(found, PostgresSource)
    return found


def jdbc(laptop: Laptop, source: PostgresSource) -> str:
    """Return "open" where JDBC alone, without psycopg before it, opens a connection, else what it says."""
    jvm: Any = open_session(load_config(laptop.file, os.environ))._jvm
    properties = jvm.java.util.Properties()
    for name, value in credentials_of(source).items():
        properties.setProperty(name, value)
    try:
        jvm.org.postgresql.Driver().connect(jdbc_url(source), properties).close()
    except Exception as error:  # noqa: BLE001  (py4j's)
        return str(error)
    return "open"


def test_a_run_reads_through_tls_and_verify_ca_takes_a_certificate_for_another_host(
    shop: Laptop, right: int, misnamed: int, authority: Authority
) -> None:
    wanted = {
        "require": (right, None),
        "verify-full": (right, authority),
        "verify-ca": (right, authority),
        "verify-ca, misnamed": (misnamed, authority),
    }
    sources = {}
    plain, table = dict(shop.settings["sources"]["prd"]), shop.settings["tables"]["customer"]
    shop.settings |= {"sources": {}, "tables": {}, "marts": {}}
    for number, (name, (port, root)) in enumerate(wanted.items()):
        shop.settings["sources"]["prd"] = dict(plain)
        shop.settings["tables"][f"customer_{number}"] = {**table, "source": "prd"}
        sources[name] = demand(shop, port, name.partition(",")[0], root)
        shop.settings["sources"][f"s{number}"] = shop.settings["sources"].pop("prd")
        shop.settings["tables"][f"customer_{number}"]["source"] = f"s{number}"
    report = shop.save().run()["tables"]
    assert [part["rows_read"] for part in report.values()] == [20] * len(wanted)
    assert {name: jdbc(shop, source) for name, source in sources.items()} == dict.fromkeys(wanted, "open")


def refused(laptop: Laptop, source: PostgresSource) -> tuple[str, str]:
    """Return what a run and JDBC say of a source that neither of them may read; the run gives up soon."""
    ended = laptop.command("run")
    assert ended.exit_code == 1, "trying again is no use"
    error = ended.report["tables"]["customer"]["error"]
    assert "sslmode" in error["hint"]
    assert laptop.timestamp() is None
    return error["message"], jdbc(laptop, source)


@pytest.mark.parametrize("sslmode", ["require", "verify-ca", "verify-full"])
def test_a_certificate_of_another_authority_is_refused(
    shop: Laptop, right: int, stranger: Authority, sslmode: str
) -> None:
    message, driver = refused(shop, demand(shop, right, sslmode, stranger))
    assert "certificate verify failed" in message
    assert "SSL error" in driver


def test_verify_full_refuses_a_certificate_for_another_host(
    shop: Laptop, misnamed: int, authority: Authority
) -> None:
    message, driver = refused(shop, demand(shop, misnamed, "verify-full", authority))
    assert 'does not match host name "127.0.0.1"' in message
    assert "could not be verified" in driver


@pytest.mark.parametrize("sslmode", ["require", "verify-full"])
def test_a_server_without_tls_is_refused(
    shop: Laptop, databases: Databases, authority: Authority, sslmode: str
) -> None:
    source = demand(shop, databases.server.port, sslmode, None if sslmode == "require" else authority)
    message, driver = refused(shop, source)
    assert "server does not support SSL" in message
    assert "does not support SSL" in driver


def test_a_root_certificate_that_is_not_there_is_named(shop: Laptop, right: int, tmp_path: Path) -> None:
    gone = Authority.made(tmp_path, "gone")
    gone.root.unlink()
    message, driver = refused(shop, demand(shop, right, "verify-full", gone))
    assert "gone.pem" in message
    assert "gone.pem" in driver
