"""Columns that change in the source: mirror and mart follow, or one table alone says why not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.app.settings_file import load_config
from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.sql.reserved import LINEAGE
from iceberg_datamart.lake.catalog import LakeCatalog
from iceberg_datamart.lake.runtime import present_runtime
from support.shops.changing_tables import MOMENT, alter, check, make, touch
from support.shops.shop_rules import UNCHANGED, outcomes

if TYPE_CHECKING:
    import psycopg

    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

# --- every type by every type

TYPES = {
    "int4": "int",
    "int8": "long",
    "float4": "float",
    "float8": "double",
    "bool": "boolean",
    "numeric(10,2)": "decimal(10, 2)",
    "numeric(12,2)": "decimal(12, 2)",
    "numeric(12,4)": "decimal(12, 4)",
    "text": "string",
    "bytea": "binary",
    "date": "date",
    "timestamp": "timestamp",
    "timestamptz": "timestamptz",
    "int4[]": "list<int>",
    "int8[]": "list<long>",
    "float4[]": "list<float>",
    "float8[]": "list<double>",
    "text[]": "list<string>",
}
WIDER = {
    ("int4", "int8"),
    ("float4", "float8"),
    ("numeric(10,2)", "numeric(12,2)"),
    ("int4[]", "int8[]"),
    ("float4[]", "float8[]"),
}
# A mirror that holds timestamps in UTC goes on doing so.
AS_IT_IS = {(old, old) for old in TYPES} | {(new, old) for old, new in WIDER} | {("timestamptz", "timestamp")}


def catalog_of(laptop: Laptop) -> LakeCatalog:
    """Return the lake's catalog, which makes mirrors without rows, and without a JVM."""
    config = load_config(laptop.file, os.environ)
    return LakeCatalog(config.catalog, config.database)


@pytest.mark.engines("matrix")
def test_of_every_pair_of_types_the_plan_follows_the_legal_changes_and_refuses_all_others(
    laptop: Laptop, connection: Connection
) -> None:
    zoneless = present_runtime().zoneless_timestamps
    numbers = {kind: number for number, kind in enumerate(TYPES)}
    for new, number in numbers.items():
        connection.execute(f"create table now_{number} (id int8 primary key, v {new})")
    pairs = {f"p{numbers[old]}_{numbers[new]}": (old, new) for old in TYPES for new in TYPES}
    laptop.configure({pair: {"from": f"now_{numbers[new]}"} for pair, (_, new) in pairs.items()}, {})
    lake = catalog_of(laptop)
    for pair, (old, _) in pairs.items():
        kind = "timestamptz" if old == "timestamp" and not zoneless else TYPES[old]
        lake.create(pair, (Column("id", "long"), Column("v", kind), *LINEAGE), ("id",), {})
    before = laptop.files()
    steps = laptop.plan()
    legal = AS_IT_IS if zoneless else AS_IT_IS | {("timestamp", "timestamptz")}
    for pair, (old, new) in pairs.items():
        if (old, new) in WIDER:
            assert steps[pair]["columns_widened"] == [f"v {TYPES[new]}"], (old, new)
        elif (old, new) in legal:
            assert (steps[pair]["step"], steps[pair]["columns_widened"]) == ("merge", []), (old, new)
        else:
            assert steps[pair]["step"] == "refuse", (old, new)
            assert "column 'v' changed from" in steps[pair]["error"]["message"], (old, new)
    assert laptop.files() == before


# --- legal changes, with rows

LEGAL = {
    "a": ("int", "bigint", "3000000000"),
    "b": ("real", "double precision", "1e300"),
    "c": ("numeric(10, 2)", "numeric(14, 2)", "123456789012.34"),
    "d": ("int[]", "bigint[]", "array[3000000000, null]"),
    "e": ("real[]", "float8[]", "array[1e300]"),
    "f": ("smallint", "int", "70000"),
    "g": ("varchar(5)", "text", "'longer than five'"),
    "h": ("bigint", "int", "-2"),
    "i": ("double precision", "real", "2.5"),
    "j": ("numeric(14, 2)", "numeric(10, 2)", "2.5"),
    "k": ("bigint[]", "smallint[]", "array[1, 2]"),
    "l": ("timestamptz", "timestamptz(0)", "'2024-01-01Z'"),
}
VALUES = {"g": "'x' || i", "l": "timestamptz '2023-01-01Z'", **dict.fromkeys("dek", "array[i, null]")}


@pytest.mark.runtime
def test_rows_of_every_legal_change_are_followed_by_mirror_and_mart(
    laptop: Laptop, connection: Connection
) -> None:
    columns = ", ".join(f"{name} {old}" for name, (old, _, _) in LEGAL.items())
    values = ", ".join(VALUES.get(name, "i") for name in LEGAL)
    connection.execute(
        f"create table thing (id int primary key, place int, {columns}, at timestamptz);"
        f"insert into thing select i, i % 3, {values}, {MOMENT} from generate_series(1, 20) i;"
        "create table spot (place int primary key, label text, seen timestamptz);"
        "insert into spot select i, 'spot ' || i, now() from generate_series(0, 2) i"
    )
    tables = {"thing": {"from": "thing", "cursor": "at"}, "spot": {"from": "spot", "cursor": "seen"}}
    laptop.configure(tables, {"spots": {"from": "spot", "joins": [{"table": "thing", "on": ["place"]}]}})
    laptop.run()
    alters = ", ".join(f"alter {name} type {new}" for name, (_, new, _) in LEGAL.items())
    connection.execute(f"alter table thing alter id type bigint, {alters}")
    joined = "select * from spot join thing using (place)"
    laptop.run()
    check(laptop, connection, "thing", "select * from thing")
    check(laptop, connection, "spots", joined)
    before = laptop.files()
    assert outcomes(laptop.run()) == UNCHANGED
    assert laptop.files() == before
    mart, mirror = laptop.table("spots").schema(), laptop.table("thing").schema()
    for name in LEGAL:
        assert str(mart.find_type(name)) == str(mirror.find_type(name)), f"the mart's {name} did not follow"
    sets = ", ".join(f"{name} = {value}" for name, (_, _, value) in LEGAL.items())
    connection.execute(f"update thing set {sets}, at = clock_timestamp() where id < 5")
    connection.execute("update thing set id = 5000000000, at = clock_timestamp() where id = 20")
    laptop.run("--load-type", "full")
    check(laptop, connection, "thing", "select * from thing")
    check(laptop, connection, "spots", joined)


# --- columns that come, go, and change their names

# What happens to a table with columns u_… and v_… of type int, what plan says of it, and why it is read so.
CHANGES = {
    "added": (
        "add m_{t} text default 'for all'",
        {"columns_added": ["m_added string"]},
        "column 'm_added' is new",
    ),
    "renamed": (
        "rename v_{t} to w_{t}",
        {
            "columns_added": ["w_renamed int"],
            "columns_absent": ["v_renamed"],
            "columns_renamed": [{"from": "v_renamed", "to": "w_renamed"}],
        },
        "column 'w_renamed' is new under this name: it was 'v_renamed'",
    ),
    "swapped": (
        "rename v_{t} to x; alter table {t} rename u_{t} to v_{t}; alter table {t} rename x to u_{t}",
        {
            "columns_renamed": [
                {"from": "u_swapped", "to": "v_swapped"},
                {"from": "v_swapped", "to": "u_swapped"},
            ]
        },
        "; ".join(
            f"column '{new}_swapped' is new under this name: it was '{old}_swapped'"
            for old, new in ("uv", "vu")
        ),
    ),
    "dropped": ("drop v_{t}", {"columns_absent": ["v_dropped"]}, None),
    "again": (
        "drop v_{t}, add v_{t} int default 5",
        {"columns_recreated": ["v_again"]},
        "column 'v_again' was dropped and recreated",
    ),
    "wider": (
        "drop v_{t}, add v_{t} bigint default 5000000000",
        {"columns_recreated": ["v_wider"], "columns_widened": ["v_wider long"]},
        "column 'v_wider' was dropped and recreated",
    ),
    "narrower": (
        "drop v_{t}, add v_{t} smallint",
        {"columns_recreated": ["v_narrower"]},
        "column 'v_narrower' was dropped and recreated",
    ),
}
_KINDS = ("columns_added", "columns_widened", "columns_absent", "columns_renamed", "columns_recreated")


@pytest.mark.runtime
@pytest.mark.matrix_on("glue-4.0")
def test_a_column_that_comes_goes_or_changes_its_name_is_followed_by_mirror_and_mart(
    laptop: Laptop, connection: Connection
) -> None:
    tables = make(connection, *CHANGES)
    first, *others = CHANGES
    mart = {"from": first, "joins": [{"table": t, "on": ["id"], "to": first} for t in others]}
    laptop.configure(tables, {"all_of_them": mart})
    laptop.run()
    for t, (change, _, _) in CHANGES.items():
        alter(connection, t, change)
    steps = laptop.plan()
    for t, (_, shown, reason) in CHANGES.items():
        assert {kind: steps[t][kind] for kind in _KINDS if steps[t][kind]} == shown
        assert steps[t]["load_type"] == ("incremental" if reason is None else "full")
        assert reason in {None, steps[t]["reason"]}
    report = laptop.run()
    whole = {t: f"all rows are compared: {reason}" for t, (_, _, reason) in CHANGES.items() if reason}
    assert set(report["warnings"]) == {
        *(f"table '{t}': {text}" for t, text in whole.items()),
        "table 'renamed': column 'v_renamed' is gone from the source; new rows hold NULL",
        "table 'dropped': column 'v_dropped' is gone from the source; new rows hold NULL",
    }
    joined = f"select * from {first} " + " ".join(f"join {t} using (id)" for t in others)
    for written in (False, True):
        for t in CHANGES if written else ():
            touch(connection, t)
        if written:
            laptop.run()
        for t in CHANGES:
            check(laptop, connection, t, f"select * from {t}")
        check(laptop, connection, "all_of_them", joined)
    held = {row["id"]: row["v_dropped"] for row in laptop.rows("dropped")}
    assert held == {**{i: -i for i in range(1, 13)}, 100: None}
    before = laptop.files(), laptop.snapshot_ids()
    assert outcomes(laptop.run()) == UNCHANGED
    assert (laptop.files(), laptop.snapshot_ids()) == before


def test_a_column_that_comes_back_or_is_recreated_as_it_was_is_a_full_load_once(
    laptop: Laptop, connection: Connection
) -> None:
    laptop.configure(make(connection, "gone", "back", "same"), {})
    laptop.run()
    alter(connection, "gone", "drop v_gone")
    alter(connection, "back", "rename v_back to w_back")
    connection.execute("alter table same add x int; update same set x = v_same")
    alter(connection, "same", "drop v_same; alter table same rename x to v_same")
    assert laptop.run()["tables"]["same"]["rows_read"] == 12
    check(laptop, connection, "same", "select * from same")
    assert [s["load_type"] for s in laptop.history("same")] == ["full", "full"]
    connection.execute("update back set w_back = 8")
    alter(connection, "gone", "add v_gone int default 4")
    alter(connection, "back", "rename w_back to v_back")
    loads = {"gone": "full", "back": "full", "same": "incremental"}
    assert {t: step["load_type"] for t, step in laptop.plan().items()} == loads
    laptop.run()
    for t in ("gone", "back", "same"):
        check(laptop, connection, t, f"select * from {t}")
    before = laptop.files(), laptop.snapshot_ids()
    assert outcomes(laptop.run()) == UNCHANGED
    assert (laptop.files(), laptop.snapshot_ids()) == before


# --- plan, for people


def test_plan_tells_of_each_change_in_a_line(laptop: Laptop, connection: Connection) -> None:
    laptop.configure(make(connection, "queue", "quiet"), {})
    lake = catalog_of(laptop)
    for t in ("queue", "quiet"):
        kinds = {"id": "int", f"u_{t}": "int", f"v_{t}": "int", f"at_{t}": "timestamptz"}
        columns = [Column(name, kind, nullable=name != "id") for name, kind in kinds.items()]
        lake.create(t, (*columns, *LINEAGE), ("id",), {})
    alter(connection, "queue", "add memo text, alter v_queue type bigint, drop u_queue")
    shown = laptop.process("plan").stdout
    line = "queue: adds 'memo' string; widens 'v_queue' int to long; 'u_queue' is gone from the source"
    assert line in shown.splitlines()
    assert "quiet:" not in shown
