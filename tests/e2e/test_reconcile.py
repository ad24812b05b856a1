"""Reconcile on the real stack: what no cursor shows is found by digests, and equal slices are never read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.shops.shop_rules import UNCHANGED, outcomes

if TYPE_CHECKING:
    import psycopg

    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

TYPES = Path(__file__).parents[1] / "support" / "schemas" / "thing.sql"
KEYS = {
    "int8": "n * 1000 - 100000",
    "text": "'kéy ' || n",
    "uuid": "md5('k' || n)::uuid",
    "date": "date '1999-12-31' + n * 3",
    "timestamptz": "timestamptz '1969-12-31 12:00:00Z' + n * interval '1 hour'",
    "timestamp": "timestamp '2024-03-31 00:00:00' + n * interval '10 minutes'",
    "numeric(20, 2)": "n / 100.0",
    "float8": "n / 3.0",
}


def fill(connection: Connection, key: str) -> None:
    """Make table `thing` of all types, in the first schema of the search path, and fill it."""
    text = TYPES.read_text("utf-8").replace(":key", key)
    numbers = {":value": "n", ":first": "1", ":second": "2", ":third": "3"}
    for word, number in numbers.items():
        text = text.replace(word, re.sub(r"\bn\b", number, KEYS[key]))
    connection.execute(text.encode())


def things(laptop: Laptop, connection: Connection, **settings: Any) -> None:
    """Fill a table of all types, and configure it with a cursor."""
    fill(connection, "int8")
    laptop.configure({"thing": {"from": "public.thing", "cursor": "at", **settings}}, {})


def words(laptop: Laptop, connection: Connection) -> tuple[dict[Any, str], dict[Any, str]]:
    """Return the column `words` by key, in the mirror and in the source."""
    held = {str(row["id"]): row["words"] for row in laptop.rows("thing")}
    connection.execute("set timezone = 'UTC'")
    return held, {str(key): value for key, value in connection.execute("select id, words from thing")}


@pytest.mark.engines("matrix")
def test_rows_equal_under_any_key_have_equal_digests_and_deletes_and_silent_changes_have_others(
    laptop: Laptop, connection: Connection
) -> None:
    named = {f"thing_{number}": key for number, key in enumerate(KEYS)}
    for name, key in named.items():
        connection.execute(f"create schema {name}; set search_path = {name}")
        fill(connection, key)
    laptop.configure({name: {"from": f"{name}.thing", "cursor": "at"} for name in named}, {})
    laptop.run()
    before = laptop.files(), laptop.snapshot_ids()
    assert outcomes(laptop.command("reconcile").report) == UNCHANGED
    assert (laptop.files(), laptop.snapshot_ids()) == before
    for name in named:
        connection.execute(
            f"delete from {name}.thing where whole % 100 = 0; "
            f"update {name}.thing set words = 'silent' where whole = -7"
        )
    report = laptop.command("reconcile").report
    for name, key in named.items():
        outcome = report["tables"][name]
        assert (outcome["updated"], outcome["deleted"], outcome["inserted"]) == (1, 3, 0), key
        assert outcome["rows_read"] <= 20, key
        expected = [row for (row,) in connection.execute(f"select words from {name}.thing")]
        assert sorted(map(str, expected)) == sorted(str(row["words"]) for row in laptop.rows(name)), key


CHANGES = {
    "small": "small + 1",
    "whole": "whole + 1",
    "big": "big + 1",
    "truth": "not truth",
    "single": "single + 1",
    "precise": "precise + 1e-9",
    "price": "price + 0.0001",
    "tiny": "tiny + 0.000000000001",
    "words": "words || ' '",
    "code": "'x'",
    "short": "upper(short)",
    "bytes": "bytes || '\\x00'",
    "uid": "gen_random_uuid()",
    "doc": "doc || '{\"a\": null}'",
    "feeling": "case when feeling = 'sad' then 'so so'::mood else 'sad' end",
    "span": "span + interval '1 month'",
    "day": "day + 1",
    "clock": "clock + interval '1 microsecond'",
    "local": "local + interval '1 microsecond'",
    "instant": "instant - interval '1 microsecond'",
    "numbers": "numbers || null::int4",
    "longs": "array[longs[1] + 1]",
    "fractions": "fractions || '-Infinity'::float8",
    "truths": "array[false, null]",
    "names": "array['a', ':1', 'N', null, '']",
    "grid": "array[[1, 1], [2, 3]]",
}


@pytest.mark.runtime
@pytest.mark.matrix_on("glue-4.0")
def test_a_change_in_any_column_is_found_and_mended(laptop: Laptop, connection: Connection) -> None:
    things(laptop, connection)
    laptop.run()
    for number, (column, value) in enumerate(CHANGES.items(), start=10):
        connection.execute(f"update thing set {column} = {value} where id = {number} * 1000 - 100000")
    assert outcomes(laptop.run()) == UNCHANGED, "the cursor shows none of these changes"
    outcome = laptop.command("reconcile").report["tables"]["thing"]
    assert (outcome["updated"], outcome["inserted"], outcome["deleted"]) == (len(CHANGES), 0, 0)
    assert outcome["rows_read"] == len(CHANGES), "rows of other slices are not transferred"
    assert outcomes(laptop.command("reconcile").report) == UNCHANGED


def test_a_wholly_changed_table_is_read_whole(laptop: Laptop, connection: Connection) -> None:
    things(laptop, connection)
    laptop.run()
    connection.execute("update thing set words = 'all' || id")
    assert laptop.command("reconcile").report["tables"]["thing"]["updated"] == 300
    held, expected = words(laptop, connection)
    assert held == expected


def test_reconcile_is_the_turn_of_every_second_run(laptop: Laptop, connection: Connection) -> None:
    things(laptop, connection, reconcile="every 2 runs")
    laptop.run()
    # Not the newest row: that it is gone is a sign that the cursor went back, and all rows are compared.
    connection.execute("delete from thing where id < 0 and at < (select max(at) from thing)")
    assert laptop.run()["tables"]["thing"]["deleted"] == 0
    assert laptop.plan()["thing"]["load_type"] == "reconcile"
    assert laptop.run()["tables"]["thing"]["deleted"] == 98
    assert laptop.history("thing")[0]["load_type"] == "reconcile"


def test_an_emptied_source_is_stopped_by_the_delete_guard(laptop: Laptop, connection: Connection) -> None:
    things(laptop, connection)
    laptop.run()
    before = laptop.snapshot_ids(), laptop.timestamp()
    connection.execute("delete from thing")
    ended = laptop.command("reconcile")
    assert ended.exit_code == 1
    assert ended.report["tables"]["thing"]["error"]["type"] == "DeleteGuardError"
    assert (laptop.snapshot_ids(), laptop.timestamp()) == before


def test_soft_deleted_rows_are_neither_missing_nor_kept(laptop: Laptop, connection: Connection) -> None:
    things(laptop, connection, soft_delete="not truth")
    laptop.run()
    assert len(laptop.rows("thing")) == 150
    assert outcomes(laptop.command("reconcile").report) == UNCHANGED
    connection.execute("update thing set truth = not truth where whole between -10 and -1")
    outcome = laptop.command("reconcile").report["tables"]["thing"]
    assert (outcome["inserted"], outcome["deleted"]) == (5, 5)


def test_rows_of_a_key_that_the_source_does_not_guarantee_are_reconciled(
    laptop: Laptop, connection: Connection
) -> None:
    things(laptop, connection, primary_key=["whole", "big"])
    laptop.run()
    connection.execute("alter table thing drop constraint thing_pkey")
    connection.execute(
        "insert into thing select * from thing where whole = -5; delete from thing where whole = -6"
    )
    refused = laptop.command("reconcile").report["tables"]["thing"]["error"]
    assert refused["type"] == "DuplicateKeyError"
    laptop.settings["tables"]["thing"]["duplicates"] = "newest"
    laptop.save()
    outcome = laptop.command("reconcile").report["tables"]["thing"]
    assert (outcome["inserted"], outcome["updated"], outcome["deleted"]) == (0, 0, 1)
    assert outcome["dropped"] == 1
    assert len(laptop.rows("thing")) == 299
