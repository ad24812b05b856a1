"""Runs a command and measures all its processes: `python -I -S metered.py REPORT LIMIT COMMAND…`.

A program of its own, and a small one: to Linux a new process begins with the memory of the one that forked
it, and the benchmark itself is larger than some of what it measures. It adopts what the command leaves
behind (a JVM ends after the Python that started it), so that no processor time is lost.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

POLL_SECONDS = 0.05
# How long what the command left behind may go on.
LEFT_BEHIND_SECONDS = 60
_PR_SET_CHILD_SUBREAPER = 36
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Descendants:
    """All processes below this one; each process of the machine is asked for its parent once."""

    def __init__(self) -> None:
        """Know of none."""
        self._found = {os.getpid()}
        self._others: set[int] = set()

    def alive(self) -> list[int]:
        """Return the ids of those that are there now."""
        there = {int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()}
        self._found &= there
        self._others &= there
        parents = {pid: _parent(pid) for pid in there - self._found - self._others}
        while new := {pid for pid in parents.keys() - self._found if parents[pid] in self._found}:
            self._found |= new
        self._others |= parents.keys() - self._found
        return sorted(self._found - {os.getpid()})

    def resident(self) -> int:
        """Return the bytes that they hold in memory; pages that two share count for both."""
        return sum(map(_resident, self.alive()))

    def kill(self) -> None:
        """End them, by their ids."""
        for pid in self.alive():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def measured(command: list[str], limit: float) -> dict[str, float]:
    """Return the command's exit code and what it used; after `limit` seconds it is ended.

    `seconds` last until the command ends, the other figures until all that it started has ended.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    tree, peak = Descendants(), 0
    started = time.perf_counter()
    child = subprocess.Popen(command)
    try:
        ended = os.pidfd_open(child.pid)
        while not select.select([ended], [], [], POLL_SECONDS)[0]:
            peak = max(peak, tree.resident())
            if time.perf_counter() - started > limit:
                tree.kill()
        seconds = time.perf_counter() - started
        child.wait()
        peak = max(peak, _await_others(tree))
    finally:
        tree.kill()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "exit_code": child.returncode,
        "seconds": seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        # The largest process is known exactly, the sum of several as often as it was looked at.
        "peak_bytes": max(peak, used.ru_maxrss * 1024),
    }


def _await_others(tree: Descendants) -> int:
    """Reap what the command left behind and return its peak memory; it is ended where it does not end."""
    peak, started = 0, time.perf_counter()
    while True:
        peak = max(peak, tree.resident())
        try:
            reaped, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return peak
        if not reaped:
            time.sleep(POLL_SECONDS)
        if time.perf_counter() - started > LEFT_BEHIND_SECONDS:
            tree.kill()


def _parent(pid: int) -> int:
    """Return the parent's id; 0 where the process has ended."""
    try:
        # The name, in parentheses, may hold anything.
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE
    except OSError:
        return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # or the command goes on
    report, most, *words = sys.argv[1:]
    Path(report).write_text(json.dumps(measured(words, float(most))), "utf-8")
