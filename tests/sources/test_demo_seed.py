"""The demo source is the same everywhere, and its changes are what they say they are."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from iceberg_datamart.demo.changes import change, clustered_change, late_commit, scattered_change
from iceberg_datamart.demo.seed import create_tables, load
from iceberg_datamart.embedded import postgres
from support.shops.settlements import KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Connection = psycopg.Connection[Any]
    Opened = Callable[[], Connection]

ROWS = 2000
JOIN = """
    from account join account_metadata using (account_id) join account_risk using (account_id)
    join queue using (account_id) join settlement_transaction using (queue_id)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.EmbeddedPostgres]:
    """Yield a server whose database `loaded` holds the demo and is copied by the tests."""
    with postgres.running(tmp_path_factory.mktemp("demo"), durable=False) as started:
        with psycopg.connect(started.url(), autocommit=True) as connection:
            connection.execute("create database loaded")
        with psycopg.connect(started.url("loaded")) as connection:
            create_tables(connection)
            load(connection, ROWS)
        yield started


@pytest.fixture
def database(server: postgres.EmbeddedPostgres, numbered: Iterator[int]) -> str:
    """Return the URL of a fresh copy of the loaded database."""
    return copied(server, f"copy_{next(numbered)}", "loaded")


@pytest.fixture(scope="module")
def numbered() -> Iterator[int]:
    return count()


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with psycopg.connect(database) as opened:
        yield opened


def copied(server: postgres.EmbeddedPostgres, name: str, template: str) -> str:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        statement = sql.SQL("create database {} template {}")
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    return server.url(name)


def values(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query, and leave no transaction open."""
    with connection.transaction():
        return connection.execute(query).fetchall()


def checksums(connection: Connection) -> dict[str, str]:
    query = "select md5(string_agg(t::text, '|' order by {})) from {} as t"
    with connection.transaction():
        connection.execute("set local time zone 'UTC'; set local datestyle = 'ISO'")
        return {
            table: connection.execute(query.format(key, table)).fetchone()[0] for table, key in KEYS.items()
        }


def contents(connection: Connection) -> dict[str, dict[int, dict[str, Any]]]:
    """Return every table's rows as JSON by key."""
    query = "select {}, to_jsonb(t) from {} as t"
    return {table: dict(values(connection, query.format(key, table))) for table, key in KEYS.items()}


def test_the_same_seed_gives_the_same_rows_in_every_time_zone(
    server: postgres.EmbeddedPostgres, connection: Connection
) -> None:
    with psycopg.connect(copied(server, "again", "template0"), autocommit=True) as other:
        other.execute("set time zone 'Pacific/Chatham'; set datestyle = 'SQL, DMY'")
        create_tables(other)
        load(other, ROWS, seed=7)
        assert checksums(other) == checksums(connection)


def test_another_seed_gives_other_rows_in_every_table(
    server: postgres.EmbeddedPostgres, connection: Connection
) -> None:
    with psycopg.connect(copied(server, "other_seed", "template0")) as other:
        create_tables(other)
        load(other, ROWS, seed=-8)
        assert not set(checksums(other).items()) & set(checksums(connection).items())


def test_the_numbers_of_rows_follow_from_the_settlement_transactions(connection: Connection) -> None:
    sizes = {table: len(rows) for table, rows in contents(connection).items()}
    accounts = ROWS // 25
    assert accounts * 0.9 < sizes.pop("account_metadata") < accounts
    assert accounts * 0.9 < sizes.pop("account_risk") < accounts
    assert sizes == {"account": 80, "queue": 200, "settlement_transaction": 2000, "adjustment": 100}


def test_the_join_keeps_most_transactions_and_drops_some(connection: Connection) -> None:
    ((joined,),) = values(connection, f"select count(*) {JOIN}")
    assert ROWS * 0.8 < joined < ROWS


def test_every_child_names_a_parent_that_is_there(connection: Connection) -> None:
    orphans = """
        select
            (select count(*) from settlement_transaction where queue_id not in (select queue_id from queue)),
            (select count(*) from queue where account_id not in (select account_id from account)),
            (select count(*) from adjustment
                where transaction_id not in (select transaction_id from settlement_transaction))
    """
    assert values(connection, orphans) == [(0, 0, 0)]


def test_loaded_rows_are_older_than_any_clock_and_differ_in_microseconds(connection: Connection) -> None:
    query = """
        select min(created_at) >= '2025-01-01 00:00Z' and max(created_at) < '2025-07-01 00:00Z',
            count(distinct extract(microseconds from created_at)::bigint % 1000000) > 1900
        from settlement_transaction
    """
    assert values(connection, query) == [(True, True)]


def test_every_cursor_column_has_an_index(connection: Connection) -> None:
    query = """
        select tablename from pg_indexes
        where indexdef like '%(updated_at)' or indexdef like '%settlement_transaction %(created_at)'
    """
    assert {table for (table,) in values(connection, query)} == set(KEYS)


def test_a_load_of_one_row_has_one_of_everything(server: postgres.EmbeddedPostgres) -> None:
    with psycopg.connect(copied(server, "single", "template0")) as connection:
        create_tables(connection)
        load(connection, 1)
        counts = "select (select count(*) from account), (select count(*) from adjustment)"
        assert values(connection, counts) == [(1, 1)]


def test_a_change_does_what_its_summary_counts(connection: Connection) -> None:
    before = contents(connection)
    summary = change(connection, seed=1, size=100)
    after = contents(connection)

    def inserted(table: str) -> int:
        return len(after[table].keys() - before[table].keys())

    def deleted(table: str) -> int:
        return len(before[table].keys() - after[table].keys())

    def updated(table: str, column: str = "updated_at") -> int:
        kept = before[table].keys() & after[table].keys()
        return sum(before[table][key][column] != after[table][key][column] for key in kept)

    assert inserted("account") == summary.accounts_inserted == 2
    assert inserted("queue") == summary.queues_inserted == 10
    assert inserted("settlement_transaction") == summary.transactions_inserted == 100
    assert inserted("adjustment") == summary.adjustments_inserted == 10
    assert updated("account") == updated("account", "credit_limit") == summary.accounts_updated == 10
    assert updated("account_risk") == updated("account_risk", "risk_score") == summary.risks_updated == 10
    assert updated("adjustment") == updated("adjustment", "amount") == summary.adjustments_updated == 10
    tied = updated("account_metadata")
    assert tied == updated("account_metadata", "preferences") == summary.metadata_tied == 10
    assert updated("queue") == updated("queue", "account_id") == summary.queues_moved == 2
    assert deleted("queue") == summary.queues_deleted == 2
    assert deleted("adjustment") == summary.adjustments_deleted == 2
    assert deleted("account") == deleted("settlement_transaction") == 0


def test_settlement_transactions_are_never_updated(connection: Connection) -> None:
    before = contents(connection)["settlement_transaction"]
    change(connection, seed=1)
    assert before.items() <= contents(connection)["settlement_transaction"].items()


def test_changed_rows_carry_the_clock_and_tied_rows_one_instant(connection: Connection) -> None:
    ((began,),) = values(connection, "select clock_timestamp()")
    summary = change(connection, seed=1)
    tied = "select count(*) from account_metadata group by updated_at order by 1 desc limit 1"
    assert values(connection, tied) == [(summary.metadata_tied,)]
    with connection.transaction():
        query = "select count(distinct updated_at) from account_risk where updated_at between %s and now()"
        (instants,) = connection.execute(query, [began]).fetchone()
    assert instants > 1


def test_deleted_queues_leave_transactions_behind(connection: Connection) -> None:
    change(connection, seed=1)
    query = "select count(*) from settlement_transaction where queue_id not in (select queue_id from queue)"
    ((orphans,),) = values(connection, query)
    assert orphans > 0


def test_the_same_seed_makes_the_same_changes(
    server: postgres.EmbeddedPostgres, connection: Connection
) -> None:
    query = """
        select (select jsonb_agg(to_jsonb(q) - 'updated_at' - 'opened_at' order by queue_id) from queue as q),
            (select jsonb_agg(array[transaction_id, queue_id, amount]) from settlement_transaction),
            (select jsonb_agg(array[account_id, risk_score] order by account_id) from account_risk)
    """
    with psycopg.connect(copied(server, "twin", "loaded")) as twin:
        for seed in (1, 2):
            assert change(connection, seed) == change(twin, seed)
        assert values(connection, query) == values(twin, query)


def test_a_change_is_refused_inside_an_open_transaction(connection: Connection) -> None:
    connection.execute("select 1")
    with pytest.raises(ValueError, match="commit or roll back the open transaction first"):
        change(connection, seed=1)


def test_a_late_commit_is_older_than_what_was_seen_before_it(database: str, connection: Connection) -> None:
    with psycopg.connect(database) as late, late_commit(late) as instant:
        change(connection, seed=1)
        ((newest,),) = values(connection, "select max(created_at) from settlement_transaction")
        hidden = contents(connection)
    arrived = contents(connection)
    assert instant < newest
    assert len(arrived["settlement_transaction"].keys() - hidden["settlement_transaction"].keys()) == 2
    with connection.transaction():
        query = "select count(*) from settlement_transaction where created_at = %s"
        assert connection.execute(query, [instant]).fetchone() == (2,)
        query = "select count(*) from account_risk where updated_at = %s"
        assert connection.execute(query, [instant]).fetchone() == (3,)


def test_a_late_commit_that_fails_leaves_nothing(database: str, connection: Connection) -> None:
    before = checksums(connection)
    with psycopg.connect(database) as late, pytest.raises(RuntimeError), late_commit(late):
        raise RuntimeError
    assert checksums(connection) == before


def test_clustered_rows_have_the_next_keys_side_by_side(connection: Connection) -> None:
    ((last,),) = values(connection, "select max(transaction_id) from settlement_transaction")
    assert clustered_change(connection, 50) == 50
    newest = "select transaction_id from settlement_transaction order by created_at desc limit 50"
    assert sorted(key for (key,) in values(connection, newest)) == list(range(last + 1, last + 51))


def test_scattered_rows_are_spread_evenly(connection: Connection) -> None:
    assert scattered_change(connection, 8) == 8
    query = "select account_id from account where updated_at > '2025-07-01Z' order by 1"
    assert [key for (key,) in values(connection, query)] == [10, 20, 30, 40, 50, 60, 70, 80]
    assert scattered_change(connection, 1000) == 80
