"""The answer to a commit is lost: the run asks the table, and neither doubles nor loses (R1, R12).

The catalog is a PostgreSQL database behind a proxy that cuts connections at chosen commits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from iceberg_datamart.core.engines import SPARK
from iceberg_datamart.lake.runtime import GLUE_4_0, present_runtime
from support.faults.fault_proxy import Fault, FaultProxy, proxied
from support.shops.shop import open_shop
from support.shops.shop_rules import UNCHANGED, outcomes, rename
from support.worlds.laptop import problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Databases, Ended, Laptop

    Connection = psycopg.Connection[Any]

ANSWER_LOST, NOT_SENT = True, False
STAGING, PUBLISHING = 0, 1
pytestmark = pytest.mark.engines


def java_commit_of(table: str) -> bytes:
    """Return what the JVM sends to move a table's pointer: its new and its old metadata file."""
    return rb"/%b/metadata/[^/]*\.metadata\.json.*/%b/metadata/[^/]*\.metadata\.json" % (
        (table.encode(),) * 2
    )


def described_commit_of(statement: str, table: str) -> bytes:
    """Return what PyIceberg sends to create or alter a table, up to its COMMIT."""
    return rb"%b.*/%b/metadata/.*COMMIT" % (statement.encode(), table.encode())


@dataclass
class Shop:
    """A shop whose catalog can be lost."""

    laptop: Laptop
    connection: Connection
    oracle: Oracle
    proxy: FaultProxy

    def commit_of(self, table: str) -> bytes:
        """Return what the engine sends to move a table's pointer."""
        if self.laptop.engine == SPARK:
            return java_commit_of(table)
        return described_commit_of("UPDATE iceberg_tables", table)

    def lose(self, pattern: bytes, **how: Any) -> None:
        self.proxy.add(Fault(pattern, **how))

    def run_with_faults(self) -> Ended:
        """Run the job; each fault must strike once, and is no more afterwards."""
        ended = self.laptop.command("run")
        fired = {fault.pattern: fault.fired for fault in self.proxy.faults}
        self.proxy.faults.clear()
        assert set(fired.values()) == {1}, f"not every fault fired once: {fired}\n{ended.stderr}"
        return ended

    def check(self) -> None:
        """Assert that nothing is lost or doubled, that every file is there, and a rerun changes nothing."""
        self.oracle.check(self.laptop, against_source=True)
        for name in self.laptop.snapshot_ids():
            published = {each["snapshot_id"] for each in self.laptop.history(name)}
            for snapshot in self.laptop.table(name).metadata.snapshots:
                if present_runtime() is GLUE_4_0 and snapshot.snapshot_id not in published:
                    continue  # decision 7
                files = Path(urlsplit(snapshot.manifest_list).path)
                assert files.exists(), f"{name}: snapshot {snapshot.snapshot_id} has lost its manifest list"
        before = self.laptop.snapshot_ids()
        assert outcomes(self.laptop.run()) == UNCHANGED
        assert self.laptop.snapshot_ids() == before


@pytest.fixture
def empty(laptop: Laptop, databases: Databases, connection: Connection) -> Iterator[Shop]:
    """Yield a shop that was never loaded."""
    server = databases.server
    with proxied(server.host, server.port) as proxy:
        oracle = open_shop(laptop, connection)
        url = proxy.url(server.url(databases.new())).replace("postgresql:", "postgresql+psycopg:")
        laptop.settings["catalog"]["uri"] = url
        laptop.save()
        yield Shop(laptop, connection, oracle, proxy)


@pytest.fixture
def shop(empty: Shop) -> Shop:
    """Return a loaded shop, in which three customers have changed since."""
    empty.laptop.run()
    rename(empty.connection, "renamed")
    return empty


def succeeded(ended: Ended) -> dict[str, Any]:
    assert ended.exit_code == 0, f"{problems(ended.report)}\n{ended.stderr}"
    return ended.report


@pytest.mark.engines("matrix")
def test_a_published_change_whose_answer_is_lost_is_reported_as_merged(shop: Shop) -> None:
    lost = ("customer", "customer_purchases")
    for table in lost:
        shop.lose(shop.commit_of(table), skip=PUBLISHING)
    ended = shop.run_with_faults()
    report = succeeded(ended)
    assert ended.stderr.count("the answer to a commit was lost; the table says that it happened") == 2
    for table in lost:
        part = {**report["tables"], **report["marts"]}[table]
        assert part["outcome"] == "merged"
        assert part["snapshot_id"] == shop.laptop.history(table)[0]["snapshot_id"]
        assert len(shop.laptop.history(table)) == 2
    shop.check()


def test_a_commit_that_published_nothing_is_made_again(shop: Shop) -> None:
    for moment, how in ((PUBLISHING, NOT_SENT), (STAGING, ANSWER_LOST), (STAGING, NOT_SENT)):
        before = len(shop.laptop.history("customer"))
        rename(shop.connection, f"at moment {moment}, {how}")
        shop.lose(shop.commit_of("customer"), skip=moment, answer_lost=how)
        ended = shop.run_with_faults()
        customer = succeeded(ended)["tables"]["customer"]
        assert (customer["outcome"], customer["updated"]) == ("merged", 3)
        assert "starting again from fresh state" in ended.stderr
        assert len(shop.laptop.history("customer")) == before + 1, "readers see one change"
    shop.check()


@pytest.mark.engines("matrix")
@pytest.mark.parametrize("how", [ANSWER_LOST, NOT_SENT])
def test_a_first_load_is_neither_lost_nor_doubled(empty: Shop, *, how: bool) -> None:
    empty.lose(empty.commit_of("customer"), skip=STAGING, answer_lost=how)
    empty.lose(empty.commit_of("purchase"), skip=PUBLISHING, answer_lost=how)
    tables = succeeded(empty.run_with_faults())["tables"]
    assert (tables["customer"]["inserted"], tables["purchase"]["inserted"]) == (20, 60)
    empty.check()


@pytest.mark.engines("matrix")
def test_a_table_is_created_once(empty: Shop) -> None:
    for table, how in (("customer", ANSWER_LOST), ("purchase", NOT_SENT)):
        empty.lose(described_commit_of("INSERT INTO iceberg_tables", table), answer_lost=how)
    tables = succeeded(empty.run_with_faults())["tables"]
    assert (tables["customer"]["inserted"], tables["purchase"]["inserted"]) == (20, 60)
    empty.check()


@pytest.mark.engines("matrix")
def test_a_column_is_added_once(shop: Shop) -> None:
    for table, how in (("customer", ANSWER_LOST), ("purchase", NOT_SENT)):
        shop.connection.execute(f"alter table {table} add column {table}_note text")
        shop.connection.execute(f"update {table} set {table}_note = 'n', updated_at = clock_timestamp()")
        shop.lose(described_commit_of("UPDATE iceberg_tables", table), answer_lost=how)
    tables = succeeded(shop.run_with_faults())["tables"]
    assert (tables["customer"]["updated"], tables["purchase"]["updated"]) == (20, 60)
    for table in ("customer", "purchase"):
        names = [field.name for field in shop.laptop.table(table).schema().fields]
        assert names.count(f"{table}_note") == 1
        for holder in (table, "customer_purchases"):
            assert {row[f"{table}_note"] for row in shop.laptop.rows(holder)} == {"n"}


@pytest.mark.engines("matrix")
def test_where_the_catalog_cannot_be_asked_the_run_says_so_and_the_next_one_settles_it(shop: Shop) -> None:
    for how, later in ((ANSWER_LOST, "unchanged"), (NOT_SENT, "merged")):
        rename(shop.connection, f"before it is {later}")
        before = shop.laptop.timestamp()
        shop.lose(shop.commit_of("customer"), skip=PUBLISHING, answer_lost=how, then=shop.proxy.refuse)
        refused = shop.proxy.refused
        ended = shop.run_with_faults()
        assert shop.proxy.refused > refused
        assert ended.exit_code == 75
        error = ended.report["tables"]["customer"]["error"]
        assert error["type"] == "CommitUnknownError"
        assert "is not known" in error["message"]
        assert shop.laptop.timestamp() == before
        shop.proxy.refusing = False
        assert shop.laptop.run()["tables"]["customer"]["outcome"] == later
    shop.check()
