"""Deletes on the real stack: rows marked as deleted come and go; a guard stops what looks like a fault."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from support.oracles.oracle import Joined, Oracle
from support.shops.copies import open_copies
from support.shops.shop import JOIN, open_shop
from support.shops.shop_rules import UNCHANGED, outcomes, rename

if TYPE_CHECKING:
    import psycopg

    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

GONE = "amount < 0 or customer_id = 13"


def open_marked(laptop: Laptop, connection: Connection) -> Oracle:
    """Open the shop with purchases that count as deleted, some of them by a predicate that may be NULL."""
    found = open_shop(laptop, connection)
    connection.execute("update purchase set amount = -1 where purchase_id in (1, 2)")
    connection.execute("update purchase set customer_id = null where purchase_id between 3 and 5")
    laptop.settings["tables"]["purchase"]["soft_delete"] = GONE
    laptop.save()
    purchase = replace(found.tables["purchase"], gone=GONE)
    # Against the source, a mart over marked rows is compared with the join of those that are not.
    joined = Joined(("customer_id", "purchase_id"), f"select * from ({JOIN}) as j where ({GONE}) is not true")
    return replace(found, tables={**found.tables, "purchase": purchase}, marts={"customer_purchases": joined})


def mark(connection: Connection, sets: str, where: str, table: str = "purchase") -> None:
    connection.execute(f"update {table} set {sets}, updated_at = clock_timestamp() where {where}")


def test_soft_deleted_rows_leave_mirror_and_mart_and_come_back(
    laptop: Laptop, connection: Connection
) -> None:
    oracle = open_marked(laptop, connection)
    laptop.run()
    oracle.follow(full=True)
    oracle.check(laptop)
    assert {3, 4, 5} <= {row["purchase_id"] for row in laptop.rows("purchase")}, "NULL marks nothing"
    deeds = (
        ("amount = -5", "purchase_id between 6 and 9", {"deleted": 4}),
        ("amount = 5", "purchase_id in (1, 7)", {"inserted": 2}),
        ("amount = null", "purchase_id = 8", None),
        ("amount = -6", "purchase_id in (6, 9)", {"outcome": "unchanged"}),
        ("customer_id = 13", "purchase_id in (3, 20)", {"deleted": 2}),
        ("customer_id = null", "purchase_id in (3, 20)", {"inserted": 2}),
    )
    connection.execute("alter table purchase alter amount drop not null")
    for sets, where, expected in deeds:
        mark(connection, sets, where)
        part = laptop.run()["tables"]["purchase"]
        if expected is not None:
            assert {name: part[name] for name in expected} == expected, where
        oracle.follow(full=False)
        oracle.check(laptop)
    assert outcomes(laptop.run("--load-type", "full")) == UNCHANGED
    assert laptop.command("verify").exit_code == 0


# By a table's name: its predicate, and what PostgreSQL says of it.
WRONG = {
    "no_column": ("no_such_column = 1", 'column "no_such_column" does not exist'),
    "no_boolean": ("'many'", 'invalid input syntax for type boolean: "many"'),
    "of_one_row": ("1 / (purchase_id - 7) > 5", "division by zero"),
    "unbalanced": ("amount < 0) or (", "syntax error"),
}


def test_an_error_in_the_predicate_is_that_tables_failure_alone(
    laptop: Laptop, connection: Connection
) -> None:
    oracle = open_copies(laptop, connection, {"customer": "customer", **dict.fromkeys(WRONG, "purchase")})
    oracle.prepare()
    laptop.run()
    oracle.follow(full=True)
    before = laptop.timestamp()
    for name, (predicate, _) in WRONG.items():
        laptop.settings["tables"][name]["soft_delete"] = predicate
        mark(connection, "amount = 1", "purchase_id = 7", name)
    laptop.save()
    rename(connection, "goes on")
    for load_type in ("incremental", "full"):
        report = laptop.failing_run("--load-type", load_type)
        for name, (_, words) in WRONG.items():
            assert words in report["tables"][name]["error"]["message"]
        assert report["tables"]["customer"]["error"] is None
        oracle.follow(full=False, tables=["customer"])
        oracle.check(laptop)
        assert laptop.timestamp() == before


def test_the_guard_lets_exactly_its_fraction_pass_and_writes_nothing_beyond(
    laptop: Laptop, connection: Connection
) -> None:
    oracle = open_shop(laptop, connection)
    laptop.run()
    connection.execute("delete from purchase where purchase_id > 30")
    laptop.run("--load-type", "full")
    oracle.check(laptop, against_source=True)
    connection.execute("delete from purchase where purchase_id > 14")
    rename(connection, "goes on")
    before = laptop.timestamp(), laptop.snapshot_ids()["purchase"]
    report = laptop.failing_run("--load-type", "full")
    error = report["tables"]["purchase"]["error"]
    assert "would delete 16 of 30 rows" in error["message"]
    assert "tables.purchase.max_delete_fraction: 1.0" in error["hint"]
    assert report["tables"]["customer"]["outcome"] == "merged"
    assert (laptop.timestamp(), laptop.snapshot_ids()["purchase"]) == before
    assert len(laptop.rows("purchase")) == 30
