"""R12: two real runs over the same tables at the same time corrupt, lose and double nothing.

Each of the two has a process and a JVM of its own, which serves all tests: two runs that start warm are at
the same tables for most of their time.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.core.engines import IN_PROCESS, SPARK
from support.shops.busy_shop import BusyShop, load_type
from support.shops.shop import open_shop
from support.shops.shop_rules import UNCHANGED, outcomes
from support.worlds import warm_process
from support.worlds.laptop import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Ended, Laptop
    from support.worlds.warm_process import WarmProcess

    Connection = psycopg.Connection[Any]

ROUNDS = int(os.environ.get("ROUNDS", "2"))
_SEED = 12
_LATEST_START_SECONDS = 1.0


@pytest.fixture(scope="module")
def runners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[WarmProcess]]:
    """Yield two processes that run the job."""
    with ExitStack() as stack:
        folders = [tmp_path_factory.mktemp("runner") for _ in range(2)]
        yield [stack.enter_context(warm_process.running(folder, {})) for folder in folders]


@pytest.mark.parametrize("engines", [(IN_PROCESS, IN_PROCESS), (IN_PROCESS, SPARK)])
def test_r12_two_first_runs_at_once_load_everything_once(
    laptop: Laptop, connection: Connection, runners: list[WarmProcess], engines: tuple[str, str]
) -> None:
    found = open_shop(laptop, connection)
    race(laptop, runners, [("--engine", name) for name in engines], 0)
    found.check(laptop, against_source=True)
    assert outcomes(laptop.run()) == UNCHANGED
    found.check(laptop, against_source=True)


def test_r12_two_runs_at_once_leave_what_one_would_have_left(
    laptop: Laptop, connection: Connection, oracle: Oracle, runners: list[WarmProcess]
) -> None:
    dice = random.Random(_SEED)  # noqa: S311  (repeatable on purpose)
    shop = BusyShop(laptop, connection, oracle)
    for number in range(ROUNDS):
        # Every other round knows only incremental runs, after which an incremental one must do; in the
        # others one load is full, or both are.
        kinds = [number % 2 == 1, number % 2 == 1 and dice.random() < 0.4]
        dice.shuffle(kinds)
        shop.change()
        # Against itself, and against the other engine.
        engines = (IN_PROCESS, (IN_PROCESS, SPARK)[number % 2])
        words = [(*load_type(full=kind), "--engine", name) for kind, name in zip(kinds, engines, strict=True)]
        race(laptop, runners, words, dice.uniform(0, _LATEST_START_SECONDS))
        assert_nothing_is_doubled(laptop)
        shop.make_good(full=any(kinds))


def race(laptop: Laptop, runners: list[WarmProcess], words: list[tuple[str, ...]], pause: float) -> None:
    """Start two runs with these options, the second `pause` seconds later.

    Each must succeed, or say that it came too late.
    """

    def run(number: int) -> Ended:
        time.sleep(pause * number)
        arguments = ("run", "--config", str(laptop.file), *words[number])
        return runners[number].run(PROGRAM, *arguments)

    with ThreadPoolExecutor(len(runners)) as pool:
        ended = list(pool.map(run, range(len(runners))))
    told = "\n".join(each.stderr for each in ended)
    codes = {each.exit_code for each in ended}
    assert codes <= {0, 75}, told
    # Or each came too late for a table that the other merged.
    assert 0 in codes or all(re.search("' merged: ", each.stderr) for each in ended), told
    for each in ended:
        late = "nother run" in each.stderr and re.search("[Rr]un (it )?again", each.stderr)
        assert each.exit_code == 0 or late, each.stderr


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
