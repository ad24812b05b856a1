"""R2 for a run that is asked to stop: it says so, is gone at once, and the next run makes it good."""

from __future__ import annotations

import signal
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.cli import STOPPING
from support.faults.killed_runs import running_job
from support.shops.busy_shop import BusyShop
from support.worlds.laptop import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from support.faults.killed_runs import RunningJob
    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

ROOT = Path(__file__).parents[2]
_MOST_SECONDS = 3.0
_ANSWER_SECONDS = 0.4


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which the jobs of a test make theirs; this process goes on with its own."""
    assert Path(tempfile.gettempdir()) != tmp_path
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def says(text: str) -> Callable[[RunningJob], bool]:
    """Return whether a run's log holds `text`, as a question to ask again."""
    return lambda job: text in job.stderr.read_text()


def stopped(
    job: RunningJob, number: signal.Signals, when: Callable[[RunningJob], bool], text: str = STOPPING["run"]
) -> None:
    """Stop a run at an instant; it says `text`, and no error."""
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
    assert said.splitlines()[-1] == text
    assert "Traceback" not in said
    assert " ERROR " not in said
    assert job.survivors() == []


def data_files(laptop: Laptop) -> set[str]:
    """Return the files of rows, and of places of deleted rows, that there are."""
    return {str(path) for path in laptop.warehouse.rglob("*.parquet")}


def named_files(laptop: Laptop) -> set[str]:
    """Return those that any snapshot names, staged ones too."""
    return {
        entry.data_file.file_path.removeprefix("file://")
        for name in (*laptop.settings["tables"], *laptop.settings["marts"])
        for table in [laptop.table(name)]
        for snapshot in table.metadata.snapshots
        for manifest in snapshot.manifests(table.io)
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False)
    }


def slow_view(connection: Connection, statements: str) -> None:
    """Make a view `slowly` on which statements that begin like `statements` take a minute."""
    connection.execute(f"""
        create table slow (id int primary key, name text);
        insert into slow select i, 'name' from generate_series(1, 3) as i;
        create view slowly as
            select id,
                name || case when current_query() ilike '{statements}' then pg_sleep(20)::text end as name
            from slow
    """)


def running(connection: Connection, statements: str) -> bool:
    """Return whether the server is running such a statement for somebody else."""
    query = """
        select true from pg_stat_activity
        where state = 'active' and query ilike %s and pid <> pg_backend_pid()
    """
    return bool(connection.execute(query, [f"{statements}slowly%"]).fetchall())


@pytest.mark.parametrize("instant", [(signal.SIGINT, " INFO "), (signal.SIGTERM, "'purchase' merged")])
def test_r2_a_run_that_is_stopped_is_made_good_by_the_next(
    laptop: Laptop,
    connection: Connection,
    oracle: Oracle,
    scratch: Path,
    instant: tuple[signal.Signals, str],
) -> None:
    number, line = instant
    shop, before = BusyShop(laptop, connection, oracle), laptop.timestamp()
    shop.change()
    with running_job(laptop) as job:
        stopped(job, number, says(line))
    assert laptop.timestamp() == before
    assert not [*scratch.glob("iceberg-datamart-*")]
    shop.make_good(full=False)


def test_a_commit_that_is_under_way_gets_its_answer_and_no_file_is_left_that_no_snapshot_names(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    shop, before = BusyShop(laptop, connection, oracle), data_files(laptop)
    shop.change()
    catalog = sqlite3.connect(laptop.directory / "catalog.db", isolation_level=None, check_same_thread=False)
    with closing(catalog), running_job(laptop) as job:
        catalog.execute("begin immediate")

        def waits_for_an_answer(_: object) -> bool:
            if data_files(laptop) == before:
                return False
            Timer(_ANSWER_SECONDS, catalog.rollback).start()
            return True

        stopped(job, signal.SIGTERM, waits_for_an_answer)
    assert before < data_files(laptop) == named_files(laptop)
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
    slow_view(connection, slow)
    laptop.configure({"slowly": {"from": "public.slowly", "primary_key": ["id"]}}, {})

    def reads(_: object) -> bool:
        return running(connection, slow)

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


def test_a_job_in_glue_is_stopped_as_a_run_is(laptop: Laptop, connection: Connection, oracle: Oracle) -> None:
    del oracle
    script = (sys.executable, str(ROOT / "jobs" / "datamart_job.py"), "--JOB_NAME", "job")
    places = ("--config_s3_path", str(laptop.file), "--timestamp_s3_path", laptop.timestamp_file.as_uri())
    with connection.transaction():
        connection.execute("lock table customer in access exclusive mode")
        rest = ("--database_name", "prd", "--load_type", "full")
        with running_job(laptop, *places, *rest, program=script) as job:
            stopped(job, signal.SIGTERM, says("waiting for a lock"))


def test_a_comparison_that_is_broken_off_reports_nothing(laptop: Laptop, connection: Connection) -> None:
    slow_view(connection, "select %")
    laptop.configure({"slowly": {"from": "public.slowly", "primary_key": ["id"]}}, {})
    words = (str(PROGRAM), "verify", "--json", "--config", str(laptop.file))
    with running_job(laptop, program=words) as job:
        stopped(job, signal.SIGINT, lambda _: bool(running(connection, "select %")), STOPPING["verify"])
    assert not job.stdout.read_text()


def test_a_demo_that_is_stopped_leaves_no_server_running(laptop: Laptop) -> None:
    words = (str(PROGRAM), "demo", "--rows", "500", "--directory", str(laptop.directory / "demo"))
    server = laptop.directory / "demo" / "postgres" / "data" / "postmaster.pid"
    with running_job(laptop, program=words) as job:
        stopped(job, signal.SIGTERM, lambda _: "Full load" in job.stdout.read_text(), STOPPING["demo"])
    assert not server.exists()
