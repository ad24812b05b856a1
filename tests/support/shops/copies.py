"""A table of its own for each case: copies of the shop's tables, all in one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.oracles.oracle import Joined, Mirrored, Oracle
from support.shops.shop import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

    from support.worlds.laptop import Laptop

_COLUMNS = {
    "customer": "customer_id, name, updated_at",
    "purchase": "purchase_id, customer_id, amount, updated_at",
}


_JOIN = """
    select c.customer_id, c.name, c.updated_at as customer_updated_at,
        p.purchase_id, p.amount, p.updated_at as {joined}_updated_at
    from customer as c, {joined} as p where p.customer_id = c.customer_id
"""


def open_copies(
    laptop: Laptop,
    connection: psycopg.Connection[Any],
    cases: Mapping[str, str],
    marts: Mapping[str, str] | None = None,
) -> Oracle:
    """Fill a copy of `customer` or `purchase` for each case, write the settings, and return the oracle.

    `cases` is the copied table by the case's name, which is the copy's name, too; `marts` is, by name,
    the copy of `purchase` that is joined to `customer`.
    """
    connection.execute(SCHEMA.read_bytes())
    for case, copied in cases.items():
        if case != copied:
            connection.execute(f"create table {case} (like {copied} including all)")
            connection.execute(f"insert into {case} select * from {copied}")
    mirrors = {
        case: Mirrored(case, (f"{copied}_id",), f"select {_COLUMNS[copied]} from {case}")
        for case, copied in cases.items()
    }
    joins = {
        mart: Joined(("customer_id", "purchase_id"), _JOIN.format(joined=joined))
        for mart, joined in (marts or {}).items()
    }
    laptop.configure(
        {case: {"from": f"public.{case}", "cursor": "updated_at"} for case in cases},
        {
            mart: {"from": "customer", "joins": [{"table": joined, "on": ["customer_id"]}]}
            for mart, joined in (marts or {}).items()
        },
    )
    return Oracle(connection, "public", mirrors, joins)
