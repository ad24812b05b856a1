"""Runs within this process that end at a crash point by an exception that nothing in the product catches."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from iceberg_datamart import crash_points
from iceberg_datamart.crash_points import Trap

if TYPE_CHECKING:
    import psycopg

    from support.worlds.laptop import Laptop

_GRACE_SECONDS = 10
_OTHERS = (
    "select application_name, state, query from pg_stat_activity "
    "where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()"
)


class Crash(BaseException):
    """Ends a run within this process where a kill would end it."""


def _crash(_: str) -> None:
    raise Crash


def crashed(laptop: Laptop, trap: Trap, *arguments: str, verb: str = "run") -> bool:
    """Run with a trap such as this, whose crash is an exception; return whether it ended the run."""
    crash_points.trap, ended = (trap := replace(trap, spring=_crash)), False
    try:
        laptop.command(verb, *arguments)
    except Crash:
        ended = True
    finally:
        crash_points.trap = None
    assert ended == trap.sprung, f"the crash at {trap.point} did not end the run: something caught it"
    return ended


def crash_within(laptop: Laptop, connection: psycopg.Connection[Any], point: str, *arguments: str) -> None:
    """Run until `point` ends the run, which it has to reach; no session of it stays open in the source."""
    assert crashed(laptop, Trap.parsed(point), *arguments), f"{point} was not reached"
    limit = time.monotonic() + _GRACE_SECONDS
    while left := connection.execute(_OTHERS).fetchall():
        assert time.monotonic() < limit, f"sessions of a dead run are still open: {left}"
        time.sleep(0.02)
