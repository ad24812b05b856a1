"""Rule R16 on a real PostgreSQL: locks first, then the snapshot; waits are told, bounded, and harm nobody."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from iceberg_datamart.core.settings.model import PostgresSource, TableConfig
from iceberg_datamart.core.state.watermark import ReadWindow
from iceberg_datamart.errors import (
    SourceLockedError,
    SourceTableMissingError,
    SourceUnreachableError,
)
from iceberg_datamart.sources.postgres import locks as postgres_locks
from iceberg_datamart.sources.postgres.session import PostgresSession
from support.servers.roles import role_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iceberg_datamart.sources.postgres.table import PostgresTable
    from support.worlds.laptop import Databases

    Connection = psycopg.Connection[Any]

ALL = ReadWindow()
WAITS = "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
TABLES = """
create table item (id int primary key, at timestamptz default now());
insert into item select generate_series(1, 10);
create table ev (id int, d date, at timestamptz default now(), primary key (id, d)) partition by range (d);
create table ev_1 partition of ev for values from ('2024-01-01') to ('2025-01-01');
insert into ev select i, '2024-02-01' from generate_series(1, 10) i;
create table parent (id int primary key); create table child () inherits (parent);
insert into child select generate_series(1, 10);
create view seen as select e.id, e.at from ev e;
create view above as select id from seen;
create materialized view kept as select id from item;
"""


def table(name: str, **settings: Any) -> TableConfig:
    return TableConfig.model_validate({"source": "prd", "from": name, "primary_key": ["id"], **settings})


@pytest.fixture
def config(databases: Databases, database: str, connection: Connection) -> PostgresSource:
    connection.execute(TABLES)
    return source(databases.server.url(database))


def source(url: str, **settings: Any) -> PostgresSource:
    return PostgresSource.model_validate({"type": "postgres", "url": url, **settings})


@contextmanager
def session(config: PostgresSource) -> Iterator[PostgresSession]:
    with closing(PostgresSession("prd", config)) as opened:
        yield opened


def at_point(opened: PostgresSession, **tables: TableConfig) -> dict[str, PostgresTable]:
    """Take a session through the order of a run, up to its point; return the tables."""
    assert opened.lock(tables) == {}
    found = {name: opened.describe(name, settings) for name, settings in tables.items()}
    opened.pin_snapshot()
    return found


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """Work in another thread; an error of either ends the other's wait, since sessions are closed then."""
    failed: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  (raised below)
            failed.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    yield
    thread.join(timeout=30)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


def until_someone_waits(connection: Connection) -> None:
    deadline = time.monotonic() + 20
    while connection.execute(WAITS).fetchone() is None:
        assert time.monotonic() < deadline, "nobody waits for a lock"
        time.sleep(0.05)


REWRITES = {
    "ev_1": ("ev", "alter table ev_1 set unlogged; alter table ev_1 set logged"),
    "ev": ("ev", "alter table ev add column n float8 default random()"),
    "child": ("parent", "truncate child; insert into child select generate_series(1, 10)"),
    "item": ("item", "alter table item rename to old; create table item as table old"),
    "through views": ("above", "truncate ev_1; insert into ev select i, '2024-02-01' from generate_series(1, 10) i"),  # noqa: E501
    "a refresh": ("kept", "refresh materialized view kept"),
}  # fmt: skip


@pytest.mark.parametrize("case", REWRITES)
def test_r16_a_table_rewritten_while_its_lock_is_waited_for_is_read_whole(
    config: PostgresSource, connection: Connection, other: Connection, case: str
) -> None:
    name, statements = REWRITES[case]
    other.execute("begin")
    other.execute(statements.partition(";")[0])

    def finish() -> None:
        until_someone_waits(connection)
        rest = statements.partition(";")[2]
        other.execute(f"{rest}; commit" if rest else "commit")

    with session(config) as opened, meanwhile(finish):
        assert at_point(opened, t=table(name))["t"].probe(ALL).rows == 10


@pytest.mark.parametrize("name", ["item", "ev", "parent", "above", "kept"])
def test_r16_no_ddl_gets_at_what_is_read_until_the_point_is_given_up(
    config: PostgresSource, connection: Connection, name: str
) -> None:
    leaf = {"ev": "ev_1", "parent": "child", "above": "ev_1"}.get(name, name)
    ddl = "refresh materialized view kept" if name == "kept" else f"truncate {leaf}"
    connection.execute("set lock_timeout = '100ms'")
    with session(config) as opened:
        assert opened.lock({"t": table(name)}) == {}
        with pytest.raises(psycopg.errors.LockNotAvailable):
            connection.execute(ddl)
        described = opened.describe("t", table(name))
        opened.pin_snapshot()
        with pytest.raises(psycopg.errors.LockNotAvailable):
            connection.execute(ddl)
        assert described.probe(ALL).rows == 10
    connection.execute(ddl)


def test_r16_what_is_described_is_true_at_the_point(
    config: PostgresSource, connection: Connection, other: Connection
) -> None:
    other.execute(
        "begin; alter table item drop constraint item_pkey; alter table item rename at to changed_at"
    )

    def finish() -> None:
        until_someone_waits(connection)
        other.execute("commit")

    with session(config) as opened, meanwhile(finish):
        assert opened.lock({"t": table("item")}) == {}
        found = opened.describe("t", table("item")).facts
    assert not found.key_is_unique
    assert [column.name for column in found.columns] == ["id", "changed_at"]


def test_r16_a_role_with_rights_on_columns_alone_locks_what_it_reads(
    databases: Databases, database: str, config: PostgresSource, connection: Connection
) -> None:
    grants = "grant select (id) on item to {role}"
    with (
        role_of(connection, f"columns_of_{database}", grants) as url,
        session(source(url)) as opened,
    ):
        at_point(opened, t=table("item", exclude=["at"]))
        with databases.connected(database) as one, pytest.raises(psycopg.errors.LockNotAvailable):
            one.execute("set lock_timeout = '100ms'; truncate item")
    assert config.url != url


def test_r16_a_wait_is_told_with_who_holds_the_lock_and_ends_at_the_bound(
    config: PostgresSource,
    other: Connection,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres_locks, "_LEAST_WAIT", 1.0)
    other.execute("set application_name = 'month end'; begin; lock table ev_1 in access exclusive mode")
    patient = config.model_copy(update={"lock_wait_seconds": 2.0})
    started = time.monotonic()
    with session(patient) as opened, caplog.at_level(logging.WARNING):
        failed = opened.lock({"a": table("item"), "b": table("ev"), "c": table("parent")})
        assert 2 <= time.monotonic() - started < 10
        assert list(failed) == ["b"]
        described = opened.describe("a", table("item"))
        opened.pin_snapshot()
        assert described.probe(ALL).rows == 10, "one locked table keeps no other from being read"
    holder = f"session {other.info.backend_pid} 'month end' of {other.info.user}, idle in transaction"
    assert isinstance(failed["b"], SourceLockedError)
    assert failed["b"].exit_code == 75
    for text in (failed["b"].message, caplog.messages[0]):
        assert "'b'" in text
        assert holder in text
        assert "lock table ev_1" in text
    assert "sources.prd.lock_wait_seconds" in failed["b"].hint


def test_r16_a_prepared_transaction_that_holds_a_lock_is_named(
    config: PostgresSource, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_locks, "_LEAST_WAIT", 0.1)
    connection.execute("begin; truncate item; prepare transaction 'half done'")
    try:
        with session(config.model_copy(update={"lock_wait_seconds": 0.1})) as opened:
            failed = opened.lock({"t": table("item")})
    finally:
        connection.execute("rollback prepared 'half done'")
    assert "prepared transaction 'half done'" in failed["t"].message


def test_r16_ddl_on_two_tables_is_no_victim_of_a_deadlock_with_a_run_that_waits(
    config: PostgresSource, connection: Connection, other: Connection
) -> None:
    other.execute("begin; lock table item in access exclusive mode")

    def finish() -> None:
        until_someone_waits(connection)
        other.execute("lock table ev in access exclusive mode")  # which the run reads, too
        time.sleep(1.5)  # longer than deadlock_timeout
        other.execute("commit")

    with session(config) as opened, meanwhile(finish):
        assert at_point(opened, a=table("ev"), b=table("item"))["a"].probe(ALL).rows == 10


def test_r16_a_reader_behind_ddl_that_waits_for_the_point_gives_up_soon(
    config: PostgresSource, connection: Connection, other: Connection
) -> None:
    with session(config) as opened:
        described = at_point(opened, t=table("item"))["t"]
        with meanwhile(lambda: other.execute("truncate item")):
            until_someone_waits(connection)
            assert described.probe(ALL).rows == 10, "the point's own session holds its locks"
            read = described.read(ALL)
            assert "-c%20lock_timeout%3D3000" in read.url
            started = time.monotonic()
            with psycopg.connect(config.url) as reader:
                reader.execute(read.session)
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    reader.execute(f"select * from {read.relation}")
            assert time.monotonic() - started < 10
            opened.close()


def test_r16_a_child_added_after_the_locks_means_a_fresh_point(
    config: PostgresSource, connection: Connection
) -> None:
    with session(config) as opened:
        assert opened.lock({"t": table("parent")}) == {}
        opened.describe("t", table("parent"))
        connection.execute("create table late () inherits (parent)")
        with pytest.raises(SourceUnreachableError, match=r"public\.late was added"):
            opened.pin_snapshot()


def test_r16_a_table_that_is_missing_fails_alone(config: PostgresSource) -> None:
    with session(config) as opened:
        failed = opened.lock(
            {"a": table("nowhere"), "b": table("item", soft_delete="no_column"), "c": table("ev")}
        )
        assert isinstance(failed.pop("a"), SourceTableMissingError)
        assert "no_column" in failed.pop("b").message
        assert failed == {}
        described = opened.describe("c", table("ev"))
        opened.pin_snapshot()
        assert described.probe(ALL).rows == 10
