"""One lake that both runtimes write in turn: a job that moves from Glue 4.0 to 5.1 or back loses nothing."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.lake.runtime import GLUE_4_0, GLUE_5_1, Runtime
from support.oracles.oracle import assert_same, rows_of
from support.shops.shop import open_shop
from support.shops.shop_rules import rename
from support.worlds import warm_process
from support.worlds.laptop import problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from support.worlds.laptop import Ended, Laptop

    Connection = psycopg.Connection[Any]

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = {GLUE_4_0.name: ROOT / ".venv-glue-4.0", GLUE_5_1.name: ROOT / ".venv"}


class Runtimes:
    """One lake, and a process of each runtime's own environment, which `make test` has made."""

    def __init__(self, laptop: Laptop, stack: ExitStack) -> None:
        self._laptop = laptop
        self._bin = {name: environment / "bin" for name, environment in ENVIRONMENTS.items()}
        self._processes = {
            name: stack.enter_context(warm_process.running(laptop.directory, {}, folder / "python"))
            for name, folder in self._bin.items()
        }

    def run_on(self, runtime: Runtime, *arguments: str) -> Ended:
        program = self._bin[runtime.name] / "iceberg-datamart"
        words = ("run", "--json", "--config", str(self._laptop.file), *arguments)
        return self._processes[runtime.name].run(program, *words)

    def succeed_on(self, runtime: Runtime, *arguments: str) -> None:
        report = self.run_on(runtime, *arguments).report
        assert report["status"] == "succeeded", problems(report)


@pytest.fixture
def runtimes(laptop: Laptop) -> Iterator[Runtimes]:
    with ExitStack() as stack:
        yield Runtimes(laptop, stack)


# `seen` is held as timestamptz in UTC, for Glue 4.0 made that mirror.
TRUTH = {
    "customer": (
        "select customer_id, name, updated_at, seen at time zone 'UTC' as seen from customer",
        "customer_id",
    ),
    "purchase": ("select * from purchase", "purchase_id"),
    "parcel": ("select * from parcel", "parcel_id"),
}


def open_four_tables(laptop: Laptop, connection: Connection) -> None:
    """Fill the shop, with a timestamp without zone, and two tables that are not mirrored yet."""
    open_shop(laptop, connection)
    connection.execute(
        "alter table customer add seen timestamp default timestamp '2026-03-29 02:30:00.123456';"
        "create table parcel (parcel_id int primary key, updated_at timestamptz);"
        "insert into parcel select i, now() from generate_series(1, 9) as i;"
        "create table visit (visit_id int primary key, word text, seen timestamp, updated_at timestamptz);"
        "insert into visit select i, 'first', now(), now() from generate_series(1, 9) as i"
    )


def change(connection: Connection, name: str) -> None:
    """Change rows, and delete some: a full load must see both."""
    rename(connection, name, "customer_id % 3 = 0")
    connection.execute("delete from purchase where purchase_id = (select max(purchase_id) from purchase)")
    connection.execute("delete from parcel where parcel_id = (select max(parcel_id) from parcel)")
    connection.execute(f"update visit set word = '{name}', updated_at = clock_timestamp() where visit_id = 3")


JOIN = """
    select c.customer_id, c.name, c.updated_at as customer_updated_at, c.seen at time zone 'UTC' as seen,
        p.purchase_id, p.amount, p.updated_at as purchase_updated_at
    from customer as c join purchase as p on p.customer_id = c.customer_id
"""


def check(laptop: Laptop, connection: Connection, *tables: str) -> None:
    """Assert that mirrors and mart are exact."""
    for table in tables:
        query, key = TRUTH[table]
        assert_same(table, laptop.rows(table), rows_of(connection, query, "public"), [key])
    joined = rows_of(connection, JOIN, "public")
    assert_same("mart", laptop.rows("customer_purchases"), joined, ["customer_id", "purchase_id"])


def words_of_visit(laptop: Laptop) -> str:
    return {row["visit_id"]: row["word"] for row in laptop.rows("visit")}[3]


def test_a_lake_goes_on_exactly_from_glue_4_to_glue_5_and_back_but_for_a_type_that_glue_4_cannot_read(
    laptop: Laptop, connection: Connection, runtimes: Runtimes
) -> None:
    open_four_tables(laptop, connection)
    full = ("--load-type", "full")
    runtimes.succeed_on(GLUE_4_0, *full)
    check(laptop, connection, "customer", "purchase")
    # On Glue 5.1: two tables more, one of them of a type that Glue 4.0 has not.
    for table in ("parcel", "visit"):
        laptop.settings["tables"][table] = {"source": "prd", "from": table, "cursor": "updated_at"}
    laptop.save()
    change(connection, "second")
    runtimes.succeed_on(GLUE_5_1, *full)
    check(laptop, connection, *TRUTH)
    assert laptop.table("parcel").schema().identifier_field_names() == {"parcel_id"}
    # Back on Glue 4.0: that table fails alone.
    change(connection, "third")
    before = laptop.snapshot_ids()["visit"]
    ended = runtimes.run_on(GLUE_4_0, *full)
    tables = ended.report["tables"]
    outcomes = {name: part["outcome"] for name, part in tables.items()}
    assert ended.exit_code == 1
    assert outcomes == {**dict.fromkeys(TRUTH, "merged"), "visit": "failed"}
    assert "column 'seen' of the mirror is a timestamp without zone" in tables["visit"]["error"]["message"]
    assert "glue-5.1" in tables["visit"]["error"]["hint"]
    assert laptop.snapshot_ids()["visit"] == before
    check(laptop, connection, *TRUTH)
    # It still knows the key of the table that Glue 5.1 made.
    laptop.settings["tables"]["parcel"]["primary_key"] = ["updated_at"]
    laptop.save()
    ended = runtimes.run_on(GLUE_4_0, "--table", "parcel")
    assert "the mirror's is parcel_id" in ended.report["tables"]["parcel"]["error"]["message"]
    del laptop.settings["tables"]["parcel"]["primary_key"]
    laptop.save()
    assert words_of_visit(laptop) == "second"
    runtimes.succeed_on(GLUE_5_1)
    assert words_of_visit(laptop) == "third"
    check(laptop, connection, *TRUTH)
