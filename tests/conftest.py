"""One PostgreSQL and one S3 server for all tests that need one; each test gets a database and a folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings as hypothesis_settings

from iceberg_datamart.core.engines import SPARK
from support.servers import parts as servers
from support.shops.loaded_shop import LoadedShop
from support.shops.shop import oracle_of
from support.worlds import shared_classes
from support.worlds.laptop import Databases, Laptop, usual_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from support.oracles.oracle import Oracle
    from support.servers.s3_server import S3Server

    Connection = psycopg.Connection[Any]

pytest_plugins = ["support.engines", "support.groups", "support.timings"]

# Time limits for single examples fail on a busy machine and tell nothing.
hypothesis_settings.register_profile("steady", deadline=None)
# The same examples each time: `make test` asks for them where each is a run.
hypothesis_settings.register_profile("repeatable", deadline=None, derandomize=True)
# Fewer of them: `make check` asks for them, and `make test` for all.
hypothesis_settings.register_profile("quick", deadline=None, max_examples=10)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

shared_classes.share()


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


@pytest.fixture(scope="session")
def loaded_shop(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> LoadedShop:
    """Return the shop after its first run; all tests that ask for `oracle` share its place."""
    return LoadedShop(databases, tmp_path_factory.mktemp("shop"))


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """Return the engine of a test's runs."""
    marked = request.node.get_closest_marker("spark") is not None
    return str(getattr(request, "param", SPARK if marked else usual_engine()))


@pytest.fixture
def laptop(request: pytest.FixtureRequest, tmp_path: Path, databases: Databases, engine: str) -> Laptop:
    """Return a folder whose source is an empty database; for tests that ask for `oracle`, the loaded shop."""
    if loaded_shop.__name__ in request.fixturenames:
        return request.getfixturevalue(loaded_shop.__name__).restored(engine)
    return Laptop(tmp_path, databases.server.url(databases.new()), engine=engine)


@pytest.fixture
def database(laptop: Laptop) -> str:
    """Return the name of the database that is the laptop's source."""
    return laptop.url.rpartition("/")[2]


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
def oracle(loaded_shop: LoadedShop, connection: Connection) -> Oracle:
    """Return the oracle of a shop whose first, full run is done."""
    del loaded_shop  # it is what `laptop` and `connection` lead to
    return oracle_of(connection)
