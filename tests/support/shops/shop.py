"""A shop of two tables and one mart, for the tests that take one rule at a time."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.oracles.oracle import Joined, Mirrored, Oracle

if TYPE_CHECKING:
    import psycopg

    from support.worlds.laptop import Laptop

SCHEMA = Path(__file__).parents[1] / "schemas" / "shop.sql"
TABLES: dict[str, dict[str, Any]] = {
    "customer": {"from": "public.customer", "cursor": "updated_at"},
    "purchase": {"from": "public.purchase", "cursor": "updated_at"},
}
MARTS: dict[str, dict[str, Any]] = {
    "customer_purchases": {
        "from": "customer",
        "joins": [{"table": "purchase", "on": ["customer_id"]}],
    }
}
JOIN = """
    select c.customer_id, c.name, c.updated_at as customer_updated_at,
        p.purchase_id, p.amount, p.updated_at as purchase_updated_at
    from customer as c, purchase as p where p.customer_id = c.customer_id
"""
_MIRRORS = {
    "customer": Mirrored("customer", ("customer_id",), "select customer_id, name, updated_at from customer"),
    "purchase": Mirrored(
        "purchase", ("purchase_id",), "select purchase_id, customer_id, amount, updated_at from purchase"
    ),
}
_JOINS = {"customer_purchases": Joined(("customer_id", "purchase_id"), JOIN)}


def open_shop(laptop: Laptop, connection: psycopg.Connection[Any]) -> Oracle:
    """Fill the source, write the settings, and return the oracle."""
    connection.execute(SCHEMA.read_bytes())
    laptop.configure(copy.deepcopy(TABLES), copy.deepcopy(MARTS))
    oracle = oracle_of(connection)
    oracle.prepare()
    return oracle


def oracle_of(connection: psycopg.Connection[Any]) -> Oracle:
    """Return the oracle of a shop that is filled already."""
    return Oracle(connection, "public", _MIRRORS, _JOINS)
