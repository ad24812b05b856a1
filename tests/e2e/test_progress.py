"""What is seen of a run while it lasts: a line for each table in work on a terminal, one of all in a log."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.cli import STOPPING, progress
from support.worlds.laptop import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

_WIDTH = 80
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass
class Terminal:
    """A program on a terminal of its own, and all that it has written there."""

    process: int
    keyboard: int
    shown: str = ""

    def wait_for(self, text: str) -> None:
        limit = time.monotonic() + 60
        while text not in self.text:
            assert self.reads(), f"it ended without {text!r}: {self.text}"
            assert time.monotonic() < limit, self.text

    def reads(self) -> bool:
        """Take what there is within a moment; return False at the end."""
        if not select.select([self.keyboard], [], [], 0.1)[0]:
            return True
        try:
            found = os.read(self.keyboard, 65536)
        except OSError:  # how Linux says that nobody holds the other end any more
            return False
        self.shown += found.decode()
        return bool(found)

    @property
    def text(self) -> str:
        return _CONTROL.sub("", self.shown)

    def ended(self) -> int:
        while self.reads():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


@contextmanager
def on_a_terminal(laptop: Laptop, *words: str) -> Iterator[Terminal]:
    """Yield a command on the settings that has a terminal of 80 columns."""
    process, keyboard = pty.fork()
    if process == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # who runs the tests may ignore it
        os.environ["TERM"] = "xterm"
        os.execv(PROGRAM, [str(PROGRAM), *words, "--config", str(laptop.file)])  # noqa: S606
    fcntl.ioctl(keyboard, termios.TIOCSWINSZ, struct.pack("HHHH", 24, _WIDTH, 0, 0))
    try:
        yield Terminal(process, keyboard)
    finally:
        os.close(keyboard)


def test_a_terminal_shows_who_holds_a_lock_and_ctrl_c_leaves_it_as_it_was(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    del oracle
    with connection.transaction(), on_a_terminal(laptop, "run") as terminal:
        connection.execute("lock table customer in access exclusive mode")
        terminal.wait_for("waiting for a lock on customer, held by session ")
        asked = time.monotonic()
        os.write(terminal.keyboard, b"\x03")
        assert terminal.ended() == 130
    assert time.monotonic() - asked < 3
    assert terminal.shown.rstrip().endswith(STOPPING["run"])
    assert terminal.shown.rindex("\x1b[?25h") < terminal.shown.rindex(STOPPING["run"]), "no cursor"


@pytest.fixture
def slow(laptop: Laptop, connection: Connection) -> Laptop:
    """Return a folder whose one table takes a second to look at, and another to read."""
    connection.execute("""
        create table slow (id int primary key, name text);
        insert into slow select i, 'name' from generate_series(1, 3) as i;
        create view slowly as select id, name || coalesce(pg_sleep(0.3)::text, '') as name from slow
    """)
    return laptop.configure({"slowly": {"from": "public.slowly", "primary_key": ["id"]}}, {})


def test_a_terminal_shows_the_phases_of_a_table_and_then_the_report(slow: Laptop) -> None:
    with on_a_terminal(slow, "run") as terminal:
        assert terminal.ended() == 0
    assert re.search(r"looking at slowly +\d s", terminal.text)
    assert re.search(r"reading slowly +\d s", terminal.text)
    assert "still " not in terminal.text
    assert terminal.text.index("'slowly' merged: ") < terminal.text.index("timestamp file: ")


def test_a_log_says_now_and_then_what_is_in_work(slow: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "TOLD_EVERY", 0.2)
    said = slow.command("run").stderr
    assert re.search(r"INFO run=\S+ still reading slowly: (3 of 3 rows, )?\d s\n", said), said
