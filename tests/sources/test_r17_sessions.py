"""Rule R17 on a real PostgreSQL: every connection reads under one recipe; what it lacks is said by name."""

from __future__ import annotations

import re
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.settings.model import PostgresSource, TableConfig
from iceberg_datamart.core.state.watermark import ReadWindow, Watermark
from iceberg_datamart.errors import SourceError, SourceRefusedError, SourceUnreachableError
from iceberg_datamart.sources.postgres import settings as postgres_settings
from iceberg_datamart.sources.postgres.activity import activity
from iceberg_datamart.sources.postgres.connection import connected, transaction
from iceberg_datamart.sources.postgres.session import PostgresSession
from support.servers.roles import role_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from iceberg_datamart.core.source.reads import QueryRead
    from iceberg_datamart.sources.postgres.table import PostgresTable
    from support.worlds.laptop import Databases

    Connection = psycopg.Connection[Any]

ALL = ReadWindow()
FROM_START = ReadWindow(Watermark(CursorKind.TIMESTAMPTZ, 0))
# Each changes a text, a comparison or a name; none may change what is read.
DEFAULTS = {
    "search_path": "evil, public",
    "timezone": "Asia/Kathmandu",
    "datestyle": "German, DMY",
    "intervalstyle": "postgres_verbose",
    "extra_float_digits": "-10",
    "bytea_output": "escape",
    "xmloption": "document",
    "xmlbinary": "hex",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "quote_all_identifiers": "on",
    "gin_fuzzy_search_limit": "1",
    "lock_timeout": "1ms",
    "default_transaction_isolation": "serializable",
    "application_name": "somebody",
}
VALUES = """
create table public.item (
    id int primary key, at timestamptz, local timestamp, day date, span interval, f float8, r real, b bytea,
    c char(4), t text, n numeric(6, 2), tags text[], days date[], spans interval[], j jsonb
);
insert into public.item values (
    1, '2026-03-01 12:00:00.000001+02', '2026-03-01 12:00:00.000001', '2026-03-01', '1 day -1 min', 0.1, 0.1,
    '\\x00ff', 'Ü', 'back\\slash', 1.5, '{a,NULL}', '{2026-02-01}', '{1 day}', '{"deleted": 1}');
create schema evil;
create table evil.item (id int primary key, at timestamptz);
create function evil.md5(text) returns text language sql immutable return 'evil';
create function evil.isfinite(timestamptz) returns boolean language sql immutable return false;
create view public.seen as select id, at from public.item;
"""


def source(url: str) -> PostgresSource:
    return PostgresSource.model_validate({"type": "postgres", "url": url})


def table(**settings: Any) -> TableConfig:
    return TableConfig.model_validate({"source": "prd", "from": "item", "primary_key": ["id"], **settings})


@contextmanager
def at_point(url: str, **tables: TableConfig) -> Iterator[Mapping[str, PostgresTable]]:
    """Yield the tables of a session that has gone through the order of a run, up to its point."""
    with closing(PostgresSession("prd", source(url))) as session:
        assert session.lock(tables) == {}
        described = {name: session.describe(name, settings) for name, settings in tables.items()}
        session.pin_snapshot()
        yield described


@contextmanager
def encoded(connection: Connection, databases: Databases, encoding: str, rows: str) -> Iterator[str]:
    """Yield the url of a database of another encoding in which the statements `rows` were run."""
    name = f"{connection.info.dbname}_{encoding.lower()}"
    connection.execute(f"create database {name} encoding '{encoding}' locale 'C' template template0")
    try:
        with databases.connected(name) as opened:
            opened.execute(rows)
        yield databases.server.url(name)
    finally:
        connection.execute(f"drop database {name} with (force)")


def asked_as_spark_does(url: str, read: QueryRead) -> list[tuple[Any, ...]]:
    """Return a read's rows through another connection: its session statement first, in one transaction."""
    with psycopg.connect(url) as reader:
        reader.execute(read.session)
        return reader.execute(f"select * from {re.sub(r'[?][?]', '?', read.relation)}").fetchall()


def all_that_is_read(url: str) -> dict[str, Any]:
    """Return what one session and Spark's connections find, whoever's defaults hold."""
    settings = table(cursor="at", soft_delete="j ? 'gone' or t = 'it''s\\'")
    with at_point(url, t=settings, v=table(**{"from": "seen"})) as tables:
        item = tables["t"]
        read = item.read(ALL)
        return {
            "recipe": dict(item.facts.recipe),
            "view": dict(tables["v"].facts.recipe),
            "keys": item.probe(FROM_START).keys,
            "fingerprint": item.fingerprint(FROM_START),
            "digests": item.digests()[1],
            "relation": read.relation,
            "rows": asked_as_spark_does(url, read),
        }


def test_r17_no_default_of_a_role_a_database_or_the_environment_shows_through(
    databases: Databases, database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.server.url(database)
    connection.execute(VALUES)
    before = all_that_is_read(url)
    for name, value in DEFAULTS.items():
        text = value if name == "search_path" else f"'{value}'"
        connection.execute(f"alter database {database} set {name} = {text}")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=evil -c extra_float_digits=-15 -c bytea_output=escape")
    for name, value in {"PGTZ": "Asia/Tokyo", "PGDATESTYLE": "SQL", "PGCLIENTENCODING": "LATIN2"}.items():
        monkeypatch.setenv(name, value)
    assert all_that_is_read(url) == before


def test_r17_the_recipe_holds_in_every_transaction_and_nothing_of_it_stays(
    databases: Databases, database: str, connection: Connection
) -> None:
    for name, value in DEFAULTS.items():
        connection.execute(f"alter database {database} set {name} = '{value}'")
    connection.execute(f"alter database {database} set statement_timeout = '5min'")
    query = "select name, setting from pg_settings order by name"
    wanted = dict(re.findall(r"set local (\w+) = '?(.*?)'?(?:;|$)", postgres_settings.settings(160000, 1234)))
    with closing(connected("prd", source(databases.server.url(database)))) as found:
        before = found.execute(query).fetchall()
        postgres_settings.begin(found, "repeatable read", 1234)
        within = {name.lower(): value for name, value in found.execute(query).fetchall()}
        found.execute("commit")  # as Spark ends its own
        assert {name: within[name.lower()] for name in wanted} == wanted
        assert within["transaction_isolation"] == "repeatable read"
        for _ in range(10):
            with transaction(found):
                found.execute("select %s::int", [1])
        assert found.execute(query).fetchall() == before
        assert found.execute("select count(*) from pg_prepared_statements").fetchall() == [(0,)]


def test_r17_spark_asks_for_columns_under_the_recipe_too(
    databases: Databases, database: str, connection: Connection
) -> None:
    connection.execute(VALUES)
    connection.execute(f"alter database {database} set search_path = evil")
    url = databases.server.url(database)
    with at_point(f"{url}?options=-c%20work_mem%3D9MB", t=table()) as tables:
        address = tables["t"].read(ALL).url
    options = parse_qs(urlsplit(address.removeprefix("jdbc:")).query)["options"][0]
    with psycopg.connect(url, options=options) as reader:
        shown = [reader.execute(f"show {name}").fetchall()[0][0] for name in ("search_path", "work_mem")]
    assert shown == ["pg_catalog, public, pg_temp", "9MB"]


def test_r17_text_is_the_same_whatever_encoding_database_and_client_have(
    databases: Databases, connection: Connection
) -> None:
    rows = (
        "create table item (code char(4) primary key, note text, at timestamptz default now());"
        "insert into item values ('MÜ', 'ü'), ('B', null)"
    )
    settings = table(primary_key=["code"], cursor="at")
    with encoded(connection, databases, "LATIN1", rows) as url, at_point(url, t=settings) as tables:
        keys = tables["t"].probe(FROM_START).keys
        read = tables["t"].read(ALL)
        for encoding in ("UTF8", "LATIN1"):
            found = asked_as_spark_does(f"{url}?client_encoding={encoding}", read)
            assert sorted(row[:2] for row in found) == [("B   ", None), ("MÜ  ", "ü")]
    assert sorted(keys or ()) == [("B   ",), ("MÜ  ",)]


def test_r17_bytes_that_are_no_text_are_an_error(databases: Databases, connection: Connection) -> None:
    rows = (
        "set client_encoding = 'SQL_ASCII';"
        "create table item (code char(4) primary key, at timestamptz);"
        "insert into item values (E'M\\xdc', now())"
    )
    settings = table(primary_key=["code"], cursor="at")
    with encoded(connection, databases, "SQL_ASCII", rows) as url, at_point(url, t=settings) as tables:
        with pytest.raises(SourceError, match="SQLSTATE 22021") as caught:
            tables["t"].probe(FROM_START)
        with pytest.raises(psycopg.errors.CharacterNotInRepertoire):
            asked_as_spark_does(url, tables["t"].read(ALL))
    assert "`exclude`" in caught.value.hint


@pytest.mark.parametrize("name", ["item", "seen"])
def test_r17_rows_that_a_policy_hides_are_an_error_of_their_table_alone(
    databases: Databases, database: str, connection: Connection, name: str
) -> None:
    owner = f"r17_owner_of_{database}"
    connection.execute(
        f"{VALUES}; create table free (id int primary key); create role {owner};"
        "alter table item enable row level security; create policy p on item using (id <> 1)"
    )
    grants = "grant select on item, seen, free to {role}; grant usage on schema public to {role}"
    connection.execute(f"grant select on item to {owner}; alter view seen owner to {owner}")
    with (
        role_of(connection, f"r17_{database}", grants) as url,
        closing(PostgresSession("prd", source(url))) as session,
    ):
        failed = session.lock({"t": table(**{"from": name}), "free": table(**{"from": "free"})})
        assert list(failed) == ["t"]
        assert 'row-level security policy for table "item" (SQLSTATE 42501)' in failed["t"].message
        assert "BYPASSRLS" in failed["t"].hint
    connection.execute(f"drop owned by {owner} cascade; drop role {owner}")
    with at_point(databases.server.url(database), t=table()) as tables:
        assert tables["t"].probe(ALL).rows == 1, "no policy binds this role"


PERSONS = """
create table person (id int, amount int, ssn text, at timestamptz not null default now());
alter table person add constraint person_pkey primary key (id);
insert into person select i, i, 'secret' from generate_series(1, 10) i;
create table doubled (id int, amount int, ssn text, at timestamptz not null default now());
insert into doubled select i % 5, i, 'secret' from generate_series(1, 10) i;
"""


@pytest.mark.parametrize("name", ["person", "doubled"])
def test_r17_the_columns_that_the_role_may_read_are_read(
    databases: Databases, database: str, connection: Connection, name: str
) -> None:
    connection.execute(PERSONS)
    settings = table(
        **{"from": name}, exclude=["ssn"], cursor="at", duplicates="newest", soft_delete="amount = 1"
    )
    grants = f"grant select (id, amount, at) on {name} to {{role}}; grant pg_read_all_stats to {{role}}"
    rows = 10 if name == "person" else 5
    with role_of(connection, f"r17_{database}", grants) as url, at_point(url, t=settings) as tables:
        for window in (ALL, FROM_START):
            assert tables["t"].probe(window).rows == rows
            assert len(asked_as_spark_does(url, tables["t"].read(window))) == rows
        slicing, digests = tables["t"].digests()
        assert slicing is not None
        assert sum(digest.rows for digest in digests.values()) == rows - (name == "person")
        assert tables["t"].fingerprint(FROM_START) is not None
        assert tables["t"].rejected(ALL) == ()
        assert tables["t"].read(ALL).predicates == ("true",), "ctid needs a right on the whole table"
    with at_point(databases.server.url(database), t=settings) as tables:
        assert ("ctid" in tables["t"].read(ALL).relation) == (name == "person")


DENIED = {
    "(id, at)": (
        "may not read its columns amount, ssn",
        "GRANT SELECT (amount, ssn) ON public.person TO r17_",
    ),
    "": ("permission denied for table person", "GRANT SELECT ON public.person TO r17_"),
}


@pytest.mark.parametrize("columns", DENIED)
def test_r17_a_right_that_lacks_is_asked_for_by_table_and_column(
    databases: Databases, database: str, connection: Connection, columns: str
) -> None:
    connection.execute(f"{PERSONS}; create table free (id int primary key)")
    grants = f"grant select {columns} on person to {{role}}" if columns else "grant select on free to {role}"
    with (
        role_of(connection, f"r17_{database}", grants) as url,
        closing(PostgresSession("prd", source(url))) as session,
    ):
        error = session.lock({"t": table(**{"from": "person"})})["t"]
    message, hint = DENIED[columns]
    for words in ("'t'", "permission denied for table person (SQLSTATE 42501)", message):
        assert words in error.message
    assert hint in error.hint
    assert databases.server.url(database)


PREDICATES = {
    "j ? 'deleted'": True,
    "j ?| array['a?b', 'deleted']": True,
    "j ?& array['deleted', 'x']": False,
    r"""t = E'\'?' or $q$it's ?$q$ = t or j ? 'deleted' /* ? /* ' */ ? */ -- ?""": True,
    """coalesce(j ->> 'a"?', "odd ? ""name") = 'x'""": True,
}


@pytest.mark.parametrize("predicate", PREDICATES)
def test_r17_a_predicate_means_to_spark_what_it_means_to_postgresql(
    databases: Databases, database: str, connection: Connection, predicate: str
) -> None:
    connection.execute(
        """create table item (id int primary key, t text, j jsonb, "odd ? ""name" text);"""
        """insert into item values (1, 'a', '{"deleted": 1}', 'x')"""
    )
    url = databases.server.url(database)
    with at_point(url, t=table(soft_delete=predicate)) as tables:
        read = tables["t"].read(ALL)
        assert asked_as_spark_does(url, read)[0][-2] is PREDICATES[predicate]


def test_r17_a_password_from_a_file_is_sparks_too(
    databases: Databases,
    database: str,
    connection: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, info = tmp_path / "passwords", connection.info
    connection.execute("create table item (id int primary key)")
    file.write_text(f"*:*:*:*:{info.password}\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    monkeypatch.setenv("PGUSER", info.user)
    assert databases.server.url(database)
    with at_point(f"postgresql://{info.host}:{info.port}/{database}", t=table()) as tables:
        assert tables["t"].read(ALL).credentials == {"user": info.user, "password": info.password}


def test_r17_the_servers_words_and_its_sqlstate_are_in_the_error(
    databases: Databases, database: str, connection: Connection
) -> None:
    connection.execute(
        "create table item (id int primary key);"
        "create view divides as select i as id, 1 / (i - 5) as v from generate_series(1, 9) i"
    )
    with closing(PostgresSession("prd", source(databases.server.url(database)))) as session:
        wanted = {"t": table(soft_delete="no_such(id)"), "v": table(**{"from": "divides"})}
        error = session.lock(wanted)["t"]
        assert error.message == "source 'prd': function no_such(integer) does not exist (SQLSTATE 42883)"
        assert "add explicit type casts" in error.hint
        view = session.describe("v", wanted["v"])
        session.pin_snapshot()
        with pytest.raises(SourceError, match=r"division by zero \(SQLSTATE 22012\)"):
            view.fingerprint(ALL)


def test_r17_what_money_is_written_with_is_part_of_how_rows_are_read(
    databases: Databases, database: str, connection: Connection
) -> None:
    connection.execute("create table item (id int primary key, price money, prices money[], n int)")
    recipes = []
    for locale, excluded in (("C", ()), ("POSIX", ("price",)), ("POSIX", ("price", "prices"))):
        connection.execute(f"alter database {database} set lc_monetary = '{locale}'")
        with closing(PostgresSession("prd", source(databases.server.url(database)))) as session:
            recipe = session.describe("t", table(exclude=excluded)).facts.recipe
            recipes.append(recipe.get("lc_monetary"))
    assert recipes == ["C", "POSIX", None]


def test_r17_an_address_where_nobody_listens_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    with pytest.raises(SourceUnreachableError, match="Connection refused") as caught:
        PostgresSession("prd", source("postgresql://reader@127.0.0.1:1/prd"))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("bound", ["LEAST_VERSION", "GREATEST_VERSION"])
def test_r17_a_server_of_a_version_that_was_not_tried_is_refused(
    databases: Databases, database: str, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(postgres_settings, bound, 99 if bound == "LEAST_VERSION" else 9)
    for work in (PostgresSession, activity):
        with pytest.raises(
            SourceRefusedError, match=r"source 'prd' is PostgreSQL \d\d; versions .* are read"
        ):
            work("prd", source(databases.server.url(database)))
