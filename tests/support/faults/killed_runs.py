"""Runs in processes of their own that end by SIGKILL, and what they leave running."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from iceberg_datamart import crash_points
from support.worlds.laptop import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.worlds.laptop import Laptop

KILLED = -9
_GRACE_SECONDS = 60


@dataclass(frozen=True)
class RunningJob:
    """A program, mostly `iceberg-datamart run`, in a session of its own, so that its processes are known."""

    process: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path

    def survivors(self) -> list[str]:
        """Return the names of the processes that the job started, itself included, and that still run."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
            except (FileNotFoundError, ProcessLookupError):
                continue
            state, _parent, group = rest.split()[:3]
            if int(group) == self.process.pid and state not in "ZX":
                found.append(name)
        return found

    def wait_until_gone(self) -> None:
        """Wait until also the JVM has ended, which notices by itself that nobody leads it any more."""
        limit = time.monotonic() + _GRACE_SECONDS
        while left := self.survivors():
            assert time.monotonic() < limit, f"{left} still run {_GRACE_SECONDS} s after the kill"
            time.sleep(0.05)

    @property
    def last_words(self) -> str:
        """Return the last line of its standard error."""
        return (self.stderr.read_text().splitlines() or [""])[-1]


def _heed_ctrl_c() -> None:
    """Let SIGINT end the process, also where the tests ignore it, as in the background of a shell."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def running_job(
    laptop: Laptop, *arguments: str, crash_at: str = "", name: str = "run", program: Sequence[str] = ()
) -> Iterator[RunningJob]:
    """Yield a run that has just been started; it dies by itself at a crash point, if one is given.

    `program` takes the place of `run` and its settings.
    """
    environment = {**os.environ, crash_points.VARIABLE: crash_at}
    stdout, stderr = (laptop.directory / f"{name}.{stream}" for stream in ("stdout", "stderr"))
    words = program or (str(PROGRAM), "run", "--config", str(laptop.file))
    # A file, since a pipe's end would stay open in what the job leaves running.
    with (
        stdout.open("wb") as report,
        stderr.open("wb") as errors,
        subprocess.Popen(
            [*words, *arguments],
            cwd=laptop.directory,
            env=environment,
            stdout=report,
            stderr=errors,
            start_new_session=True,
            preexec_fn=_heed_ctrl_c,  # noqa: PLW1509  (it calls no more than signal)
        ) as process,
    ):
        yield RunningJob(process, stdout, stderr)


def crash(laptop: Laptop, point: str, *arguments: str) -> RunningJob:
    """Run until `point` kills the process, which it has to reach; return what is left of it."""
    with running_job(laptop, *arguments, crash_at=point) as job:
        code = job.process.wait(timeout=300)
    assert code == KILLED, f"{point} was not reached: exit code {code}\n{job.stderr.read_text()}"
    assert job.last_words == f"crash point {point.partition('#')[0]}"
    return job
