"""A PostgreSQL server of one's own in one folder: made, started and stopped without Docker or root."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg

from iceberg_datamart.embedded.programs import give_to_owner, prepare_data_directory, run_program
from iceberg_datamart.errors import DatamartError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from subprocess import CompletedProcess

HOST = "127.0.0.1"
USER = "datamart"
LOG_LINES = 8

_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
_OWN_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# A crash of the machine may then lose the cluster; a crash of the server may not.
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class EmbeddedPostgres:
    """A server that accepts connections at `url()`; only `start` issues one."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    data_directory: Path

    def url(self, database: str = "postgres") -> str:
        """Return the connection URL of `database`, percent-encoded."""
        user, password, name = (quote(part, safe="") for part in (self.user, self.password, database))
        return f"postgresql://{user}:{password}@{self.host}:{self.port}/{name}"


def create(
    directory: Path,
    *,
    password: str | None = None,
    durable: bool = True,
    settings: Mapping[str, str] = _NO_SETTINGS,
) -> None:
    """Make a stopped server in `directory`, with a random password unless one is given.

    `settings` are lines of postgresql.conf and stay for good. Not `durable` is for tests only.
    Raises: DatamartError where a server is there already.
    """
    with _locked(directory, make=True):
        if exists(directory):
            message = f"{directory} holds a PostgreSQL server already."
            raise DatamartError(message, hint="Start that one, or choose another folder.")
        chosen = password or secrets.token_urlsafe(24)
        unfinished = directory / "data.unfinished"
        prepare_data_directory(unfinished)
        _initialise(unfinished, chosen, {**_OWN_SETTINGS, **({} if durable else _NOT_DURABLE), **settings})
        _save(directory, EmbeddedPostgres(HOST, _free_port(), USER, chosen, _data(directory)))
        unfinished.rename(_data(directory))


def exists(directory: Path) -> bool:
    """Say whether a finished `create` left a server in `directory`, running or not."""
    return _data(directory).is_dir()


def start(directory: Path) -> EmbeddedPostgres:
    """Return the server of `directory`, started now unless it runs already.

    It listens on the port of its last start, or on another where that one was taken since.
    Raises: DatamartError with the end of the server's log where it does not start.
    """
    with _locked(directory):
        server = _saved(directory)
        return server if _answers(server) else _started(directory, server)


def stop(directory: Path) -> None:
    """Stop the server of `directory`, if it runs; open transactions are rolled back."""
    if not exists(directory):
        return
    with _locked(directory):
        if not _is_stopped(directory):
            result = run_program("pg_ctl", _data(directory), "stop", "-w", "-m", "fast")
            if result.returncode != 0 and not _is_stopped(directory):
                raise _failure(directory, "did not stop", result)


@contextmanager
def running(
    directory: Path, *, durable: bool = True, settings: Mapping[str, str] = _NO_SETTINGS
) -> Iterator[EmbeddedPostgres]:
    """Yield the server of `directory`, made where there is none; one that ran before is left running."""
    if not exists(directory):
        create(directory, durable=durable, settings=settings)
    ran_before = _answers(_saved(directory))
    try:
        yield start(directory)
    finally:
        if not ran_before:
            stop(directory)


def _data(directory: Path) -> Path:
    return directory.absolute() / "data"


@contextmanager
def _locked(directory: Path, *, make: bool = False) -> Iterator[None]:
    """Keep other processes from making, starting or stopping the same server meanwhile."""
    try:
        if make:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError as error:
        message = f"{directory} cannot be opened: {error}"
        raise DatamartError(message, hint="A PostgreSQL server needs a folder of your own.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _initialise(data: Path, password: str, settings: Mapping[str, str]) -> None:
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    if settings.get("fsync") == "off":
        options.append("--no-sync")
    with tempfile.TemporaryFile("w+", encoding="utf-8") as password_file:
        password_file.write(password)
        password_file.seek(0)
        give_to_owner(password_file, data)
        login = ("-U", USER, "-A", "scram-sha-256", "--pwfile=/dev/stdin")
        locale = ("-E", "UTF8", "--locale=C", "--no-instructions")
        result = run_program("initdb", data, *login, *locale, *options, stdin=password_file)
    if result.returncode != 0:
        raise _failure(data.parent, "could not be made", result)


def _save(directory: Path, server: EmbeddedPostgres) -> None:
    state = json.dumps({"port": server.port, "password": server.password})
    with tempfile.NamedTemporaryFile("w", dir=directory, delete=False) as fresh:  # mode 0600
        fresh.write(state)
        give_to_owner(fresh, directory)
    Path(fresh.name).replace(directory / "server.json")


def _saved(directory: Path) -> EmbeddedPostgres:
    try:
        state = json.loads((directory / "server.json").read_text())
        return EmbeddedPostgres(HOST, state["port"], USER, state["password"], _data(directory))
    except (OSError, ValueError, KeyError) as error:
        message = f"{directory} holds no PostgreSQL server that can be started: {error}"
        raise DatamartError(message, hint="Make one in an empty folder.") from error


def _answers(server: EmbeddedPostgres) -> bool:
    """Say whether this very server runs: nobody else on its port would accept its password."""
    if not (server.data_directory / "postmaster.pid").exists():
        return False
    try:
        psycopg.connect(server.url(), connect_timeout=2, sslmode="disable").close()
    except psycopg.OperationalError:
        return False
    return True


def _is_stopped(directory: Path) -> bool:
    """Say whether nothing runs, so that no stale process number of an earlier boot gets a signal."""
    if not (_data(directory) / "postmaster.pid").exists() or _is_free(_saved(directory).port):
        return True
    return run_program("pg_ctl", _data(directory), "status").returncode != 0


def _started(directory: Path, saved: EmbeddedPostgres) -> EmbeddedPostgres:
    server = saved
    while True:
        server = server if _is_free(server.port) else replace(server, port=_free_port())
        _save(directory, server)
        log, port = ("-l", "server.log"), ("-o", f"-p {server.port}")
        result = run_program("pg_ctl", server.data_directory, "start", "-w", *log, *port)
        if result.returncode == 0:
            return server
        if _is_free(server.port):  # else another program took the port a moment before
            _save(directory, saved)
            raise _failure(directory, "did not start", result)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL does
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _failure(directory: Path, what: str, result: CompletedProcess[str]) -> DatamartError:
    log = _data(directory) / "server.log"
    logged = log.read_text(errors="replace").splitlines() if log.exists() else []
    end = "\n".join([*logged[-LOG_LINES:], *result.stderr.splitlines()[-LOG_LINES:]])
    hint = f"The whole log is {log}." if logged else ""
    return DatamartError(f"The PostgreSQL server in {directory} {what}:\n{end}", hint=hint)
