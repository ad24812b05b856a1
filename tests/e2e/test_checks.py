"""Checks on the real stack: what they find before a commit is forbidden, said, or kept out of the table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.lake.publishing import Publishing
from support.shops.copies import open_copies
from support.shops.shop import open_shop
from support.shops.shop_rules import UNCHANGED, outcomes, prepared

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

# By a table's name: what it is a copy of, its check, a change that the check does not allow, what is said.
KINDS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "filled": (
        "purchase",
        {"type": "not_null", "columns": ["amount", "customer_id"]},
        "update filled set customer_id = null, updated_at = now() where purchase_id in (7, 8)",
        "check 'not_null (amount, customer_id)': 2 rows fail it, the first: purchase_id=7; purchase_id=8",
    ),
    "single": (
        "customer",
        {"type": "unique", "columns": ["name"]},
        "update single set name = 'customer 9', updated_at = now() where customer_id = 3",
        "check 'unique (name)': 1 row fails it: customer_id=3",
    ),
    "listed": (
        "customer",
        {"type": "accepted_values", "column": "name", "values": ["renamed", "it's"]},
        "update listed set updated_at = now(), name = case customer_id when 3 then 'odd' else 'it''s' end",
        "check 'accepted_values (name)': 1 row fails it: customer_id=3",
    ),
    "ranged": (
        "purchase",
        {"type": "range", "column": "amount", "min": 0, "max": "999.99"},
        "update ranged set amount = 10 ^ purchase_id, updated_at = now() where purchase_id in (1, 3)",
        "check 'range (amount)': 1 row fails it: purchase_id=3",
    ),
    "positive": (
        "purchase",
        {"type": "expression", "name": "amounts are positive", "sql": "amount > 0 -- not free"},
        "update positive set amount = 0, updated_at = now() where purchase_id = 3",
        "check 'amounts are positive': 1 row fails it: purchase_id=3",
    ),
    "growing": (
        "purchase",
        {"type": "row_count_change", "max_increase": 0.1},
        "insert into growing select i, 1, 1, now() from generate_series(61, 67) as i",
        "check 'row_count_change': 60 rows would become 67; max_increase is 0.1",
    ),
}
REJECTING = tuple(name for name in KINDS if name != "growing")


def checking(laptop: Laptop, table: str, *checks: dict[str, Any]) -> Laptop:
    """Give a table these checks, and no others."""
    laptop.settings["tables"][table]["checks"] = list(checks)
    return laptop.save()


def state(laptop: Laptop, table: str) -> tuple[Any, ...]:
    return laptop.snapshot_ids()[table], laptop.rows(table), laptop.timestamp()


def rejected(laptop: Laptop, table: str) -> list[tuple[str, dict[str, Any]]]:
    found = laptop.table(f"{table}__rejected").scan().to_arrow().to_pylist()
    return [(row["reason"], json.loads(row["row"])) for row in found]


def test_what_a_check_does_not_allow_is_not_committed_or_else_said(
    laptop: Laptop, connection: Connection
) -> None:
    oracle = open_copies(laptop, connection, {name: copied for name, (copied, *_) in KINDS.items()})
    laptop.run()
    for name, (_, check, _, _) in KINDS.items():
        checking(laptop, name, check)
    assert outcomes(laptop.run()) == UNCHANGED
    before = {name: state(laptop, name) for name in KINDS}
    for _, _, change, _ in KINDS.values():
        connection.execute(change)
    errors = {name: part["error"] for name, part in laptop.failing_run()["tables"].items()}
    assert {name: error["message"] for name, error in errors.items()} == {n: k[3] for n, k in KINDS.items()}
    assert {error["type"] for error in errors.values()} == {"CheckError"}
    assert {name: state(laptop, name) for name in KINDS} == before
    for name, (_, check, _, _) in KINDS.items():
        checking(laptop, name, {**check, "on_fail": "warn"})
    report = laptop.run()["tables"]
    assert {name: (part["outcome"], part["warnings"]) for name, part in report.items()} == {
        name: ("merged", [f"table '{name}': {said}"]) for name, (_, _, _, said) in KINDS.items()
    }
    oracle.check(laptop, against_source=True)


def keyed(laptop: Laptop, name: str) -> dict[int, dict[str, Any]]:
    """Return the mirror's rows by their key."""
    return {row[f"{KINDS[name][0]}_id"]: row for row in laptop.rows(name)}


def test_rows_that_a_check_rejects_are_kept_aside_once_and_the_others_committed(
    laptop: Laptop, connection: Connection
) -> None:
    oracle = open_copies(laptop, connection, {name: KINDS[name][0] for name in REJECTING})
    laptop.run()
    good = {name: keyed(laptop, name) for name in REJECTING}
    for name in REJECTING:
        copied, check, change, _ = KINDS[name]
        checking(laptop, name, {**check, "name": "strict", "on_fail": "reject"})
        values = "'renamed'" if copied == "customer" else "1, 1"
        connection.execute(f"insert into {name} select 100, {values}, now()")
        connection.execute(change)
    report = laptop.run()["tables"]
    for name in REJECTING:
        wrong = {row[f"{KINDS[name][0]}_id"] for _, row in rejected(laptop, name)}
        assert wrong == ({7, 8} if name == "filled" else {3}), name
        assert {reason for reason, _ in rejected(laptop, name)} == {"check 'strict'"}, name
        assert (report[name]["rejected"], report[name]["inserted"]) == (len(wrong), 1), name
        now = keyed(laptop, name)
        last_good = {key: good[name][key] for key in wrong}
        assert {key: now[key] for key in wrong} == last_good, f"{name}: the last good version stays"
    before = laptop.files(), laptop.snapshot_ids()
    for arguments in ((), ("--load-type", "full")):
        assert outcomes(laptop.run(*arguments)) == UNCHANGED
        assert (laptop.files(), laptop.snapshot_ids()) == before
    for name in REJECTING:
        checking(laptop, name)
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


UNIQUE_NAME = {"type": "unique", "columns": ["name"]}
NO_CUSTOMER = {"type": "not_null", "columns": ["customer_id"]}


def test_unique_counts_rows_as_they_will_be_and_a_rejected_row_fails_no_other_check(
    laptop: Laptop, connection: Connection
) -> None:
    copies = {"chained": "customer", "swapped": "customer", "doubly": "purchase"}
    oracle = open_copies(laptop, connection, copies)
    checking(laptop, "chained", {**UNIQUE_NAME, "on_fail": "reject"})
    checking(laptop, "swapped", UNIQUE_NAME)
    ranged = {"type": "range", "column": "amount", "min": 0}
    checking(laptop, "doubly", ranged, {**NO_CUSTOMER, "on_fail": "reject"})
    laptop.run()
    # Each of these takes the name of a row that keeps it, because it is rejected for the same reason.
    for key, name in {1: "customer 20", 2: "customer 1", 3: "customer 2", 4: "free"}.items():
        write(connection, "chained", f"name = '{name}'", f"customer_id = {key}")
    write(connection, "doubly", "amount = -1, customer_id = null", "purchase_id = 3")
    assert laptop.run()["tables"]["doubly"]["rejected"] == 1
    names = {row["customer_id"]: row["name"] for row in laptop.rows("chained")}
    assert len(set(names.values())) == 20
    assert [names[key] for key in (1, 2, 3, 4)] == ["customer 1", "customer 2", "customer 3", "free"]
    write(connection, "chained", "name = 'elsewhere'", "customer_id = 20")
    write(connection, "swapped", "name = 'customer ' || (3 - customer_id)", "customer_id < 3")
    connection.execute("delete from swapped where customer_id = 20")
    write(connection, "swapped", "name = 'customer 20'", "customer_id = 19")
    write(connection, "doubly", "customer_id = 1", "purchase_id = 3")
    report = laptop.failing_run("--load-type", "full")["tables"]
    assert {name: part["error"] is None for name, part in report.items()} == {
        "chained": True,
        "swapped": True,
        "doubly": False,
    }
    write(connection, "doubly", "amount = 1", "purchase_id = 3")
    laptop.run()
    oracle.check(laptop, against_source=True)


def write(connection: Connection, table: str, sets: str, where: str) -> None:
    connection.execute(f"update {table} set {sets}, updated_at = clock_timestamp() where {where}")


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
        broken.setattr(Publishing, "commit", crash)
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
    verified = laptop.command("verify")
    assert (verified.exit_code, verified.report["result"]) == (1, "pending")
    waiting = verified.report["marts"]["customer_purchases"]
    assert (waiting["result"], waiting["stale"]) == ("pending", 0), "of what it consumed it is the join"
    assert waiting["notes"] == [
        "compared with its mirrors as it consumed them, but purchase changed since: iceberg-datamart run"
    ]
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
