"""Checks on the real stack: what they find before a commit is forbidden, said, or kept out of the table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.lake.staging import Staging
from support.shops.shop import open_shop
from support.shops.shop_rules import UNCHANGED, outcomes, prepared, rename

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

# For each kind of check: the table, the check, a change that it does not allow, and what it says of it.
KINDS = [
    (
        "purchase",
        {"type": "not_null", "columns": ["amount", "customer_id"]},
        "update purchase set customer_id = null, updated_at = now() where purchase_id in (7, 8)",
        "check 'not_null (amount, customer_id)': 2 rows fail it, the first: purchase_id=7; purchase_id=8",
    ),
    (
        "customer",
        {"type": "unique", "columns": ["name"]},
        "update customer set name = 'customer 9', updated_at = now() where customer_id = 3",
        "check 'unique (name)': 1 row fails it: customer_id=3",
    ),
    (
        "customer",
        {"type": "accepted_values", "column": "name", "values": ["renamed", "it's"]},
        "update customer set updated_at = now(), name = case customer_id when 3 then 'odd' else 'it''s' end",
        "check 'accepted_values (name)': 1 row fails it: customer_id=3",
    ),
    (
        "purchase",
        {"type": "range", "column": "amount", "min": 0, "max": "999.99"},
        "update purchase set amount = 10 ^ purchase_id, updated_at = now() where purchase_id in (1, 3)",
        "check 'range (amount)': 1 row fails it: purchase_id=3",
    ),
    (
        "purchase",
        {"type": "expression", "name": "amounts are positive", "sql": "amount > 0 -- not free"},
        "update purchase set amount = 0, updated_at = now() where purchase_id = 3",
        "check 'amounts are positive': 1 row fails it: purchase_id=3",
    ),
    (
        "purchase",
        {"type": "row_count_change", "max_increase": 0.1},
        "insert into purchase select i, 1, 1, now() from generate_series(61, 67) as i",
        "check 'row_count_change': 60 rows would become 67; max_increase is 0.1",
    ),
]


def checking(laptop: Laptop, table: str, *checks: dict[str, Any]) -> Laptop:
    """Give a table these checks, and no others."""
    laptop.settings["tables"][table]["checks"] = list(checks)
    return laptop.save()


def state(laptop: Laptop, table: str) -> tuple[Any, ...]:
    return laptop.snapshot_ids()[table], laptop.rows(table), laptop.timestamp()


def rejected(laptop: Laptop, table: str) -> list[tuple[str, dict[str, Any]]]:
    found = laptop.table(f"{table}__rejected").scan().to_arrow().to_pylist()
    return [(row["reason"], json.loads(row["row"])) for row in found]


@pytest.mark.parametrize(("table", "check", "change", "said"), KINDS, ids=lambda value: str(value)[:24])
def test_what_a_check_does_not_allow_is_not_committed_or_else_said(  # noqa: PLR0913, PLR0917  (fixtures)
    laptop: Laptop,
    connection: Connection,
    oracle: Oracle,
    table: str,
    check: dict[str, Any],
    change: str,
    said: str,
) -> None:
    checking(laptop, table, check)
    assert outcomes(laptop.run()) == UNCHANGED
    before = state(laptop, table)
    connection.execute(change)
    error = laptop.failing_run()["tables"][table]["error"]
    assert (error["type"], error["message"]) == ("CheckError", said)
    assert state(laptop, table) == before
    checking(laptop, table, {**check, "on_fail": "warn"})
    report = laptop.run()["tables"][table]
    assert (report["outcome"], report["warnings"]) == ("merged", [f"table '{table}': {said}"])
    oracle.check(laptop, against_source=True)


@pytest.mark.parametrize(
    ("table", "check", "change"), [kind[:3] for kind in KINDS[:5]], ids=lambda value: str(value)[:24]
)
def test_rows_that_a_check_rejects_are_kept_aside_once_and_the_others_committed(  # noqa: PLR0913, PLR0917
    laptop: Laptop,
    connection: Connection,
    oracle: Oracle,
    table: str,
    check: dict[str, Any],
    change: str,
) -> None:
    checking(laptop, table, {**check, "name": "strict", "on_fail": "reject"})
    good = {row[f"{table}_id"]: row for row in laptop.rows(table)}
    values = "'renamed'" if table == "customer" else "1, 1"
    connection.execute(f"insert into {table} select 100, {values}, now()")
    connection.execute(change)
    report = laptop.run()["tables"][table]
    wrong = {row[f"{table}_id"] for _, row in rejected(laptop, table)}
    assert wrong in ({7, 8}, {3})
    assert {reason for reason, _ in rejected(laptop, table)} == {"check 'strict'"}
    assert (report["rejected"], report["inserted"]) == (len(wrong), 1)
    now = {row[f"{table}_id"]: row for row in laptop.rows(table)}
    assert {key: now[key] for key in wrong} == {key: good[key] for key in wrong}, (
        "the last good version stays"
    )
    before = laptop.files(), laptop.snapshot_ids()
    for arguments in ((), ("--load-type", "full")):
        assert outcomes(laptop.run(*arguments)) == UNCHANGED
        assert (laptop.files(), laptop.snapshot_ids()) == before
    checking(laptop, table)
    laptop.run("--load-type", "full")
    oracle.check(laptop, against_source=True)


def test_the_first_load_is_checked(laptop: Laptop, connection: Connection) -> None:
    found = open_shop(laptop, connection)
    checking(laptop, "customer", {"type": "expression", "sql": "customer_id <> 5"})
    checking(laptop, "purchase", {"type": "range", "column": "amount", "max": 50, "on_fail": "reject"})
    report = laptop.failing_run()["tables"]
    assert report["customer"]["error"]["message"] == (
        "check 'expression (customer_id <> 5)': 1 row fails it: customer_id=5"
    )
    assert (report["purchase"]["inserted"], report["purchase"]["rejected"]) == (40, 20)
    assert laptop.rows("customer") == []
    assert laptop.timestamp() is None
    checking(laptop, "customer")
    connection.execute("update purchase set amount = 50 where amount > 50")
    laptop.run("--load-type", "full")
    found.check(laptop, against_source=True)


@pytest.mark.runtime
def test_a_row_that_stays_as_it_was_because_another_was_rejected_counts_for_unique(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    checking(laptop, "customer", {"type": "unique", "columns": ["name"], "on_fail": "reject"})
    rename(connection, "customer 20", "customer_id = 1")
    rename(connection, "customer 1", "customer_id = 2")
    rename(connection, "customer 2", "customer_id = 3")
    rename(connection, "free", "customer_id = 4")
    laptop.run()
    names = {row["customer_id"]: row["name"] for row in laptop.rows("customer")}
    assert len(set(names.values())) == 20
    assert [names[key] for key in (1, 2, 3, 4)] == ["customer 1", "customer 2", "customer 3", "free"]
    rename(connection, "elsewhere", "customer_id = 20")
    laptop.run("--load-type", "full")
    oracle.check(laptop, against_source=True)


def test_rows_that_swap_their_values_are_unique(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    checking(laptop, "customer", {"type": "unique", "columns": ["name"]})
    connection.execute(
        "update customer set updated_at = now(), name = 'customer ' || (3 - customer_id) "
        "where customer_id < 3"
    )
    connection.execute("delete from customer where customer_id = 20")
    rename(connection, "customer 20", "customer_id = 19")
    laptop.run("--load-type", "full")
    oracle.check(laptop, against_source=True)


def test_a_rejected_row_does_not_fail_other_checks(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    checking(
        laptop,
        "purchase",
        {"type": "range", "column": "amount", "min": 0},
        {"type": "not_null", "columns": ["customer_id"], "on_fail": "reject"},
    )
    connection.execute(
        "update purchase set amount = -1, customer_id = null, updated_at = now() where purchase_id = 3"
    )
    assert laptop.run()["tables"]["purchase"]["rejected"] == 1
    connection.execute(
        "update purchase set customer_id = 1, updated_at = clock_timestamp() where purchase_id = 3"
    )
    laptop.failing_run()
    connection.execute("update purchase set amount = 1, updated_at = clock_timestamp() where purchase_id = 3")
    laptop.run()
    oracle.check(laptop, against_source=True)


def test_r2_a_crash_after_a_check_rejected_and_before_the_commit_keeps_the_row_once(
    laptop: Laptop, connection: Connection, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> int:
        raise KeyboardInterrupt

    checking(laptop, "purchase", {"type": "range", "column": "amount", "min": 0, "on_fail": "reject"})
    connection.execute(
        "update purchase set amount = 3 - purchase_id, updated_at = now() where purchase_id in (1, 5)"
    )
    with monkeypatch.context() as broken:
        broken.setattr(Staging, "commit", crash)
        with pytest.raises(KeyboardInterrupt), prepared(laptop) as run:
            run()
    assert len(rejected(laptop, "purchase")) == 1
    report = laptop.run()["tables"]["purchase"]
    assert (report["updated"], report["rejected"]) == (1, 0)
    assert len(rejected(laptop, "purchase")) == 1
    connection.execute("update purchase set amount = 1, updated_at = clock_timestamp() where purchase_id = 5")
    laptop.run()
    oracle.check(laptop, against_source=True)


def test_a_mart_that_fails_a_check_stays_as_it_was_until_it_passes(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    mart = laptop.settings["marts"]["customer_purchases"]
    mart["checks"] = [
        {"type": "expression", "name": "small", "sql": "amount < 1000"},
        {"type": "unique", "columns": ["purchase_id"]},
        {"type": "not_null", "columns": ["name"], "on_fail": "warn"},
    ]
    laptop.save()
    before = state(laptop, "customer_purchases")
    connection.execute("update purchase set amount = 1000, updated_at = now() where purchase_id = 3")
    report = laptop.failing_run()
    assert report["tables"]["purchase"]["updated"] == 1
    assert report["marts"]["customer_purchases"]["error"]["message"] == (
        "check 'small': 1 row fails it: customer_id=4, purchase_id=3"
    )
    assert state(laptop, "customer_purchases")[:2] == before[:2]
    mart["checks"][0]["on_fail"] = "warn"
    laptop.save()
    report = laptop.run()
    assert report["marts"]["customer_purchases"]["warnings"] == [
        "table 'customer_purchases': check 'small': 1 row fails it: customer_id=4, purchase_id=3"
    ]
    oracle.check(laptop, against_source=True)


def test_a_check_of_a_column_that_is_not_there_stops_its_table_before_it_is_read(
    laptop: Laptop, oracle: Oracle
) -> None:
    checking(laptop, "purchase", {"type": "not_null", "columns": ["amuont"]})
    ended = laptop.command("plan")
    refused = next(step for step in ended.report["steps"] if step.get("table") == "purchase")
    assert refused["step"] == "refuse"
    assert refused["error"]["message"] == "tables.purchase.checks[0]: there is no column 'amuont'"
    oracle.check(laptop)
