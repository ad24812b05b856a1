"""R2: a run killed at any instant is made good by the next run.

`make test` tries a few instants; `make soak` more, KILLS of them.
"""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from support.faults.killed_runs import KILLED, running_job
from support.shops.busy_shop import BusyShop, load_type

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from support.faults.killed_runs import RunningJob
    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

KILLS = int(os.environ.get("KILLS", "5"))
# Runs differ in length: some of the instants lie behind the end of the run that they were meant for.
_MOST_RUNS = 3 * KILLS
_SEED = 5


@pytest.mark.engines("matrix")
def test_r2_a_run_killed_at_a_random_instant_is_made_good_by_the_next(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    dice, killed, survived = random.Random(_SEED), 0, 0  # noqa: S311  (repeatable on purpose)
    shop = BusyShop(laptop, connection, oracle)
    seconds = measured(shop)
    for part in parts(dice):
        full, with_jvm = dice.random() < 0.5, dice.random() < 0.5
        shop.change()
        with running_job(laptop, *load_type(full=full)) as job:
            if kill_after(job, part * seconds, with_jvm=with_jvm):
                killed += 1
            else:
                # This run was shorter than the one that was measured: so may be the others.
                survived, seconds = survived + 1, seconds * max(part, 0.8)
        shop.make_good(full=full)
        job.wait_until_gone()
        shop.oracle.check(laptop, against_source=full)
        if killed == KILLS:
            break
    assert killed == KILLS, f"{survived} runs had ended before, the last within {seconds:.1f} s"


def measured(shop: BusyShop) -> float:
    """Return the seconds of a run that nobody kills."""
    shop.change()
    with running_job(shop.laptop) as job:
        started = time.monotonic()
        assert job.process.wait(timeout=300) == 0, job.stderr.read_text()
        seconds = time.monotonic() - started
    shop.check(full=False)
    return seconds


def parts(dice: random.Random) -> Iterator[float]:
    """Yield parts of a run's duration, one in each of equal steps of the whole, in random order."""
    steps = list(range(KILLS))
    dice.shuffle(steps)
    for step in (steps * 3)[:_MOST_RUNS]:
        yield (step + dice.random()) / KILLS


def kill_after(job: RunningJob, seconds: float, *, with_jvm: bool) -> bool:
    """Kill the job `seconds` after now, alone or at once with its JVM; return whether it lived until then."""
    time.sleep(seconds)
    with suppress(ProcessLookupError):
        if with_jvm:
            os.killpg(job.process.pid, signal.SIGKILL)
        else:
            job.process.kill()
    code = job.process.wait(timeout=60)
    assert code in {0, KILLED}, job.stderr.read_text()
    return code == KILLED
