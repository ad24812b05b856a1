"""Ctrl-C and SIGTERM: a stop is told at once, and ends this process within three seconds.

A run may be killed at any instant (R2), so a stop unwinds nothing. Threads that are at work are left where
they are: queries are broken off, commits that are under way get their answer, what others would find of this
process is removed, and the process ends. Threads that come to a new effect wait for that end.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Condition, Event, Thread, current_thread, main_thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Of the three seconds, what commits may take to get their answer, and all of the stop at most.
_COMMIT_SECONDS = 1.2
_MOST_SECONDS = 2.5
_BETWEEN = 0.05
# What a server may take to be told that a query is not wanted any more.
CANCEL_SECONDS = 0.3
_OVER = b"\0"  # is no signal's number


@dataclass
class _Stop:
    """What a stop does, and how far it is."""

    displays: list[Callable[[], None]] = field(default_factory=list)
    interrupts: list[Callable[[], None]] = field(default_factory=list)
    removals: list[Callable[[], None]] = field(default_factory=list)
    is_asked: bool = False
    effects: int = 0
    changed: Condition = field(default_factory=Condition)


_stop = _Stop()


def hide_at_stop(display: Callable[[], None]) -> Callable[[], None]:
    """Have `display` called before a stop is told; return what takes that back."""
    return _noted(_stop.displays, display)


def interrupt_at_stop(interrupt: Callable[[], None]) -> Callable[[], None]:
    """Have `interrupt` break off what is computed, as often as it takes, at a stop.

    Return what takes that back.
    """
    return _noted(_stop.interrupts, interrupt)


def remove_at_stop(removal: Callable[[], None]) -> Callable[[], None]:
    """Have `removal` called when no effect is under way any more; return what takes that back.

    Those that were noted last are called first.
    """
    return _noted(_stop.removals, removal)


def _noted(among: list[Callable[[], None]], call: Callable[[], None]) -> Callable[[], None]:
    # An object of its own, so that taking it back takes no equal one.
    noted = partial(call)
    among.append(noted)

    def taken_back() -> None:
        with suppress(ValueError):  # a second time changes nothing
            among.remove(noted)

    return taken_back


@contextmanager
def effect() -> Iterator[None]:
    """Let a stop wait for what is done within. Once a stop is asked for, nothing begins any more."""
    with _stop.changed:
        begins = not _stop.is_asked
        _stop.effects += begins
    if not begins:
        Event().wait()
    try:
        yield
    finally:
        with _stop.changed:
            _stop.effects -= 1
            _stop.changed.notify_all()


def wait_if_stopping() -> None:
    """Return unless a stop is asked for; then wait here for the end of the process."""
    if _stop.is_asked:
        Event().wait()


@contextmanager
def stoppable(text: str) -> Iterator[None]:
    """Say `text` and end the process where SIGINT or SIGTERM comes meanwhile: exit code 128 and its number.

    A second signal ends it at once. The work goes on in this thread, and a thread of its own waits for
    signals: this one may be within a library that looks at no signal for long. A signal that is ignored,
    as by `nohup` or a shell's `&`, stays so. Outside the main thread, nothing is changed.
    """
    if current_thread() is not main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = {n: signal.getsignal(n) for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, _left_to_the_watcher)
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher = Thread(target=_watch, args=(reading, text), daemon=True, name="signals")
    watcher.start()
    try:
        yield
    finally:
        os.write(writing, _OVER)
        watcher.join()  # which never returns where it is ending the process
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def _left_to_the_watcher(_number: int, _frame: object) -> None:
    """Do nothing: the watcher has read the signal from the pipe already, whatever this thread is doing."""


def _watch(reading: int, text: str) -> None:
    while True:
        for number in os.read(reading, 64):
            if number in SIGNALS:
                _end(reading, number, text)
            if number == _OVER[0]:
                return


def _end(reading: int, number: int, text: str) -> None:
    """End the process, with the exit code by which shells name the signal."""
    limit = time.monotonic() + _MOST_SECONDS
    with _stop.changed:
        _stop.is_asked = True
    cleaning = Thread(target=_clean, args=(text,), daemon=True, name="stop")
    cleaning.start()
    while cleaning.is_alive() and time.monotonic() < limit:
        ready, _, _ = select.select([reading], [], [], _BETWEEN)
        if ready and any(again in SIGNALS for again in os.read(reading, 64)):
            break
    kill_children()
    os._exit(128 + number)


def _tell(text: str) -> None:
    """Say `text` on standard error; whatever broken-off threads say there from now on, nobody sees."""
    for hide in list(_stop.displays):
        with suppress(Exception):
            hide()
    # A terminal has shown ^C where the cursor was.
    start = "\n" if os.isatty(2) else ""
    with suppress(OSError):
        os.write(2, f"{start}{text}\n".encode())
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _clean(text: str) -> None:
    # Here, for a terminal may be halted (Ctrl-S).
    _tell(text)
    limit = time.monotonic() + _COMMIT_SECONDS
    with _stop.changed:
        while True:
            for interrupt in list(_stop.interrupts):
                with suppress(Exception):
                    interrupt()
            if not _stop.effects or time.monotonic() > limit:
                break
            _stop.changed.wait(_BETWEEN)
    for remove in reversed(_stop.removals):
        with suppress(Exception):
            remove()
    with suppress(Exception):
        sys.stdout.flush()


def end_children() -> None:
    """Kill what this process started and did not wait for, and wait until it is gone."""
    kill_children()
    for child in _children("self"):
        with suppress(OSError):
            # Who started it may look at it still.
            os.waitid(os.P_PID, int(child), os.WEXITED | os.WNOWAIT)


def kill_children() -> None:
    """Kill what this process started, and what that did, as far as Linux tells of it."""
    for process in list(_descendants("self")):
        with suppress(OSError):
            os.kill(int(process), signal.SIGKILL)


def _descendants(process: str) -> Iterator[str]:
    for child in _children(process):
        yield child
        yield from _descendants(child)


def _children(process: str) -> list[str]:
    found: list[str] = []
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            found += file.read_text().split()
    return found
