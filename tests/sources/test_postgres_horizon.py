"""Rule R15 on a real PostgreSQL: what the horizon cannot see, it knows, and names; a lookback stands in."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.errors import QueryCanceled

from iceberg_datamart.core.settings.model import PostgresSource, SourceName, TableConfig
from iceberg_datamart.core.state.watermark import LOOKBACK
from iceberg_datamart.sources.postgres.activity import activity
from iceberg_datamart.sources.postgres.horizon import UNSEEN_START
from iceberg_datamart.sources.postgres.relations import written_elsewhere
from iceberg_datamart.sources.postgres.session import PostgresSession
from support.servers.roles import role_of

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

    from iceberg_datamart.core.state.watermark import Horizon
    from support.worlds.laptop import Databases

    Connection = psycopg.Connection[Any]

ITEM = TableConfig.model_validate({"source": "prd", "from": "item", "primary_key": ["id"], "cursor": "at"})


@pytest.fixture
def url(databases: Databases, database: str, connection: Connection) -> str:
    connection.execute("create table item (id int primary key, at timestamptz not null default now())")
    return databases.server.url(database)


def point(url: str, name: str = "item") -> tuple[Horizon, list[str], str | None]:
    """Return the horizon of a session that reads table `name`, its warnings, and why no writer is seen."""
    config = PostgresSource.model_validate({"type": "postgres", "url": url})
    settings = ITEM.model_copy(update={"from_": SourceName("public", name)})
    with closing(PostgresSession("prd", config)) as session:
        assert session.lock({"t": settings}) == {}
        found = session.describe("t", settings).facts
        return session.pin_snapshot(), session.warnings, found.written_elsewhere


def is_guess(horizon: Horizon) -> bool:
    return not horizon.visible and horizon.instant <= horizon.clock - LOOKBACK


def test_r15_with_all_in_sight_the_horizon_is_exact(url: str, other: Connection) -> None:
    horizon, warnings, _ = point(url)
    assert (horizon.visible, horizon.instant, warnings) == (True, horizon.clock - UNSEEN_START, [])
    other.execute("begin")
    (began,) = other.execute("select now()").fetchall()[0]
    horizon, warnings, _ = point(url)
    assert (horizon.visible, horizon.held_since, warnings) == (True, began, [])
    assert horizon.instant == min(began, horizon.clock - UNSEEN_START)


def test_r7_a_statement_that_commits_within_holds_the_horizon_at_its_own_start(
    url: str, connection: Connection, other: Connection
) -> None:
    """Its statement_timestamp() is a cursor value, in each of its transactions."""
    connection.execute(
        "create procedure batches() language plpgsql as $$ begin commit; loop"
        " perform pg_sleep(0.05); commit; end loop; end $$"
    )
    with ThreadPoolExecutor() as pool:
        statement = pool.submit(other.execute, "call batches()")
        try:
            began = wait_for(connection, other.info.backend_pid)
            time.sleep(UNSEEN_START.total_seconds() + 0.5)
            horizon, _, _ = point(url)
        finally:
            connection.execute("select pg_cancel_backend(%s)", (other.info.backend_pid,))
        with pytest.raises(QueryCanceled):
            statement.result()
    assert horizon.instant == horizon.held_since == began


def wait_for(connection: Connection, pid: int) -> datetime:
    """Return when a session's present statement began, once the statement has committed within."""
    while True:
        query = "select query_start, xact_start from pg_stat_activity where pid = %s and state = 'active'"
        for began, now in connection.execute(query, (pid,)).fetchall():
            if now is not None and now > began:
                return began
        time.sleep(0.02)


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize(
    ("options", "grant", "is_seen"),
    [
        ("", None, False),
        ("noinherit", "pg_read_all_stats", False),
        ("", "pg_read_all_stats", True),
        ("", "pg_monitor", True),
        ("superuser", None, True),
    ],
)
def test_r15_a_right_that_is_not_inherited_is_no_right(
    connection: Connection, options: str, grant: str | None, *, is_seen: bool
) -> None:
    role = f"reader_of_{connection.info.dbname}"
    with role_of(connection, role, "grant select on item to {role}", options) as reader:
        if grant is not None:
            inherit = " with inherit false" if "noinherit" in options else ""
            version = connection.info.server_version >= 160000
            connection.execute(f"grant {grant} to {role}{inherit if version else ''}")
        horizon, warnings, _ = point(reader)
    assert horizon.visible == is_seen
    assert is_guess(horizon) == (not is_seen)
    assert ["GRANT pg_read_all_stats" in text for text in warnings] == [True] * (not is_seen)


def test_r15_a_session_that_hides_its_transaction_is_named(url: str, other: Connection) -> None:
    other.execute("set application_name = 'shy'; set track_activities = off")
    other.execute("begin; insert into item values (1)")
    named = f"session {other.info.backend_pid} 'shy' of {other.info.user} (its track_activities is off)"
    horizon, warnings, _ = point(url)
    assert is_guess(horizon)
    assert named in warnings[0]
    config = PostgresSource.model_validate({"type": "postgres", "url": url})
    assert named in (activity("prd", config).inexact or "")
    other.execute("set track_activities = on")
    horizon, warnings, _ = point(url)
    assert is_guess(horizon), "its transaction began before"
    assert "was off when its transaction began" in warnings[0]
    other.execute("commit")
    assert point(url)[0].visible


def test_r15_a_transaction_that_is_older_than_the_lookback_counts_where_others_are_hidden(
    url: str, connection: Connection, other: Connection
) -> None:
    connection.execute("begin; insert into item values (1); prepare transaction 'half done'")
    other.execute("set track_activities = off")
    try:
        horizon, _, _ = point(url)
    finally:
        connection.execute("rollback prepared 'half done'")
    assert is_guess(horizon)
    assert horizon.held_since is not None
    assert horizon.instant <= horizon.held_since


ELSEWHERE = """
create foreign data wrapper nothing;
create server nowhere foreign data wrapper nothing;
create table ev (id int, at timestamptz) partition by range (id);
create table ev_1 partition of ev for values from (1) to (10);
create foreign table ev_2 partition of ev for values from (10) to (20) server nowhere;
create materialized view kept as select id, at from item;
create view plain as select id, at from item;
create view above as select k.id, k.at from plain p join kept k using (id);
create table filled (id int primary key, at timestamptz);
create subscription feed connection 'host=127.0.0.1' publication p with (connect = false, slot_name = none);
insert into pg_subscription_rel values
    ((select oid from pg_subscription where subname = 'feed'), 'filled'::regclass, 'r', null);
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ev_2", "public.ev_2 is a foreign table"),
        ("ev", "public.ev_2 is a foreign table"),
        ("kept", "public.kept is a materialized view"),
        ("above", "public.kept is a materialized view"),
        ("filled", "public.filled is filled by a subscription"),
        ("ev_1", None),
        ("plain", None),
        ("item", None),
    ],
)
def test_r15_writers_elsewhere_are_known_of_every_relation_that_is_read(
    url: str, connection: Connection, name: str, words: str | None
) -> None:
    connection.execute("set allow_system_table_mods = on")
    connection.execute(ELSEWHERE)
    try:
        (oid,) = connection.execute("select %s::regclass::oid::int8", [name]).fetchall()[0]
        why = written_elsewhere(connection, oid)
    finally:
        connection.execute("drop subscription feed")
    assert (why is None) == (words is None)
    assert (words or "") in (why or "")
    assert url


def test_r15_a_table_written_elsewhere_is_warned_of_by_name(url: str, connection: Connection) -> None:
    connection.execute("create materialized view kept as select id, at from item")
    horizon, warnings, why = point(url, "kept")
    assert horizon.visible, "the source's own horizon is exact"
    assert why is not None
    assert warnings[0].startswith(f"table 't': {why}")
    assert "`reconcile`" in warnings[0]
    assert point(url)[1:] == ([], None)
