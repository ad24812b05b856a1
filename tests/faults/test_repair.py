"""A table whose current metadata file is gone: told, corrected by `repair`, read again from there (R4, R9).

So Iceberg leaves a table where it takes its own commit for a failed one (iceberg issues 7151 and 9411).
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from support.shops.shop import open_shop
from support.shops.shop_rules import UNCHANGED, outcomes, rename
from support.worlds.laptop import Laptop

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Databases

    Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Shop:
    """A shop with two runs behind it, which every test leaves whole."""

    laptop: Laptop
    connection: Connection
    oracle: Oracle


@pytest.fixture(scope="module")
def shop(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    name = databases.new()
    with databases.connected(name) as connection:
        laptop = Laptop(tmp_path_factory.mktemp("shop"), databases.server.url(name))
        oracle = open_shop(laptop, connection)
        laptop.run()
        rename(connection, "in the second run")
        laptop.run()
        yield Shop(laptop, connection, oracle)


def lose_metadata(laptop: Laptop, table: str) -> Path:
    """Delete the metadata file that the table's pointer names, and return its path."""
    file = Path(urlsplit(laptop.table(table).metadata_location).path)
    file.unlink()
    return file


@contextmanager
def without_metadata(laptop: Laptop, table: str) -> Iterator[None]:
    """Take all metadata files of a table away for a while."""
    folder = Path(urlsplit(laptop.table(table).metadata_location).path).parent
    taken = [file.rename(file.with_suffix(".taken")) for file in folder.glob("*.metadata.json")]
    try:
        yield
    finally:
        for file in taken:
            file.rename(file.with_suffix(".json"))


@pytest.mark.parametrize(
    ("broken", "run"),
    [
        ("customer", {"customer": "failed", "purchase": "merged", "customer_purchases": "skipped"}),
        ("customer_purchases", {"customer": "merged", "purchase": "merged", "customer_purchases": "failed"}),
    ],
)
def test_r9_a_lost_metadata_file_is_that_tables_failure_and_repair_mends_it(
    shop: Shop, broken: str, run: dict[str, str]
) -> None:
    laptop, connection = shop.laptop, shop.connection
    file = lose_metadata(laptop, broken)
    time.sleep(1)  # the timestamp file knows no smaller step
    rename(connection, f"while {broken} is broken", "customer_id = 7")
    connection.execute("insert into purchase (customer_id, amount, updated_at) values (1, 1, now())")
    before = laptop.timestamp()
    report = laptop.failing_run()
    parts = {**report["tables"], **report["marts"]}
    assert {name: part["outcome"] for name, part in parts.items()} == run
    assert_says(parts[broken]["error"], broken, file)
    assert (laptop.timestamp() == before) == (broken == "customer"), "a failed mart is no failed mirror"

    shown = laptop.command("status")
    assert shown.exit_code == 1
    tables = {**shown.report["tables"], **shown.report["marts"]}
    assert_says(tables[broken]["error"], broken, file)
    assert {name for name, table in tables.items() if table["error"] is None} == set(tables) - {broken}
    history = laptop.command("history")
    assert history.exit_code == 1
    assert_says(history.report["errors"][broken], broken, file)
    assert len(history.report["tables"]["purchase"]) >= 1

    assert laptop.command("repair", broken).report["tables"][broken]["outcome"] == "repaired"
    laptop.run()
    shop.oracle.check(laptop, against_source=True)
    assert outcomes(laptop.run()) == UNCHANGED


def assert_says(error: dict[str, str], table: str, file: Path) -> None:
    assert error["type"] == "MetadataMissingError"
    assert table in error["message"]
    assert file.name in error["message"]
    assert f"iceberg-datamart repair {table}" in error["hint"]


def test_a_dry_run_says_what_would_be_done_and_does_nothing(shop: Shop) -> None:
    laptop = shop.laptop
    file = lose_metadata(laptop, "customer")
    for _ in range(2):
        ended = laptop.command("repair", "--dry-run")
        assert ended.exit_code == 0
        found = ended.report["tables"]["customer"]
        assert found["outcome"] == "broken"
        assert found["missing"].endswith(file.name)
        assert Path(urlsplit(found["previous"]).path).exists()
    laptop.command("repair")
    laptop.run()
    shop.oracle.check(laptop, against_source=True)


def test_where_nothing_is_broken_nothing_is_done(shop: Shop) -> None:
    laptop = shop.laptop
    locations = {name: laptop.table(name).metadata_location for name in laptop.snapshot_ids()}
    ended = laptop.command("repair")
    assert ended.exit_code == 0
    assert {found["outcome"] for found in ended.report["tables"].values()} == {"sound"}
    assert {name: laptop.table(name).metadata_location for name in laptop.snapshot_ids()} == locations
    shop.oracle.check(laptop, against_source=True)


def test_one_lost_file_after_the_other_is_repaired_step_by_step(shop: Shop) -> None:
    laptop = shop.laptop
    for _ in range(3):
        lose_metadata(laptop, "customer")
        assert laptop.command("repair").report["tables"]["customer"]["outcome"] == "repaired"
    laptop.run()
    shop.oracle.check(laptop, against_source=True)


def test_where_the_file_before_is_gone_too_a_person_is_told_what_to_do(shop: Shop) -> None:
    with without_metadata(shop.laptop, "customer"):
        ended = shop.laptop.command("repair")
    assert ended.exit_code == 1
    tables = ended.report["tables"]
    assert {name for name, found in tables.items() if found["outcome"] == "failed"} == {"customer"}
    assert "so is the one before it" in tables["customer"]["error"]["message"]
    assert "--load-type full" in tables["customer"]["error"]["hint"]


def test_an_unknown_table_is_refused(laptop: Laptop, connection: Connection) -> None:
    open_shop(laptop, connection)
    ended = laptop.command("repair", "custommer")
    assert ended.exit_code == 2
    assert "there is no table or mart 'custommer'" in ended.stderr


def test_a_table_that_was_never_loaded_is_absent(laptop: Laptop, connection: Connection) -> None:
    open_shop(laptop, connection)
    ended = laptop.command("repair")
    assert ended.exit_code == 0
    assert {found["outcome"] for found in ended.report["tables"].values()} == {"absent"}
