"""One PostgreSQL and one S3 server for all tests that need one; each test gets a database and a folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings as hypothesis_settings

from support.servers import parts as servers
from support.shops.shop import open_shop
from support.worlds.laptop import Databases, Laptop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from support.oracles.oracle import Oracle
    from support.servers.s3_server import S3Server

    Connection = psycopg.Connection[Any]

pytest_plugins = ["support.timings", "support.groups"]

# Time limits for single examples fail on a busy machine and tell nothing.
hypothesis_settings.register_profile("steady", deadline=None)
# The same examples each time: `make test` asks for them where each is a run.
hypothesis_settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


def pytest_report_header() -> list[str]:
    """Say where PostgreSQL and S3 come from; no test is skipped for lack of Docker."""
    return servers.header(servers.origin())


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Yield the server; every line of its log begins with the database's name."""
    directory = tmp_path_factory.mktemp("postgres")
    settings = {"log_line_prefix": "%d ", "max_prepared_transactions": "4"}
    with servers.postgres_server(directory, settings) as server:
        yield Databases(server)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Yield an S3 server with one bucket, which all tests share: each has keys of its own."""
    with servers.s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def database(databases: Databases) -> str:
    """Return the name of a fresh, empty database."""
    return databases.new()


@pytest.fixture
def laptop(tmp_path: Path, databases: Databases, database: str) -> Laptop:
    """Return a folder whose source is the test's database; nothing is configured yet."""
    return Laptop(tmp_path, databases.server.url(database))


@pytest.fixture
def connection(databases: Databases, database: str) -> Iterator[Connection]:
    with databases.connected(database) as opened:
        yield opened


@pytest.fixture
def other(databases: Databases, database: str) -> Iterator[Connection]:
    """Yield a second session, for transactions that stay open."""
    with databases.connected(database) as opened:
        yield opened


@pytest.fixture
def oracle(laptop: Laptop, connection: Connection) -> Oracle:
    """Return the oracle of a shop whose first, full run is done."""
    found = open_shop(laptop, connection)
    laptop.run()
    found.follow(full=True)
    return found
