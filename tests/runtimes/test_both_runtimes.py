"""One lake that both runtimes write in turn: a job that moves from Glue 4.0 to 5.1 or back loses nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iceberg_datamart.lake.runtime import GLUE_4_0, GLUE_5_1, Runtime
from support.oracles.oracle import assert_same, rows_of
from support.shops.shop import open_shop
from support.shops.shop_rules import rename
from support.worlds.laptop import Ended, problems

if TYPE_CHECKING:
    import psycopg

    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = {GLUE_4_0.name: ROOT / ".venv-glue-4.0", GLUE_5_1.name: ROOT / ".venv"}


def run_on(runtime: Runtime, laptop: Laptop, *arguments: str) -> Ended:
    """Run the job in the runtime's own environment, which `make test` has made."""
    program = ENVIRONMENTS[runtime.name] / "bin" / "iceberg-datamart"
    done = subprocess.run(
        [program, "run", "--json", "--config", laptop.file, *arguments],
        cwd=laptop.directory,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def succeed_on(runtime: Runtime, laptop: Laptop, *arguments: str) -> None:
    report = run_on(runtime, laptop, *arguments).report
    assert report["status"] == "succeeded", problems(report)


def test_a_lake_made_on_glue_4_goes_on_exactly_on_glue_5_and_back(
    laptop: Laptop, connection: Connection
) -> None:
    open_shop(laptop, connection)
    connection.execute(
        "alter table customer add seen timestamp default timestamp '2026-03-29 02:30:00.123456'"
    )
    for runtime in (GLUE_4_0, GLUE_5_1, GLUE_4_0):
        rename(connection, f"renamed on {runtime.name}", "customer_id % 3 = 0")
        connection.execute("delete from purchase where purchase_id = (select max(purchase_id) from purchase)")
        succeed_on(runtime, laptop, "--load-type", "full")
        # Held as timestamptz in UTC, for Glue 4.0 made it so.
        customers = "select customer_id, name, updated_at, seen at time zone 'UTC' as seen from customer"
        truth = {
            "customer": (customers, ["customer_id"]),
            "purchase": ("select * from purchase", ["purchase_id"]),
        }
        for table, (query, key) in truth.items():
            assert_same(table, laptop.rows(table), rows_of(connection, query, "public"), key)
        assert len(laptop.rows("customer_purchases")) == len(laptop.rows("purchase"))


def test_glue_4_deletes_from_tables_made_on_glue_5_and_still_knows_their_key(
    laptop: Laptop, connection: Connection
) -> None:
    oracle = open_shop(laptop, connection)
    succeed_on(GLUE_5_1, laptop)
    assert laptop.table("purchase").schema().identifier_field_names() == {"purchase_id"}
    rename(connection, "renamed", "customer_id = 3")
    connection.execute("delete from purchase where purchase_id % 7 = 0")
    succeed_on(GLUE_4_0, laptop, "--load-type", "full")
    oracle.follow(full=True)
    oracle.check(laptop, against_source=True)
    laptop.settings["tables"]["purchase"]["primary_key"] = ["customer_id"]
    laptop.save()
    ended = run_on(GLUE_4_0, laptop)
    assert "the mirror's is purchase_id" in ended.report["tables"]["purchase"]["error"]["message"]


def test_a_type_that_glue_4_cannot_read_fails_that_table_alone_and_says_the_mend(
    laptop: Laptop, connection: Connection
) -> None:
    open_shop(laptop, connection)
    connection.execute("alter table customer add seen timestamp default now()")
    succeed_on(GLUE_5_1, laptop)
    before = laptop.snapshot_ids()["customer"]
    rename(connection, "renamed", "customer_id = 3")
    connection.execute("update purchase set amount = amount + 1, updated_at = clock_timestamp()")
    ended = run_on(GLUE_4_0, laptop)
    tables = ended.report["tables"]
    assert (ended.exit_code, tables["purchase"]["outcome"], tables["customer"]["outcome"]) == (
        1,
        "merged",
        "failed",
    )
    assert "column 'seen' of the mirror is a timestamp without zone" in tables["customer"]["error"]["message"]
    assert "glue-5.1" in tables["customer"]["error"]["hint"]
    assert laptop.snapshot_ids()["customer"] == before
    succeed_on(GLUE_5_1, laptop)
    assert {row["name"] for row in laptop.rows("customer") if row["customer_id"] == 3} == {"renamed"}
