"""Tables whose columns change between two runs, each with names of its own; and what must hold after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.oracles.oracle import assert_same, rows_of

if TYPE_CHECKING:
    import psycopg

    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

# The greatest alone is read again by the next run.
MOMENT = "timestamptz '2025-03-01 10:00Z' + i * interval '1 minute'"


def make(connection: Connection, *tables: str) -> dict[str, dict[str, Any]]:
    """Make tables whose columns have names of their own, and return their settings."""
    for t in tables:
        connection.execute(
            f"create table {t} (id int primary key, u_{t} int, v_{t} int, at_{t} timestamptz);"
            f"insert into {t} select i, i, -i, {MOMENT} from generate_series(1, 12) i;"
            f"create index on {t} (at_{t})"
        )
    return {t: {"from": f"public.{t}", "cursor": f"at_{t}"} for t in tables}


def touch(connection: Connection, t: str) -> None:
    """Write into every column but the key of some rows, and insert one."""
    names = [n for n in columns_of(connection, t) if n not in {"id", f"at_{t}"}]
    sets = ", ".join(f"{name} = id * 7" for name in names)
    connection.execute(f"update {t} set {sets}, at_{t} = clock_timestamp() where id in (2, 3)")
    insert_one(connection, t)


def insert_one(connection: Connection, t: str) -> None:
    """Insert a row without any value but its key and its cursor."""
    connection.execute(f"insert into {t} (id, at_{t}) values (100, clock_timestamp())")


def alter(connection: Connection, t: str, change: str) -> None:
    connection.execute(f"alter table {t} {change.replace('{t}', t)}")


def columns_of(connection: Connection, table: str) -> list[str]:
    found = connection.execute(
        "select column_name from information_schema.columns where table_schema = 'public' "
        "and table_name = %s order by ordinal_position",
        [table],
    )
    return [name for (name,) in found]


def check(laptop: Laptop, connection: Connection, name: str, select: str, key: str = "id") -> None:
    """Assert that a table holds the rows of `select`; columns that only it has are not looked at."""
    expected = rows_of(connection, select, "public")
    assert expected
    found = [{column: row[column] for column in expected[0]} for row in laptop.rows(name)]
    assert_same(name, found, expected, (key,))
