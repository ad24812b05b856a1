"""A stop lets what is under way end, begins nothing new, removes what is left, and names the signal."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from textwrap import dedent

import pytest

_WITHIN = """
import signal, sys, time
from iceberg_datamart.underway.stopping import effect, remove_at_stop, stoppable
def do():
{body}
with stoppable("stopping"):
    do()
    print("done", flush=True)
"""


def started(body: str, *, ignoring: signal.Signals | None = None) -> subprocess.Popen[str]:
    """Start a program that does `body` and may be stopped, once it says that it is ready."""

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if ignoring is not None:
            signal.signal(ignoring, signal.SIG_IGN)

    lines = "\n".join(f"    {line}" for line in dedent(body).strip().splitlines())
    process = subprocess.Popen(
        [sys.executable, "-c", _WITHIN.format(body=lines)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,  # noqa: PLW1509  (no thread of this process is within a lock)
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_effect_that_is_under_way_ends_and_none_begins_after_it(number: int, code: int) -> None:
    process = started("""
        remove_at_stop(lambda: print("removed"))
        with effect():
            print("ready", flush=True)
            time.sleep(0.4)
            print("whole")
        with effect():
            print("never")
    """)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr, stdout) == (code, "stopping\n", "whole\nremoved\n")


def test_an_error_of_what_is_broken_off_is_no_error_of_the_program() -> None:
    process = started("""
        print("ready", flush=True)
        time.sleep(0.4)
        remove_at_stop(lambda: time.sleep(0.5))
        raise ValueError("broken off")
    """)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr, stdout) == (143, "stopping\n", "")


def test_a_second_signal_waits_for_nothing() -> None:
    process = started("""
        remove_at_stop(lambda: time.sleep(60))
        print("ready", flush=True)
        time.sleep(60)
    """)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert process.stderr.readline() == "stopping\n"
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert time.monotonic() - asked < 1


def test_a_stop_that_cannot_remove_everything_ends_all_the_same() -> None:
    process = started("""
        import subprocess
        child = subprocess.Popen(["sleep", "60"])
        remove_at_stop(lambda: time.sleep(60))
        print("ready", flush=True)
        child.wait()
    """)
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143
    assert time.monotonic() - asked < 3
    # At its end, a pipe is held by nobody any more: not by the child either.
    process.communicate(timeout=1)


def test_a_signal_that_was_ignored_before_stays_ignored() -> None:
    process = started(
        """
        print("ready", flush=True)
        time.sleep(0.5)
        """,
        ignoring=signal.SIGINT,
    )
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr) == (0, "done\n", "")
