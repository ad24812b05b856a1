"""A schema nothing like the seed's: quoted names, many types, left joins under left joins, odd zones."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from support.shops.retail import PASSWORD, Retail, open_retail

if TYPE_CHECKING:
    from support.worlds.laptop import Databases, Laptop

RUNS = 4
FULL_LOADS = {3}
QUIET = {4}
LATE = {1: 2, 2: 3}  # a transaction that opens before the one run commits before the other
ABROAD = {2}  # in another time zone
ZONES = {"TZ": "Pacific/Auckland", "PGTZ": "Asia/Tokyo"}


def run_abroad(laptop: Laptop) -> None:
    """Run in another time zone; the JVM's own is that of tests/e2e/test_time_zones.py."""
    with pytest.MonkeyPatch.context() as patched:
        for name, zone in ZONES.items():
            patched.setenv(name, zone)
        time.tzset()
        laptop.run()
    time.tzset()


def test_mirrors_and_marts_are_exact_after_every_run_in_whatever_time_zone(
    laptop: Laptop, databases: Databases, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETAIL_PASSWORD", PASSWORD)
    dice = random.Random(5)  # noqa: S311  (repeatable on purpose)
    with ExitStack() as stack:
        connection = stack.enter_context(databases.connected(database))
        other = stack.enter_context(databases.connected(database))
        oracle = open_retail(laptop, connection, database)
        live = Retail(connection, dice)
        laptop.run()
        oracle.follow(full=True)
        oracle.check(laptop)
        late, commits_before = ExitStack(), 0
        for number in range(1, RUNS + 1):
            if number == commits_before:
                late.close()
            if number in LATE:
                late.enter_context(live.open_transaction(other))
                commits_before = LATE[number]
            if number not in QUIET:
                live.busy_hour()
                live.change_without_cursor()
                tables = laptop.status()["tables"]
                live.tie({name: table["watermark"] for name, table in tables.items()})
            full = number in FULL_LOADS
            if full:
                for table in ("Customer", "Order", "order line", "Shipment"):
                    live.delete(table, 3)
            before = laptop.files(), laptop.snapshot_ids()
            if number in ABROAD:
                run_abroad(laptop)
            else:
                laptop.run(*(["--load-type", "full"] if full else []))
            oracle.follow(full=full)
            oracle.check(laptop)
            if full:
                oracle.check(laptop, against_source=True)
            if number in QUIET:
                assert (laptop.files(), laptop.snapshot_ids()) == before
