"""A throttled or broken S3: bounded retries, then a clear failure, nothing advanced; the next run heals."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.app.assemble import timestamp_file
from iceberg_datamart.errors import StateUnreachableError
from iceberg_datamart.lake.runtime import GLUE_4_0, present_runtime
from support.faults.s3_faults import Request, none, proxied
from support.servers import s3_server
from support.shops.shop import open_shop
from support.shops.shop_rules import rename
from support.worlds import warm_process
from support.worlds.laptop import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from iceberg_datamart.ports import TimestampFile
    from support.faults.s3_faults import Faults
    from support.servers.s3_server import S3Server
    from support.worlds.laptop import Ended, Laptop

    Connection = psycopg.Connection[Any]

# Iceberg's own retries, cut short: https://iceberg.apache.org/docs/1.10.0/aws/#s3-retries
QUICK = {"s3.retry.num-retries": "1", "s3.retry.min-wait-ms": "100", "s3.retry.max-wait-ms": "200"}
PREFIX = f"s3://{s3_server.BUCKET}/throttled"


@pytest.fixture
def server(s3: S3Server) -> Iterator[tuple[S3Server, Faults]]:
    """Yield a server behind a proxy, and the faults of the proxy: none yet."""
    with proxied(s3.endpoint) as (endpoint, faults):
        yield replace(s3, endpoint=endpoint), faults


@pytest.fixture
def file(server: tuple[S3Server, Faults]) -> TimestampFile:
    return timestamp_file(f"s3://{s3_server.BUCKET}/state/last.csv", server[0].properties)


def second(number: int) -> datetime:
    return datetime(2026, 3, 1, 12, 0, number, tzinfo=timezone.utc)


def slow_down_every(nth: int) -> Any:
    return lambda request: "SlowDown" if request.number % nth == 0 else None


def refuse_writes(request: Request) -> str | None:
    return "SlowDown" if request.method in {"PUT", "POST"} else None


@pytest.fixture
def run(laptop: Laptop) -> Iterator[Callable[[], Ended]]:
    """Yield what runs the job in a process of its own, always the same: its JVM has what S3 needs."""
    with warm_process.running(laptop.directory, {}) as process:
        yield lambda: process.run(PROGRAM, "run", "--config", str(laptop.file))


def test_runs_over_a_throttling_s3_end_well_or_change_nothing(
    laptop: Laptop, connection: Connection, server: tuple[S3Server, Faults], run: Callable[[], Ended]
) -> None:
    s3, faults = server
    oracle = open_shop(laptop, connection)
    laptop.settings["catalog"] |= {"warehouse": PREFIX, "properties": s3.properties}
    laptop.settings["state"]["timestamp_file"] = f"{PREFIX}/last.csv"
    if present_runtime() is GLUE_4_0:
        # PyArrow, which reads for the oracle, refuses the names of Iceberg 1.0's delete files: decision 7.
        for settings in (*laptop.settings["tables"].values(), *laptop.settings["marts"].values()):
            settings["properties"] = {"write.merge.mode": "copy-on-write"}
    laptop.save()
    faults.refused = slow_down_every(5)
    ended = run()
    assert ended.exit_code == 0, ended.stdout + ended.stderr
    assert faults.fired["SlowDown"] > 3, "retries were needed"
    faults.refused = none
    oracle.check(laptop, against_source=True)

    laptop.settings["catalog"]["properties"] |= QUICK
    laptop.save()
    before = laptop.snapshot_ids(), said(s3)
    faults.refused = refuse_writes
    rename(connection, "while nothing can be written")
    ended = run()
    assert ended.exit_code in {1, 75}
    assert "Traceback" not in ended.stderr
    assert "SlowDown" in ended.stderr + ended.stdout or "on purpose" in ended.stderr + ended.stdout
    faults.refused = none
    assert (laptop.snapshot_ids(), said(s3)) == before, "nothing is advanced"
    assert run().exit_code == 0
    oracle.check(laptop, against_source=True)


def said(server: S3Server) -> bytes:
    """Return the timestamp file, byte by byte."""
    return server.client().get_object(Bucket=s3_server.BUCKET, Key="throttled/last.csv")["Body"].read()


def test_the_timestamp_file_is_read_and_written_through_throttling(
    file: TimestampFile, server: tuple[S3Server, Faults]
) -> None:
    _, faults = server
    faults.refused = slow_down_every(2)
    present = file.read()
    file.write(second(1), present)
    assert file.read() == second(1)
    assert faults.fired["SlowDown"] >= 2


def test_an_s3_that_stays_broken_is_an_error_after_five_attempts(
    file: TimestampFile, server: tuple[S3Server, Faults]
) -> None:
    _, faults = server
    faults.refused = lambda _: "InternalError"
    with pytest.raises(StateUnreachableError, match="cannot be read") as caught:
        file.read()
    assert (caught.value.exit_code, caught.value.retryable) == (75, True)
    assert faults.fired["InternalError"] == 5


def test_a_write_whose_answer_was_lost_is_seen_to_have_happened(
    file: TimestampFile, server: tuple[S3Server, Faults]
) -> None:
    """The retry of a conditional write that had succeeded is told of a conflict with itself."""
    _, faults = server
    present, lost = file.read(), []

    def once(request: Request) -> str | None:
        if request.method != "PUT" or lost:
            return None
        lost.append(request)
        return "InternalError"

    faults.lost = once
    file.write(second(2), present)
    assert lost
    assert file.read() == second(2)
