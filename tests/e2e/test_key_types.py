"""A key of any type is as good in every later run as in the first, and a mart over it follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.shops.shop_rules import UNCHANGED, outcomes

if TYPE_CHECKING:
    import psycopg

    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

# By a table's name: the type of its key, and four values of it, the ends of the type among them.
KEYS = {
    "bools": ("bool", ["true", "false"]),
    "longs": ("int8", ["-9223372036854775808", "9223372036854775807", "0", "-1"]),
    "bytes": ("bytea", [r"\x", r"\x00", r"\xff00", r"\xff"]),
    "lists": ("int[]", ["{}", "{1,2}", "{1,NULL}", "{1,3}"]),
    # Spark's own old calendar has no days from the 5th to the 14th of October 1582.
    "days": ("date", ["4714-11-24 BC", "1582-10-10", "9999-12-31", "5874897-12-31"]),
    "instants": (
        "timestamptz",
        ["0044-03-15 12:00Z BC", "1582-10-10 00:00Z", "10000-01-01Z", "294247-01-10 04:00:54.775806Z"],
    ),
    "locals": (
        "timestamp",
        ["4714-11-24 00:00 BC", "1582-10-10 00:00", "10000-01-01", "294247-01-10 04:00:54.775806"],
    ),
}
MARTS = {
    "joined": {"from": "instants", "joins": [{"table": "twins", "on": ["code"], "how": "left"}]},
    "listed": {"from": "lists", "joins": [{"table": "days", "on": ["n"]}]},
}


def open_tables(laptop: Laptop, connection: Connection) -> None:
    """Make a table for each type with the first of the values, and a twin that shares its key."""
    pairs = (
        "code int[], at timestamptz, n int, v int, updated_at timestamptz not null, primary key (code, at)"
    )
    connection.execute(f"create table pairs ({pairs})")
    for name, (kind, values) in KEYS.items():
        connection.execute(
            f"create table {name} (code {kind} primary key, n int, v int, "
            "updated_at timestamptz not null default now())"
        )
        for number in range(len(values) - 1):
            put(connection, name, number)
    connection.execute("create table twins (like instants including all); insert into twins table instants")
    connection.execute("insert into pairs select l.code, i.code, i.n, 0, now() from lists l, instants i")
    names = [*KEYS, "twins", "pairs"]
    laptop.configure({name: {"from": f"public.{name}", "cursor": "updated_at"} for name in names}, MARTS)


def put(connection: Connection, name: str, number: int) -> None:
    kind, values = KEYS[name]
    connection.execute(f"insert into {name} values ('{values[number]}'::{kind}, {number}, 0)")


def values_of(laptop: Laptop, connection: Connection, name: str) -> tuple[list[Any], list[Any]]:
    """Return n and v of each row in the mirror and in the source; Python cannot show all of the keys."""
    held = laptop.table(name).scan(selected_fields=("n", "v")).to_arrow().to_pylist()
    found = connection.execute(f"select n, v from {name}").fetchall()
    return sorted((row["n"], row["v"]) for row in held), sorted(found)


def test_rows_with_keys_of_any_type_are_inserted_updated_and_deleted_and_joined(
    laptop: Laptop, connection: Connection
) -> None:
    open_tables(laptop, connection)
    names = [*KEYS, "twins", "pairs"]
    laptop.run()
    for name, (_, values) in KEYS.items():
        put(connection, name, len(values) - 1)
    for name in names:
        connection.execute(f"update {name} set v = 1, updated_at = clock_timestamp() where n in (0, 1)")
    report = laptop.run()["tables"]
    for name in names:
        held, expected = values_of(laptop, connection, name)
        assert held == expected, name
        assert report[name]["updated"] == {"pairs": 6, "bools": 1}.get(name, 2), name
    assert outcomes(laptop.command("reconcile").report) == UNCHANGED
    for name in names:
        connection.execute(f"delete from {name} where n = 0; update {name} set v = 9 where n = 1")
    ended = laptop.command("reconcile")
    assert ended.exit_code == 0, ended.report
    for name in names:
        held, expected = values_of(laptop, connection, name)
        assert held == expected, name
    joins = {
        "joined": "select i.n, i.v from instants i left join twins t using (code)",
        "listed": "select l.n, l.v from lists l join days d using (n)",
    }
    for mart, query in joins.items():
        shown = [
            name for name in laptop.table(mart).schema().column_names if name in ("n", "instants_n", "v")
        ]
        assert shown, mart
        assert laptop.table(mart).scan(selected_fields=(shown[0],)).to_arrow().num_rows == len(
            connection.execute(query).fetchall()
        )
    assert laptop.command("verify").exit_code == 0
