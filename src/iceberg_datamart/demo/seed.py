"""The demo source: its six tables, and rows for them that are the same on every machine."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from psycopg import sql

from iceberg_datamart.demo.rows import KEYS, TABLES, Numbers, insert, prepare_dice, take_numbers

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

SPAN_MICROSECONDS = 180 * 86_400_000_000

# Behind every clock, so that the rows of `load` are older than any later change.
_SPREAD = """
    timestamptz '2025-01-01 00:00:00+00'
        + (id * {step} + pg_temp.dice(id, {table}, {step})) * interval '1 microsecond'
"""
# Scores come out of a nightly batch: all accounts of a night tie.
_NIGHTLY = """
    timestamptz '2025-01-01 02:30:00+00' + pg_temp.dice(id, {table}, 180) * interval '24 hours'
"""


def create_tables(connection: Connection) -> None:
    """Create the six tables in the schema `public`, empty, with an index on each cursor column."""
    with connection.transaction():
        connection.execute(files("iceberg_datamart.demo").joinpath("schema.sql").read_bytes())


def load(connection: Connection, rows: int, seed: int = 7) -> None:
    """Fill the empty tables with `rows` settlement transactions and what belongs to them.

    There is an account to every 25 of them, a queue to 10 and an adjustment to 20. Cursor values spread
    over half a year from 2025-01-01 UTC, whatever the clock says.
    """
    accounts, queues, adjustments = (max(1, rows // share) for share in (25, 10, 20))
    numbers = {
        "account": Numbers(1, accounts),
        "account_metadata": Numbers(1, accounts),
        "account_risk": Numbers(1, accounts),
        "queue": Numbers(1, queues, parents=accounts),
        "settlement_transaction": Numbers(1, rows, parents=queues),
        "adjustment": Numbers(1, adjustments, parents=rows),
    }
    with connection.transaction():
        prepare_dice(connection, seed)
        for table in KEYS:
            take_numbers(connection, table, numbers[table].last)
        for table in TABLES:
            insert(connection, table, numbers[table], seed, _moment(table, numbers[table].last))
            connection.execute(sql.SQL("analyze {}").format(sql.Identifier("public", table)))


def _moment(table: str, rows: int) -> sql.Composable:
    template = _NIGHTLY if table == "account_risk" else _SPREAD
    step = sql.Literal(max(1, SPAN_MICROSECONDS // rows))
    return sql.SQL(template).format(table=sql.Literal(table), step=step)
