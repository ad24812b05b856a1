"""Columns may have any name that the package's own SQL uses, or are refused with what to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from psycopg import sql

from support.oracles.oracle import Mirrored, Oracle
from support.shops.shop_rules import UNCHANGED, outcomes
from support.shops.taken_names import internal_aliases

if TYPE_CHECKING:
    import psycopg

    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

TAKEN = internal_aliases()
PREFIX = "_datamart_"
# As aliases were named once, and as columns travel.
ONCE = {"x", "y", "r", "t", "s", "n", "k", "c", "d", "q", "e", "datamart_1", "a", "b", "c1", "c0"}
SHORT = sorted({name.removeprefix(PREFIX) for name in TAKEN} - {"ctid"} | ONCE)
KEY = ("new", "old", "row")
# What is soft-deleted, or rejected by a check or for its array.
GONE = """"e" = 'gone' or r = '5' or array_ndims(x) > 1"""
CHECKS = [
    {"type": "not_null", "columns": ["each"]},
    {"type": "unique", "columns": ["other", "here"], "on_fail": "warn"},
    {"type": "expression", "name": "not five", "sql": "`r` <> '5'", "on_fail": "reject"},
]
AUDITS = [
    {"type": "unique_key"},
    {"type": "foreign_key", "columns": {"new": "old"}, "table": "t", "on_fail": "warn"},
    {"type": "sql", "name": "s", "sql": "SELECT f.`row` FROM {free} AS f JOIN {t} AS o ON f.new = o.t"},
]


def open_tables(laptop: Laptop, connection: Connection) -> None:
    """Make tables whose columns and keys have all the names, and a mart of two of them."""
    taken = ", ".join(f"{name} text default '{name}'" for name in TAKEN)
    connection.execute(f"create table taken (id int, v numeric(9, 2), at timestamptz default now(), {taken})")
    for name in TAKEN:
        connection.execute(f"create table key{name} ({name} int primary key)")
    others = [name for name in SHORT if name not in (*KEY, "x")]
    shown = sql.SQL(", ").join(sql.SQL("{} text default '0'").format(sql.Identifier(name)) for name in others)
    connection.execute(
        sql.SQL(
            'create table free ("new" int, "old" int, "row" text, x int[], at timestamptz default now(), {}, '
            'primary key ("new", "old", "row"))'
        ).format(shown)
    )
    connection.execute('create table t (t int primary key, "old" int, x text, at timestamptz default now())')
    connection.execute("insert into taken (id, v) values (1, 1), (1, 2), (2, 'NaN')")
    connection.execute(
        """insert into free ("new", "old", "row", x, r, here) select n, n, n, array[n], n, n
        from generate_series(1, 9) n; insert into t select n + 100, n, n from generate_series(1, 9) n;"""
    )
    tables = {
        "taken": {"primary_key": ["id"], "cursor": "at", "duplicates": "newest"},
        "free": {"cursor": "at", "checks": CHECKS, "audits": AUDITS, "soft_delete": "\"e\" = 'gone'"},
        "t": {"cursor": "at"},
        **{f"key{name}": {} for name in TAKEN},
    }
    joined = {"from": "free", "joins": [{"table": "t", "on": {"new": "old"}, "how": "left"}]}
    laptop.configure(
        {name: {"from": f"public.{name}", **table} for name, table in tables.items()}, {"m": joined}
    )


def oracle_of(connection: Connection) -> Oracle:
    free = sql.SQL("select {} from free").format(
        sql.SQL(", ").join(map(sql.Identifier, (*KEY, "at", *(n for n in SHORT if n not in KEY))))
    )
    mirrors = {
        "free": Mirrored("free", KEY, free.as_string(None), GONE),
        "t": Mirrored("t", ("t",), 'select t, "old", x, at from t'),
    }
    return Oracle(connection, "public", mirrors, {})


def mart_is_its_join(laptop: Laptop, connection: Connection) -> bool:
    found = sorted(((row["new"], row["row"], row["t_t"]) for row in laptop.rows("m")), key=repr)
    joined = f"""select f."new", f."row", t.t from (select * from free where ({GONE}) is not true) as f
        left join t on t."old" = f."new" """
    return found == sorted(connection.execute(joined.encode()).fetchall(), key=repr)


def assert_taken_are_refused(laptop: Laptop, report: dict[str, Any]) -> None:
    """Assert that every table with such a name, and no other, is refused and not written."""
    refused = {name: report[name]["error"] for name in report if report[name]["error"] is not None}
    assert refused.keys() == {"taken", *(f"key{name}" for name in TAKEN)}
    assert f"a column '{TAKEN[0]}', a name that mirrors need" in refused["taken"]["message"]
    assert "tables.taken.exclude" in refused["taken"]["hint"]
    for name in TAKEN:
        assert f"a column '{name}', a name that mirrors need" in refused[f"key{name}"]["message"]
        assert "view" in refused[f"key{name}"]["hint"]
        assert not laptop.warehouse.joinpath("datamart", f"key{name}").exists()


def test_a_name_of_the_packages_own_sql_works_or_is_refused_with_the_mend(
    laptop: Laptop, connection: Connection
) -> None:
    open_tables(laptop, connection)
    oracle = oracle_of(connection)
    assert_taken_are_refused(laptop, laptop.failing_run()["tables"])
    oracle.check(laptop, against_source=True)
    tables = laptop.settings["tables"]
    laptop.settings["tables"] = {name: tables[name] for name in ("taken", "free", "t")}
    laptop.settings["tables"]["taken"]["exclude"] = TAKEN
    connection.execute(
        """insert into free ("new", "old", "row", x, e) values (10, 10, 'a', '{1}', 'gone'),
        (11, 11, 'b', '{{1}}', 'here'), (12, 12, 'c', '{1}', 'here');
        update free set y = 'changed', at = clock_timestamp() where "old" = 3;
        update free set e = 'gone', at = clock_timestamp() where "old" = 4;
        insert into t values (99, 12, 'x')"""
    )
    report = laptop.save().run()["tables"]
    assert (report["free"]["deleted"], report["free"]["rejected"], report["taken"]["rejected"]) == (1, 1, 1)
    oracle.check(laptop, against_source=True)
    assert [(row["id"], row["v"]) for row in laptop.rows("taken")] == [(1, 2)]
    kept = laptop.table("taken__rejected").scan().to_arrow().to_pylist()
    assert [json.loads(row["row"]).keys() for row in kept] == [{"id", "v", "at"}]
    connection.execute(
        """delete from free where "new" = 6; update free set k = 'silent' where "old" = 7;
        delete from t where t = 101"""
    )
    report = laptop.command("reconcile").report["tables"]
    assert (report["free"]["deleted"], report["free"]["updated"], report["t"]["deleted"]) == (1, 1, 1)
    oracle.check(laptop, against_source=True)
    assert mart_is_its_join(laptop, connection)
    assert outcomes(laptop.run("--load-type", "full")) == UNCHANGED
    for name, found in laptop.command("verify").report["tables"].items():
        assert found["missing"] == found["rejected"] == {"free": 2, "taken": 1}.get(name, 0), name
        assert (found["stale"], found["extra"], found["pending"]) == (0, 0, 0), name
