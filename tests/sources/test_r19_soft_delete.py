"""What a soft delete calls decides which rows a mirror has, as its text does (R19)."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql

from iceberg_datamart.core.settings.model import PostgresSource, TableConfig
from iceberg_datamart.core.source.recipe import recipe_changes, whole_recipe
from iceberg_datamart.sources.postgres.session import PostgresSession

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

CALLS = "what soft_delete calls"
MADE = """
create type place as (street text, number int);
create table t (id int primary key, v text, n int, place place, updated_at timestamptz);
create schema elsewhere;
create function gone(text) returns bool language sql immutable as $$ select $1 = 'x' $$;
create function gone(text, int) returns bool language sql immutable as $$ select $1 = 'x' $$;
create function atomic(text) returns bool language sql immutable return $1 = 'x';
create function lost(v text, other text default 'x') returns bool language plpgsql immutable as
    $$ begin return v = other; end $$;
create function elsewhere.gone(text) returns bool language sql immutable as $$ select $1 = 'x' $$;
create function "Is gone"(text) returns bool language sql immutable as $$ select $1 = 'x' $$;
create function computed(t) returns bool language sql immutable as $$ select $1.v = 'x' $$;
create function near(int, int) returns bool language sql immutable as $$ select $1 = $2 $$;
create operator @~@ (function = near, leftarg = int, rightarg = int);
create function elsewhere.far(int, int) returns bool language sql immutable as $$ select $1 <> $2 $$;
create operator elsewhere.<@ (function = elsewhere.far, leftarg = int, rightarg = int);
create function alike(place, text) returns bool language sql immutable as $$ select $1.street = $2 $$;
create operator ~~ (function = alike, leftarg = place, rightarg = text);
"""
SQL = "returns bool language sql immutable as $$ select false $$"
# A predicate, and what makes it say something else of the same rows.
REPLACED = [
    ("public.gone(v)", f"create or replace function gone(text) {SQL}"),
    ("gone (v)", f"create or replace function gone(text) {SQL}"),
    ("GONE/* it is */(v)", f"create or replace function gone(text) {SQL}"),
    ("v = '--' or gone(v)", f"create or replace function gone(text) {SQL}"),
    ("""v = '"' or "Is gone"(v)""", f'create or replace function "Is gone"(text) {SQL}'),
    ("v = '/*' or t./* of the row */computed", f"create or replace function computed(t) {SQL}"),
    ("t.computed", f"create or replace function computed(t) {SQL}"),
    ("elsewhere.gone(v)", f"create or replace function elsewhere.gone(text) {SQL}"),
    ('"elsewhere" . "gone" (v)', f"create or replace function elsewhere.gone(text) {SQL}"),
    ("atomic(v)", "create or replace function atomic(text) returns bool language sql immutable return false"),
    ("gone(v)", "alter function gone(text) strict"),
    ("gone(v)", "alter function gone(text) set work_mem = '8MB'"),
    ("gone(v)", f"create function gone(varchar) {SQL}"),
    ("gone(v)", f"drop function gone(text); create function gone(text) {SQL}"),
    (
        "lost(v)",
        (
            "create or replace function lost(v text, other text default 'x') returns bool language plpgsql "
            "immutable as $$ begin return false; end $$"
        ),
    ),
    (
        "lost(v)",
        (
            "create or replace function lost(v text, other text default 'y') returns bool language plpgsql "
            "immutable as $$ begin return v = other; end $$"
        ),
    ),
    ("n @~@ 1", f"create or replace function near(int, int) {SQL}"),
    ("n@~@1", f"create or replace function near(int, int) {SQL}"),
    ("n operator(public.@~@) 1", f"create or replace function near(int, int) {SQL}"),
    (
        "n @~@ 1",
        (
            "drop operator @~@ (int, int);"
            "create operator @~@ (function = int4lt, leftarg = int, rightarg = int)"
        ),
    ),
    ("n OPERATOR(elsewhere.<@) 1", f"create or replace function elsewhere.far(int, int) {SQL}"),
    ("place LIKE 'x'", f"create or replace function alike(place, text) {SQL}"),
]


@pytest.fixture
def recipe(laptop: Laptop) -> Callable[[str], dict[str, str]]:
    """Return what tells how a table with such a soft delete is read."""

    def told(predicate: str) -> dict[str, str]:
        table = TableConfig.model_validate(
            {"source": "prd", "from": "t", "cursor": "updated_at", "exclude": ["place"]}
            | {"soft_delete": predicate}
        )
        source = PostgresSource.model_validate({"type": "postgres", "url": laptop.url})
        with closing(PostgresSession("prd", source)) as session:
            return whole_recipe(session.describe("t", table).facts, table)

    return told


@pytest.mark.parametrize(("predicate", "statement"), REPLACED)
def test_r19_what_a_soft_delete_calls_counts_as_its_text_does(
    connection: Connection, recipe: Callable[[str], dict[str, str]], predicate: str, statement: str
) -> None:
    connection.execute(MADE)
    connection.execute(sql.SQL("select ({})::boolean from t").format(sql.SQL(predicate)))  # type: ignore[arg-type]
    before = recipe(predicate)
    assert recipe(predicate) == before
    connection.execute(f"create function another(text) {SQL}; alter function gone(text) cost 7")  # type: ignore[arg-type]
    assert recipe(predicate) == before
    connection.execute(statement)  # type: ignore[arg-type]
    assert list(recipe_changes(before, recipe(predicate))) == [CALLS]


def test_r19_a_cast_that_somebody_made_is_called_without_a_name(
    connection: Connection, recipe: Callable[[str], dict[str, str]]
) -> None:
    body = "returns bool language sql immutable as $$ select $1.number = {} $$"
    connection.execute(
        MADE + "create function as_bool(place) " + body.format(1) + ";"  # type: ignore[arg-type]
        "create cast (place as bool) with function as_bool(place)"
    )
    before = recipe("place")
    connection.execute("create or replace function as_bool(place) " + body.format(2))  # type: ignore[arg-type]
    changes = recipe_changes(before, recipe("place"))
    assert changes == {CALLS: "what soft_delete calls (public.as_bool) is read in another way"}


@pytest.mark.parametrize(
    "predicate",
    [
        "v IS NOT NULL",
        "(lower(v)) = 'near' AND coalesce(abs(n), 0) <= 3 OR v LIKE 'far%'",
        "n IN (1, 2) AND n BETWEEN 0 AND 9 AND v IS DISTINCT FROM 'x'",
    ],
)
def test_r19_of_what_postgresql_brings_nothing_is_recorded(
    connection: Connection, recipe: Callable[[str], dict[str, str]], predicate: str
) -> None:
    # As of citext: operators of the same signs, by functions that only another library changes.
    connection.execute(
        MADE + "drop operator ~~ (place, text);"  # type: ignore[arg-type]
        "create function same(place, text) returns bool language internal immutable as 'texteq';"
        "create operator = (function = same, leftarg = place, rightarg = text);"
        "alter extension plpgsql add operator = (place, text)"
    )
    connection.execute("create function n() returns trigger language plpgsql as 'begin return new; end'")
    assert CALLS not in recipe(predicate)
