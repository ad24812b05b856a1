"""R12: two real runs over the same tables at the same time corrupt, lose and double nothing."""

from __future__ import annotations

import os
import random
import re
import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from support.faults.killed_runs import running_job
from support.shops.busy_shop import BusyShop, load_type
from support.shops.shop import open_shop
from support.shops.shop_rules import UNCHANGED, outcomes

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

ROUNDS = int(os.environ.get("ROUNDS", "2"))
_SEED = 12
_LATEST_START_SECONDS = 2.0


def test_r12_two_runs_at_once_leave_what_one_would_have_left(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    dice = random.Random(_SEED)  # noqa: S311  (repeatable on purpose)
    shop = BusyShop(laptop, connection, oracle)
    for number in range(ROUNDS):
        # Every other round knows only incremental runs, after which an incremental one must do; in the
        # others one load is full, or both are.
        kinds = [number % 2 == 1, number % 2 == 1 and dice.random() < 0.4]
        dice.shuffle(kinds)
        shop.change()
        race(laptop, kinds, dice.uniform(0, _LATEST_START_SECONDS))
        assert_nothing_is_doubled(laptop)
        shop.make_good(full=any(kinds))


def test_r12_two_first_runs_at_once_load_everything_once(laptop: Laptop, connection: Connection) -> None:
    found = open_shop(laptop, connection)
    race(laptop, [False, False], 0)
    found.check(laptop, against_source=True)
    assert outcomes(laptop.run()) == UNCHANGED
    found.check(laptop, against_source=True)


def race(laptop: Laptop, kinds: list[bool], pause: float) -> None:
    """Start two runs, the second `pause` seconds later; each must succeed, or say that it came too late."""
    with ExitStack() as stack:
        jobs = []
        for number, full in enumerate(kinds):
            time.sleep(pause * number)
            jobs.append(stack.enter_context(running_job(laptop, *load_type(full=full), name=f"run{number}")))
        codes = [job.process.wait(timeout=300) for job in jobs]
    said = [job.stderr.read_text() for job in jobs]
    told = "\n".join(said)
    assert set(codes) <= {0, 75}, told
    assert 0 in codes, told
    for code, text in zip(codes, said, strict=True):
        assert code == 0 or ("nother run" in text and re.search("[Rr]un (it )?again", text)), text


def assert_nothing_is_doubled(laptop: Laptop) -> None:
    """Assert that no key is there twice, and that no run is in a table's history twice."""
    keys = {
        "customer": ("customer_id",),
        "purchase": ("purchase_id",),
        "customer_purchases": ("customer_id", "purchase_id"),
    }
    for name, key in keys.items():
        rows = Counter(tuple(row[column] for column in key) for row in laptop.rows(name))
        assert rows.most_common(1)[0][1] == 1, rows.most_common(3)
        runs = Counter(snapshot["run_id"] for snapshot in laptop.history(name))
        assert runs.most_common(1)[0][1] == 1, runs.most_common(3)
