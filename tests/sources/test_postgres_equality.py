"""What PostgreSQL itself tells of equality and of predicates, asked of a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.core.settings.model import TableConfig
from iceberg_datamart.errors import SourceError
from iceberg_datamart.sources.postgres import catalog
from iceberg_datamart.sources.postgres.predicates import require_steady
from iceberg_datamart.sources.postgres.types import equality_of

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

STEADY = [
    "deleted_at IS NOT NULL",
    "state = 'gone' OR lower(state) LIKE 'now %'",
    '"user" = \'today is fine\' AND "select" > 1 -- now()',
    "date_trunc('day', valid_until) < timestamptz '2020-01-01 00:00+00' /* current_date */",
    "coalesce(abs(n), 0) > 3 AND state IN ('a', 'b')",
    'state = $x$ is_over(now()) $x$ /* a /* b */ is_over(now()) */ OR "is_over(" > 1',
]
UNSTEADY = [
    "valid_until < now()",
    "valid_until < Current_Timestamp",
    "valid_until::date < CURRENT_DATE",
    "valid_until < 'now'",
    "valid_until < $$ today $$::timestamptz",
    "valid_until < pg_catalog.clock_timestamp ()",
    "random() < 0.5",
    "gen_random_uuid()::text < state",
    "age(valid_until) > interval '1 day'",
    "public.is_over(valid_until)",
    "elsewhere.is_over(valid_until)",
    '"elsewhere" . "is_over" (valid_until)',
    "n IN (TABLE numbers)",
    "n IN (VALUES (1))",
    '"is_over" (valid_until)',
    "n IN (SELECT 1)",
    "state = current_user",
    "current_setting('a.b', true) = state",
    "nextval('counter') > n",
    "state = '--' OR is_over(valid_until)",
    "state = '/*' OR is_over(valid_until) OR state = '*/'",
    r"state = E'it\'s' OR is_over(valid_until) OR state = '\'",
]


@pytest.fixture
def prepared(connection: Connection) -> Connection:
    connection.execute(
        "create function is_over(timestamptz) returns bool language sql stable as 'select $1 < now()';"
        "create schema elsewhere; create sequence counter;"
        "create function elsewhere.is_over(timestamptz) returns bool language sql stable as 'select true'"
    )
    return connection


@pytest.mark.parametrize("predicate", STEADY)
def test_a_predicate_of_its_row_is_taken(prepared: Connection, predicate: str) -> None:
    require_steady(prepared, "t", predicate)


def test_a_predicate_that_may_change_its_mind_is_refused_with_the_tables_name(prepared: Connection) -> None:
    for predicate in UNSTEADY:
        with pytest.raises(SourceError, match=r"tables\.t\.soft_delete: .* not on its row alone"):
            require_steady(prepared, "t", predicate)


def test_as_what_columns_are_compared_is_told_by_the_servers_catalog(connection: Connection) -> None:
    columns = {
        "a": ("int", "number"),
        "b": ("varchar(5)", "text"),
        "c": ("char(5)", "char(5)"),
        "d": ("code", "char(7)"),
        "e": ('text collate "loose"', "!text with a nondeterministic collation"),
        "f": ("mood", "enum public.mood"),
        "g": ("numeric(9, 2)", "number"),
        "h": ("jsonb", "!jsonb"),
        "i": ("int[]", "!_int4"),
        "j": ("loose_text", "!text with a nondeterministic collation"),
        "k": ("interval", "!interval"),
        "l": ("bpchar", "!char of any length"),
    }
    connection.execute(
        "create type mood as enum ('good', 'bad'); create domain code as char(7);"
        # As ICU makes them, which not every build has.
        'create collation loose from "C";'
        "update pg_collation set collisdeterministic = false where collname = 'loose';"
        'create domain loose_text as text collate "loose"'
    )
    shown = ", ".join(f"{name} {kind}" for name, (kind, _) in columns.items())
    connection.execute(f"create table t ({shown})")  # type: ignore[arg-type]
    relation = catalog.find_relation(
        connection, TableConfig.model_validate({"source": "s", "from": "t"}).from_
    )
    found = {column.name: equality_of(column) for column in catalog.columns_of(connection, relation)}
    assert found == {name: kind for name, (_, kind) in columns.items()}
