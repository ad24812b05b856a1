"""Lost connections to the source: tried again, bounded, at one fresh point; else told, nothing moved."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.core.engines import SPARK
from iceberg_datamart.embedded import postgres
from support.faults.fault_proxy import Fault, FaultProxy, proxied
from support.shops.shop import open_shop, oracle_of
from support.shops.shop_rules import UNCHANGED, outcomes, prepared, rename
from support.worlds.laptop import Databases, Laptop, problems, usual_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Ended

    Connection = psycopg.Connection[Any]

# Spark by JDBC, or the other engine by COPY.
_OF_PURCHASE = rb'FROM \(select [^;]*from "public"\."purchase"[^;]*\) as \w+'
ENGINE_READS = rb"%b(\s+WHERE (?!1=0)|\) TO STDOUT)" % _OF_PURCHASE
DRIVER_LOOKS = rb'md5\(row.*from "public"\."purchase"'
ANSWER_LOST, NOT_SENT = True, False


@dataclass(frozen=True)
class Shop:
    """A loaded shop whose source is behind the proxy; every test leaves it whole."""

    laptop: Laptop
    connection: Connection
    oracle: Oracle
    proxy: FaultProxy


@pytest.fixture(scope="module", params=sorted({SPARK, usual_engine()}))
def loaded(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    name, server = databases.new(), databases.server
    with proxied(server.host, server.port) as proxy, databases.connected(name) as connection:
        laptop = Laptop(tmp_path_factory.mktemp("shop"), proxy.url(server.url(name)), engine=request.param)
        assert proxy.url(laptop.url) == laptop.url, "the source is behind the proxy"
        oracle = open_shop(laptop, connection)
        laptop.settings["run"] = {"parallel_tables": 1}
        laptop.save().run()
        yield Shop(laptop, connection, oracle, proxy)


@pytest.fixture
def shop(loaded: Shop) -> Shop:
    """Return the shop, in which both tables have changed since the last run; no fault is planned."""
    loaded.proxy.refusing, loaded.proxy.delay = False, 0.0
    loaded.proxy.faults.clear()
    change(loaded.connection, "before the run")
    return loaded


@pytest.fixture
def laptop(shop: Shop) -> Laptop:
    return shop.laptop


@pytest.fixture
def connection(shop: Shop) -> Connection:
    return shop.connection


@pytest.fixture
def oracle(shop: Shop) -> Oracle:
    return shop.oracle


@pytest.fixture
def proxy(shop: Shop) -> FaultProxy:
    return shop.proxy


def change(connection: Connection, name: str) -> None:
    """Change rows of both tables in one transaction."""
    with connection.transaction():
        rename(connection, name)
        connection.execute("update purchase set amount = amount + 1, updated_at = clock_timestamp()")


def check(laptop: Laptop, oracle: Oracle) -> None:
    oracle.check(laptop, against_source=True)
    assert outcomes(laptop.run()) == UNCHANGED


def succeeded(ended: Ended) -> dict[str, Any]:
    assert ended.exit_code == 0, f"{problems(ended.report)}\n{ended.stderr}"
    return ended.report


# --- connecting


@contextmanager
def after(seconds: float, work: Any) -> Iterator[None]:
    timer = threading.Timer(seconds, work)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@pytest.mark.engines("matrix")
def test_a_server_that_is_not_up_yet_is_waited_for(laptop: Laptop, oracle: Oracle, proxy: FaultProxy) -> None:
    proxy.refuse()
    with after(1.2, lambda: setattr(proxy, "refusing", False)):
        succeeded(laptop.command("run"))
    assert proxy.refused >= 2
    check(laptop, oracle)


@pytest.mark.engines("matrix")
def test_a_refused_login_is_told_at_once(laptop: Laptop, proxy: FaultProxy) -> None:
    refused = {
        "password authentication failed": {"password": "wrong"},
        "does not exist": {"url": laptop.url.rpartition("/")[0] + "/nowhere"},
    }
    right, before = laptop.settings["sources"]["prd"], laptop.timestamp()
    for words, wrong in refused.items():
        laptop.settings["sources"]["prd"] = {**right, **wrong}
        laptop.save()
        opened = proxy.opened
        ended = laptop.command("run")
        assert ended.exit_code == 1
        errors = [table["error"] for table in ended.report["tables"].values()]
        assert {error["type"] for error in errors} == {"SourceRefusedError"}
        assert words in errors[0]["message"]
        assert proxy.opened == opened + 1, "not tried again"
        assert laptop.timestamp() == before
    laptop.settings["sources"]["prd"] = right
    laptop.save()


# --- in the middle


@pytest.mark.engines("matrix")
@pytest.mark.parametrize("how", [ANSWER_LOST, NOT_SENT])
def test_r8_after_each_cut_all_tables_are_read_again_at_one_fresh_point(
    laptop: Laptop, oracle: Oracle, proxy: FaultProxy, *, how: bool
) -> None:
    def write() -> None:
        change(oracle.connection, "while the connection was cut")

    cuts = [
        proxy.add(Fault(pattern, answer_lost=how, then=write)) for pattern in (DRIVER_LOOKS, ENGINE_READS)
    ]
    ended = laptop.command("run")
    assert [cut.fired for cut in cuts] == [1, 1]
    tables = succeeded(ended)["tables"]
    assert ended.stderr.count("source 'prd' was lost; its tables are read again") == 2
    assert (tables["customer"]["outcome"], tables["customer"]["updated"]) == ("merged", 9), "in three passes"
    check(laptop, oracle)


@pytest.mark.engines("matrix")
def test_a_source_that_stays_away_is_told_and_nothing_moves(
    laptop: Laptop, oracle: Oracle, proxy: FaultProxy
) -> None:
    before = laptop.timestamp(), laptop.snapshot_ids()["purchase"]
    fault = proxy.add(Fault(ENGINE_READS, then=proxy.refuse))
    ended = laptop.command("run")
    assert fault.fired == 1
    assert proxy.refused > 1
    assert ended.exit_code == 75
    assert ended.report["tables"]["purchase"]["error"]["type"] == "SourceUnreachableError"
    assert (laptop.timestamp(), laptop.snapshot_ids()["purchase"]) == before
    proxy.refusing = False
    laptop.run()
    check(laptop, oracle)


@pytest.mark.engines("matrix")
def test_a_source_that_is_lost_in_every_pass_is_given_up(
    laptop: Laptop, oracle: Oracle, proxy: FaultProxy
) -> None:
    before = laptop.timestamp()
    fault = proxy.add(Fault(ENGINE_READS, times=99))
    ended = laptop.command("run")
    assert fault.fired == 3
    assert ended.exit_code == 75
    assert laptop.timestamp() == before
    proxy.faults.clear()
    laptop.run()
    check(laptop, oracle)


@pytest.mark.engines("matrix")
def test_the_end_of_the_session_that_holds_the_snapshot_is_survived(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    ends = "select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction'"
    with prepared(laptop) as execute:
        ended = connection.execute(f"{ends} and datname = current_database()").fetchall()
        assert ended == [(True,)]
        change(connection, "after the session ended")
        assert execute().exit_code == 0
    check(laptop, oracle)


def test_the_end_of_a_session_that_reads_is_survived(
    laptop: Laptop, connection: Connection, oracle: Oracle, proxy: FaultProxy
) -> None:
    # Statements of one call come one by one from JDBC, together from the job's own sessions.
    ends = (
        "select count(pg_terminate_backend(pid)) from pg_stat_activity "
        "where query ~ '^ *set (transaction|local) ' and datname = current_database()"
    )
    ended: list[int] = []

    def end_one() -> None:
        while not ended and not over.wait(0.005):
            row = connection.execute(ends).fetchone()
            ended.extend(count for count in row or () if count)

    over = threading.Event()
    thread = threading.Thread(target=end_one)
    proxy.delay = 0.02
    thread.start()
    try:
        succeeded(laptop.command("run"))
    finally:
        over.set()
        thread.join()
    assert ended == [1]
    proxy.delay = 0
    check(laptop, oracle)


def test_a_restart_of_the_server_is_survived(tmp_path: Path) -> None:
    directory = tmp_path / "server"
    with postgres.running(directory, durable=False) as server:
        databases = Databases(server)
        name = databases.new()
        laptop = Laptop(tmp_path, server.url(name))
        with databases.connected(name) as connection:
            open_shop(laptop, connection)
            laptop.run()
            change(connection, "before the restart")
        with prepared(laptop) as execute:
            postgres.stop(directory)
            with after(1, lambda: postgres.start(directory)):
                assert execute().exit_code == 0
        with databases.connected(name) as connection:
            check(laptop, oracle_of(connection))
