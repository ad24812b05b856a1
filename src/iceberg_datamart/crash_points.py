"""Named instants between two effects of a run, at which a test can have the process killed (R2).

A point is named after the effect just done; it stands before the next one. Nothing but a test sets
the variable: `ICEBERG_DATAMART_CRASH_AT=staged#3` kills the process when `staged` is reached for the
third time. Without it, reaching a point costs one comparison.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Callable

Point = Literal[
    "timestamp-read",
    "source-opened",
    "table-described",
    "point-fixed",
    "window-compared",
    "window-probed",
    "database-created",
    "table-created",
    "columns-changed",
    "engine-started",
    "changes-held",
    "staged",
    "published",
    "snapshots-expired",
    "files-removed",
    "mirrors-merged",
    "marts-maintained",
    "runs-counted",
    "timestamp-drafted",
    "timestamp-written",
    "report-ready",
]
POINTS: tuple[Point, ...] = get_args(Point)
VARIABLE = "ICEBERG_DATAMART_CRASH_AT"


def kill(point: str) -> None:
    """End this process as `kill -9` does; the last line of its standard error names `point`."""
    os.write(2, f"crash point {point}\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Trap:
    """Springs at the `visit`-th time that `point` is reached, and at every point after that.

    `spring` ends the run. Where it does so by an exception, as tests within one process do, other
    threads would go on; they end at their next point, since a dead process does nothing more.
    """

    point: str
    visit: int = 1
    spring: Callable[[str], None] = kill
    sprung: bool = False
    _visits: int = 0
    _lock: Lock = field(default_factory=Lock)

    @classmethod
    def parsed(cls, text: str) -> Trap:
        """Return the trap that `point` or `point#visit` describes. Raises: ValueError."""
        point, _, visit = text.partition("#")
        return cls(point, int(visit or 1))

    def reached(self, point: str) -> None:
        """Spring, if it is time."""
        with self._lock:
            self._visits += point == self.point
            self.sprung = self.sprung or self._visits == self.visit
        if self.sprung:
            self.spring(point)


trap: Trap | None = Trap.parsed(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def crash_point(point: Point) -> None:
    """Say that the run is at `point`; it ends here if a test wants it so."""
    if trap is not None:
        trap.reached(point)
