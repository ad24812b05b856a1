"""What PostgreSQL tells of how rows are read (R19), and of a source that goes back (R20)."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.errors import QueryCanceled

from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.plan.setbacks import parts_text, setback
from iceberg_datamart.core.settings.model import PostgresSource, TableConfig
from iceberg_datamart.core.source.recipe import recipe_changes, whole_recipe
from iceberg_datamart.core.state.commit import MirrorState
from iceberg_datamart.core.state.watermark import Horizon, Watermark
from iceberg_datamart.errors import SourceError
from iceberg_datamart.sources.postgres.session import PostgresSession
from support.servers.roles import role_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from iceberg_datamart.core.source.reads import SourceTable
    from support.worlds.laptop import Databases, Laptop

    Connection = psycopg.Connection[Any]

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
TYPES = """
create type state as enum ('open', 'closed');
create type place as (street text, number int);
create domain cents as int;
create type span as range (subtype = state);
create table t (id int primary key, n int, amount cents, state state, states state[], place place, code text,
                span span, twice int generated always as (id * 2) stored, updated_at timestamptz);
insert into t (id, n, amount, state, code) values (1, 1, 1, 'open', 'x');
"""


@pytest.fixture
def describe(laptop: Laptop) -> Callable[..., SourceTable]:
    """Return what describes a table as a run does, through a session of its own."""

    def described(name: str = "t", **settings: Any) -> SourceTable:
        table = TableConfig.model_validate(
            {"source": "prd", "from": name, "cursor": "updated_at", **settings}
        )
        source = PostgresSource.model_validate({"type": "postgres", "url": laptop.url})
        with closing(PostgresSession("prd", source)) as session:
            found = session.describe(name, table).facts
            recipe = whole_recipe(found, table)
        return replace(found, recipe=recipe)

    return described


CHANGES = {
    "alter table t alter n type bigint using n * 100": ["column 'n'"],
    "alter table t alter code type varchar(1) using left(code, 1)": ["column 'code'"],
    "alter table t alter amount type int": ["column 'amount'"],
    "alter type state rename value 'open' to 'opened'": [
        *("column 'span'", "column 'state'", "column 'states'"),
    ],
    "alter type place add attribute town text": ["column 'place'"],
    "alter type place rename attribute number to no": ["column 'place'"],
    "alter table t add extra int default 5": ["column 'extra'"],
    "alter table t drop code": [],
    "alter table t alter code set statistics 10": [],
    "comment on table t is 'nothing'": [],
    "insert into t (id) values (2)": [],
}


@pytest.mark.parametrize("statement", CHANGES)
def test_r19_every_change_of_a_column_is_one_of_the_recipe(
    connection: Connection, describe: Callable[..., SourceTable], statement: str
) -> None:
    connection.execute(TYPES)
    before = describe().recipe
    connection.execute(statement)
    assert sorted(recipe_changes(before, describe().recipe)) == CHANGES[statement]


SETTINGS: dict[str, dict[str, Any]] = {
    "soft_delete": {"soft_delete": "state = 'closed'"},
    "column 'code'": {"columns": {"n": {"type": "string"}}},
    "cursor": {"cursor": "seen_at"},
    "cursor_timezone": {"cursor": "seen_at", "cursor_timezone": "Asia/Tokyo"},
    "checks": {"checks": [{"type": "not_null", "columns": ["code"], "on_fail": "reject"}]},
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_r19_every_setting_that_changes_what_a_mirror_holds_is_in_the_recipe(
    connection: Connection, describe: Callable[..., SourceTable], setting: str
) -> None:
    connection.execute(TYPES + "alter table t add seen_at timestamp;")
    before = describe(exclude=["code"]).recipe
    changed = recipe_changes(before, describe(**SETTINGS[setting]).recipe)
    assert setting in changed
    assert "column 'code'" in changed, "it is read again"
    assert describe().recipe == describe().recipe


def test_r19_what_a_soft_delete_reads_counts_though_no_mirror_has_it(
    connection: Connection, describe: Callable[..., SourceTable]
) -> None:
    connection.execute(TYPES)
    settings = {"exclude": ["state"], "soft_delete": "state = 'open'"}
    before = describe(**settings).recipe
    connection.execute("alter type state rename value 'closed' to 'shut'")
    changes = recipe_changes(before, describe(**settings).recipe)
    assert "what soft_delete reads" in changes


def changed_in_view(connection: Connection, describe: Callable[..., SourceTable], statement: str) -> set[str]:
    """Return what decides how view `v` is read, and is not after the statement as before."""
    before = describe("v", primary_key=["id"]).recipe
    connection.execute(statement)
    return set(recipe_changes(before, describe("v", primary_key=["id"]).recipe))


BELOW = {
    "create or replace view below as select id, n + 1 as n, state, updated_at from t": True,
    "create or replace function doubled(int) returns int language sql stable as 'select $1 * 3'": True,
    "alter type state rename value 'closed' to 'shut'": True,
    "create or replace view beside as select id, n + 2 as n from t": False,
    "insert into t (id) values (8)": False,
}


@pytest.mark.parametrize("statement", BELOW)
def test_r19_what_a_view_stands_on_counts_as_its_query_does(
    connection: Connection, describe: Callable[..., SourceTable], statement: str
) -> None:
    connection.execute(
        TYPES + "create view below as select id, n, state, updated_at from t;"
        "create view beside as select id, n from t;"
        "create function doubled(int) returns int language sql stable as 'select $1 * 2';"
        "create view middle as select id, doubled(n) as n, state::text as said, updated_at from below;"
        "create view v as select * from middle"
    )
    changes = changed_in_view(connection, describe, statement)
    assert changes == ({"what the view stands on"} if BELOW[statement] else set())


BEHIND = {
    "alter table t add extra int default 5": True,
    "alter table t rename code to other": True,
    "alter table t drop amount": True,
    "alter type state rename value 'closed' to 'shut'": True,
    "alter type place rename attribute number to no": True,
    "create or replace function plus(int, int) returns int language sql stable as 'select $1 - $2'": True,
    "create or replace function sum_of(int, int) returns int language sql stable as 'select $1 * $2'": True,
    "alter function plus(int, int) strict": True,
    "alter table t alter code set statistics 10": False,
}


@pytest.mark.parametrize("statement", BEHIND)
def test_r19_what_a_view_hides_in_rows_types_and_operators_counts_too(
    connection: Connection, describe: Callable[..., SourceTable], statement: str
) -> None:
    connection.execute(
        TYPES + "create domain kind as state;"
        "create function plus(int, int) returns int language sql stable as 'select $1 + $2';"
        "create operator @+@ (function = plus, leftarg = int, rightarg = int);"
        "create function sum_of(int, int) returns int language sql stable as 'select $1 + $2';"
        "create aggregate total(int) (sfunc = sum_of, stype = int, initcond = '0');"
        "create view v as select id, to_jsonb(t) as document, array[state::kind]::text as kinds,"
        "    place::text as place, n @+@ 1 as more, (select total(n) from t) as total, updated_at from t"
    )
    changes = changed_in_view(connection, describe, statement)
    assert changes == ({"what the view stands on"} if BEHIND[statement] else set())


def test_r19_a_view_with_another_query_is_another_source_of_values(
    connection: Connection, describe: Callable[..., SourceTable]
) -> None:
    connection.execute(TYPES + "create view v as select id, n, updated_at from t")
    before = describe("v", primary_key=["id"]).recipe
    connection.execute("create or replace view v as select id, n + 1 as n, updated_at from t")
    assert list(recipe_changes(before, describe("v", primary_key=["id"]).recipe)) == ["the view"]


# --- R20


def state_of(source: SourceTable, **changes: Any) -> MirrorState:
    """Return what a mirror would have recorded of the source, read at noon."""
    return MirrorState(
        *("run-1", "incremental", source.identity, NOON, NOON),
        **{"cursor": "updated_at", "parts": parts_text(source.parts), **changes},
    )


REWRITES = {
    "truncate t; insert into t values (1, 1)": "'public.t' was truncated, restarted or rewritten",
    "alter table t alter w type int using w * 100": "'public.t' was truncated, restarted or rewritten",
    "update t set n = 2": None,
    "delete from t": None,
    "analyze t": None,
    "create table p3 partition of p for values in (3)": None,
    "create table p3 (n int); insert into p3 values (3); alter table p attach partition p3 default": (
        "'public.p3' was added to it, with what it holds"
    ),
    "truncate p2": "'public.p2' was truncated, restarted or rewritten",
    "alter table p detach partition p2": None,
    "alter table p detach partition p2; insert into p2 values (2); "
    "alter table p attach partition p2 for values in (2)": "'public.p2' was detached and attached again",
    "alter table q detach partition q1; insert into q1 values (1, 1); "
    "alter table q attach partition q1 for values in (1)": "'public.q1' was detached and attached again",
    "alter table q detach partition q1": None,
    "refresh materialized view m": "'public.m' was truncated, restarted or rewritten",
}


@pytest.mark.parametrize("statement", REWRITES)
def test_r20_a_table_that_was_emptied_rewritten_or_given_rows_is_noticed(
    connection: Connection, describe: Callable[..., SourceTable], statement: str
) -> None:
    connection.execute(
        "create table t (id int primary key, n int, w int); insert into t values (1, 1); "
        "create table p (n int) partition by list (n); create table p1 partition of p for values in (1); "
        "create table p2 partition of p for values in (2); insert into p values (1), (2); "
        "create table q (n int, m int) partition by list (n); "
        "create table q1 partition of q for values in (1) partition by list (m); "
        "create table q11 partition of q1 for values in (1); insert into q values (1, 1); "
        "create materialized view m as select 1 as n; create view v as "
        "select t.id, t.n from t cross join (select count(*) from p, q) counts cross join m"
    )
    view = {"primary_key": ["id"], "cursor": "id"}
    state = state_of(describe("v", **view))
    connection.execute(statement)
    assert setback(state, describe("v", **view), Horizon(NOON, NOON)) == REWRITES[statement]


def test_r20_a_partition_whose_detaching_waits_is_read_no_more_and_its_return_is_noticed(
    connection: Connection, other: Connection, describe: Callable[..., SourceTable]
) -> None:
    connection.execute(
        "create table t (id int primary key) partition by list (id); "
        "create table t1 partition of t for values in (1); insert into t values (1)"
    )
    other.execute("begin isolation level repeatable read; select from t")
    connection.execute("set statement_timeout = 200")
    with pytest.raises(QueryCanceled):
        connection.execute("alter table t detach partition t1 concurrently")
    connection.execute("set statement_timeout = 0")
    other.execute("rollback")
    assert connection.execute("select from t").fetchall() == []
    state = state_of(describe(cursor="id"))
    connection.execute("alter table t detach partition t1 finalize")
    connection.execute("alter table t attach partition t1 for values in (1)")
    found = setback(state, describe(cursor="id"), Horizon(NOON, NOON))
    assert found == "'public.t1' was added to it, with what it holds"


SEQUENCES = {
    "create sequence s cache 20; create table t (id int primary key, seq int default nextval('s'))": (
        "CACHE 20"
    ),
    "create table t (id int primary key, seq int generated always as identity (increment 5))": "INCREMENT 5",
    "create table t (id int primary key, seq int generated by default as identity (cycle))": "CYCLE",
    "create sequence s increment -1; create table t (id int primary key, seq int default nextval('s'))": (
        "INCREMENT -1"
    ),
    "create sequence s cache 2; create table t (id int primary key, seq bigint); "
    "alter sequence s owned by t.seq": "CACHE 2",
    "create table t (id int primary key, seq bigserial)": None,
    "create table t (id int primary key, seq bigint)": None,
}


@pytest.mark.parametrize("statement", SEQUENCES)
def test_r20_a_cursor_whose_numbers_need_not_grow_is_refused_by_name(
    connection: Connection, describe: Callable[..., SourceTable], statement: str
) -> None:
    connection.execute(statement)
    if SEQUENCES[statement] is None:
        assert describe(cursor="seq").integers is not None
        return
    with pytest.raises(SourceError, match=f"'seq' of table 't' draws from .* with {SEQUENCES[statement]}"):
        describe(cursor="seq")
    assert describe(cursor="id").integers is not None, "of another column's sequence nothing is asked"


def test_r20_a_cursor_with_two_sequences_is_refused_with_both(
    connection: Connection, describe: Callable[..., SourceTable]
) -> None:
    connection.execute(
        "create table t (id bigserial primary key); create sequence other; "
        "alter table t alter id set default nextval('other')"
    )
    with pytest.raises(
        SourceError, match=r"'id' of table 't' has the sequences public.t_id_seq and public.other"
    ):
        describe(cursor="id")
    connection.execute("alter sequence t_id_seq owned by none")
    assert describe(cursor="id").integers is not None


def test_r20_a_sequence_that_the_role_may_not_see_is_taken_to_have_gone_back(
    connection: Connection, database: str
) -> None:
    connection.execute(
        "create table t (id bigserial primary key); insert into t select from generate_series(1, 10);"
        "select setval('t_id_seq', 3)"
    )
    table = TableConfig.model_validate({"source": "prd", "from": "t", "cursor": "id"})
    found: list[str | None] = []
    with role_of(connection, f"r20_{database}", "grant select on t to {role}") as url:
        source = PostgresSource.model_validate({"type": "postgres", "url": url})
        for grant in ("", f"grant select on sequence t_id_seq to r20_{database}"):
            connection.execute(grant)
            with closing(PostgresSession("prd", source)) as session:
                described = session.describe("t", table).facts
            state = state_of(described, watermark=Watermark(CursorKind.INTEGER, 10))
            found.append(setback(state, described, Horizon(NOON, NOON)))
    assert found[0] is not None
    assert "GRANT SELECT ON SEQUENCE public.t_id_seq" in found[0]
    assert found[1] == "the cursor's sequence went back: it stands at 3, below the watermark 10"


INTEGERS = {
    "select setval('t_id_seq', 5)": "the cursor's sequence went back: it stands at 5, below the watermark 10",
    "alter sequence t_id_seq restart with 500": "'public.t_id_seq' was truncated, restarted or rewritten",
    "delete from t where id > 5": None,
    "alter table t alter id drop default; drop sequence t_id_seq; delete from t where id > 5": (
        "the cursor went back: its greatest value is 5, below the watermark 10"
    ),
    "insert into t select 11": None,
}


@pytest.mark.parametrize("statement", INTEGERS)
def test_r20_an_integer_cursor_that_goes_back_is_noticed(
    connection: Connection, describe: Callable[..., SourceTable], statement: str
) -> None:
    connection.execute(
        "create table t (id serial primary key); insert into t select from generate_series(1, 10)"
    )
    state = state_of(describe(cursor="id"), watermark=Watermark(CursorKind.INTEGER, 10))
    connection.execute(statement)
    assert setback(state, describe(cursor="id"), Horizon(NOON, NOON)) == INTEGERS[statement]


def test_r20_a_copy_of_the_database_that_took_its_name_is_another_database(databases: Databases) -> None:
    name = databases.new()
    source = PostgresSource.model_validate({"type": "postgres", "url": databases.server.url(name)})
    with closing(PostgresSession("prd", source)) as session:
        before = session.pin_snapshot().database
    with psycopg.connect(databases.server.url(), autocommit=True) as connection:
        connection.execute(f"create database {name}_copy template {name}")
        connection.execute(f"alter database {name} rename to {name}_gone")
        connection.execute(f"alter database {name}_copy rename to {name}")
    with closing(PostgresSession("prd", source)) as session:
        assert session.pin_snapshot().database != before


def test_r20_a_point_tells_its_transaction_and_its_timeline(laptop: Laptop, connection: Connection) -> None:
    source = PostgresSource.model_validate({"type": "postgres", "url": laptop.url})
    horizons = []
    for _ in range(2):
        with closing(PostgresSession("prd", source)) as session:
            horizons.append(session.pin_snapshot())
        connection.execute("create table if not exists t (); drop table t")
    first, second = horizons
    assert (first.timeline, second.timeline) == (1, 1)
    assert first.transaction is not None
    assert second.transaction is not None
    assert first.transaction < second.transaction
