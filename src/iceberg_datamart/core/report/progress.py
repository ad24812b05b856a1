"""What a run is doing right now, table by table: what it tells of itself, and how people read that."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# Phases, to be said before the name of what they are of.
LOOKING = "looking at"
LOCKED = "waiting for a lock on"
READING = "reading"
COMPARING = "comparing"
CHECKING = "checking"
WRITING = "writing"
FINDING = "finding changed rows of"
JOINING = "joining"
STARTING = "starting"
CONNECTING = "connecting to"


@dataclass
class Work:
    """One table or mart in work: its phase, since when in seconds of some clock, and the phase's rows so far.

    `total` is how many rows the phase will have, None where that is not known.
    """

    name: str
    phase: str
    since: float
    note: str = ""
    rows: int = 0
    total: int | None = None

    @property
    def doing(self) -> str:
        """Return the phase with its name: `reading settlement_transaction`."""
        return f"{self.phase} {self.name}" + (f", {self.note}" if self.note else "")

    def rows_text(self) -> str:
        """Return the rows so far, and of how many; empty where none are counted."""
        if not self.rows:
            return ""
        # What was counted before may be fewer than what came since.
        of = f" of {self.total:,}" if self.total is not None and self.total >= self.rows else ""
        return f"{self.rows:,}{of} rows"

    def rate_text(self, now: float) -> str:
        """Return the rows in each second of the phase; empty for less than a second."""
        seconds = now - self.since
        return f"{self.rows / seconds:,.0f}/s" if self.rows and seconds >= 1 else ""


class Board:
    """The tables and marts in work, in the order in which they began.

    Each is written by the thread that works on it, and read at any time by whoever shows it: there is no
    lock, for each change is one assignment. `now` gives seconds.
    """

    def __init__(self, now: Callable[[], float] = lambda: 0.0) -> None:
        """Begin with nothing in work; without a clock, nobody looks."""
        self.now = now
        self._works: dict[str, Work] = {}

    @contextmanager
    def work(self, name: str, phase: str, *, note: str = "") -> Iterator[None]:
        """Have something in work meanwhile, in a first phase.

        Where it is in that phase already, only the note is new.
        """
        before = self._works.get(name)
        since = self.now() if before is None or before.phase != phase else before.since
        self._works[name] = Work(name, phase, since, note)
        try:
            yield
        finally:
            self._works.pop(name, None)

    def tell(self, name: str, phase: str, *, total: int | None = None) -> None:
        """Begin another phase of something in work, of `total` rows where that is known."""
        if name in self._works:
            self._works[name] = Work(name, phase, self.now(), total=total)

    def count(self, name: str, rows: int) -> None:
        """Count more rows of the present phase."""
        work = self._works.get(name)
        if work is not None:
            work.rows += rows

    def in_work(self) -> list[Work]:
        """Return what is in work."""
        return list(self._works.values())


def still_text(works: Sequence[Work], now: float) -> str:
    """Return one line of a log that says what is in work, and for how long each phase lasts."""
    return "still " + "; ".join(f"{work.doing}: {_figures(work, now)}" for work in works)


def _figures(work: Work, now: float) -> str:
    return ", ".join(filter(None, (work.rows_text(), f"{now - work.since:.0f} s")))
