"""R2 for a run that is asked to stop: it says so, is gone at once, and the next run makes it good."""

from __future__ import annotations

import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.cli import STOPPING
from support.faults.killed_runs import running_job
from support.shops.busy_shop import BusyShop

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from support.faults.killed_runs import RunningJob
    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

_MOST_SECONDS = 3.0


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which the jobs of a test make theirs; this process goes on with its own."""
    assert Path(tempfile.gettempdir()) != tmp_path
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def says(text: str) -> Callable[[RunningJob], bool]:
    """Return whether a run's log holds `text`, as a question to ask again."""
    return lambda job: text in job.stderr.read_text()


def stopped(job: RunningJob, number: signal.Signals, when: Callable[[RunningJob], bool]) -> str:
    """Stop a run at an instant; return what it said, which must not be an error."""
    limit = time.monotonic() + 60
    while not when(job):
        assert time.monotonic() < limit, job.stderr.read_text()
        assert job.process.poll() is None, job.stderr.read_text()
        time.sleep(0.01)
    asked = time.monotonic()
    job.process.send_signal(number)
    assert job.process.wait(timeout=60) == 128 + number
    assert time.monotonic() - asked < _MOST_SECONDS
    said = job.stderr.read_text()
    assert said.splitlines()[-1] == STOPPING["run"]
    assert "Traceback" not in said
    assert " ERROR " not in said
    assert job.survivors() == []
    return said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_r2_a_run_that_is_stopped_is_made_good_by_the_next(
    laptop: Laptop, connection: Connection, oracle: Oracle, scratch: Path, number: signal.Signals
) -> None:
    shop = BusyShop(laptop, connection, oracle)
    for instant in (says("Z INFO"), says("'purchase' merged")):
        shop.change()
        before = laptop.timestamp()
        with running_job(laptop) as job:
            stopped(job, number, instant)
        assert laptop.timestamp() == before
        assert not [*scratch.glob("iceberg-datamart-*")]
        shop.make_good(full=False)


@pytest.mark.spark
def test_r2_a_run_on_spark_is_stopped_with_its_jvm(
    laptop: Laptop, connection: Connection, oracle: Oracle, scratch: Path
) -> None:
    shop = BusyShop(laptop, connection, oracle)
    shop.change()
    with running_job(laptop) as job:
        stopped(job, signal.SIGINT, lambda _: bool([*scratch.glob("iceberg-datamart-*/spark/*")]))
    assert not [*scratch.glob("iceberg-datamart-*")]
    shop.make_good(full=False)


@pytest.mark.parametrize("slow", ["select %", "copy %"])
def test_a_query_of_a_run_that_is_stopped_runs_on_nowhere(
    laptop: Laptop, connection: Connection, scratch: Path, slow: str
) -> None:
    connection.execute(f"""
        create table slow (id int primary key, name text);
        insert into slow select i, 'name' from generate_series(1, 3) as i;
        create view slowly as
            select id, name || case when current_query() ilike '{slow}' then pg_sleep(20)::text end as name
            from slow
    """)
    laptop.configure({"slowly": {"from": "public.slowly", "primary_key": ["id"]}}, {})
    active = f"""
        select count(*) from pg_stat_activity
        where state = 'active' and query ilike '{slow}slowly%' and pid <> pg_backend_pid()
    """

    def reads(_: object) -> bool:
        return bool(connection.execute(active).fetchall()[0][0])

    with running_job(laptop) as job:
        stopped(job, signal.SIGTERM, reads)
    limit = time.monotonic() + 2
    while reads(job):
        assert time.monotonic() < limit, "the server still computes for a client that is gone"
        time.sleep(0.05)
    assert not [*scratch.glob("iceberg-datamart-*")]


def test_a_run_that_waits_for_a_lock_is_stopped_as_any_other(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    del oracle
    with connection.transaction():
        connection.execute("lock table customer in access exclusive mode")
        with running_job(laptop) as job:
            stopped(job, signal.SIGINT, says("waiting for a lock"))
