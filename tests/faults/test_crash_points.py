"""R2: a run that dies between any two of its effects is made good by the next run.

It dies by an exception at every point, by `kill -9` where it matters what the kernel and the JVM do with
what is left: data staged or held, a commit just sent, a file half replaced, a report not yet told.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.crash_points import POINTS
from support.faults.crashed_runs import crash_within
from support.faults.killed_runs import crash
from support.shops.busy_shop import BusyShop, load_type
from support.shops.shop import open_shop
from support.shops.shop_rules import UNCHANGED, outcomes
from support.worlds.laptop import Laptop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from support.worlds.laptop import Databases

    Connection = psycopg.Connection[Any]

# What each workload reaches: the visits to crash at, the last of them the last there is. Mirrors are
# committed by the first two, in either order, and the mart by the third.
FIRST_LOAD = {
    "database-created": (1,),
    "table-created": (1, 3),
    "staged": (1, 3),
    "published": (1, 3),
    "timestamp-drafted": (1,),
}
CHANGES = {
    "timestamp-read": (1,),
    "source-opened": (1,),
    "table-described": (1, 2),
    "point-fixed": (1,),
    "window-compared": (1,),
    "window-probed": (2,),
    "columns-changed": (1, 2),
    "spark-started": (1,),
    "changes-held": (1, 3),
    "staged": (1, 3),
    "published": (1, 2, 3),
    "mirrors-merged": (1,),
    "marts-maintained": (1,),
    "runs-counted": (1,),
    "timestamp-drafted": (1,),
    "timestamp-written": (1,),
    "report-ready": (1,),
}


KILLS = (
    ("changes-held#1", False),
    ("staged#1", True),
    ("published#3", False),
    ("timestamp-drafted#1", True),
    ("report-ready#1", False),
)
# Runs take longer with every commit that they look back on.
_USES_OF_A_SHOP = 8


def crashes(workload: dict[str, tuple[int, ...]]) -> list[str]:
    return [f"{point}#{visit}" for point, visits in workload.items() for visit in visits]


# Every other crash happens to a full load.
_CRASHES_OF_CHANGES = [(point, number % 2 == 1) for number, point in enumerate(crashes(CHANGES))]


class Shops:
    """Shops that tests share, each a few times."""

    def __init__(self, databases: Databases, directory: Path, connections: ExitStack) -> None:
        self._databases, self._directory, self._connections = databases, directory, connections
        self._uses = 0
        self._shop: BusyShop | None = None

    def next(self) -> BusyShop:
        """Return the shop of the test before, or a new one if that has seen enough."""
        if self._shop is None or self._uses % _USES_OF_A_SHOP == 0:
            name = self._databases.new()
            laptop = Laptop(self._directory / name, self._databases.server.url(name))
            laptop.directory.mkdir()
            self._shop = BusyShop(laptop, self._connections.enter_context(self._databases.connected(name)))
        self._uses += 1
        return self._shop


@pytest.fixture(scope="module")
def shops(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shops]:
    with ExitStack() as connections:
        yield Shops(databases, tmp_path_factory.mktemp("shops"), connections)


@pytest.fixture
def shop(shops: Shops) -> BusyShop:
    return shops.next()


def test_every_crash_point_is_tried() -> None:
    assert set(POINTS) == set(FIRST_LOAD) | set(CHANGES)


@pytest.mark.parametrize(("point", "full"), _CRASHES_OF_CHANGES)
def test_r2_a_run_that_crashes_is_made_good_by_the_next(shop: BusyShop, point: str, full: bool) -> None:
    shop.change()
    widened = ("purchase",) if point.startswith("columns-changed") else ()
    if widened:
        # Not for the others: a mart whose types are others is compared whole, whatever it is told.
        shop.widen()
    crash_within(shop.laptop, shop.connection, point, *load_type(full=full))
    shop.make_good(full=full, compared=widened)


@pytest.mark.parametrize("point", crashes(FIRST_LOAD))
def test_r2_a_first_load_that_crashes_is_made_good_by_the_next(
    laptop: Laptop, connection: Connection, point: str
) -> None:
    oracle = open_shop(laptop, connection)
    crash_within(laptop, connection, point)
    laptop.run()
    oracle.check(laptop, against_source=True)
    assert outcomes(laptop.run()) == UNCHANGED


@pytest.mark.parametrize(("point", "full"), KILLS)
def test_r2_a_process_that_is_killed_is_made_good_by_the_next(shop: BusyShop, point: str, full: bool) -> None:
    shop.change()
    orphan = crash(shop.laptop, point, *load_type(full=full))
    shop.make_good(full=full)
    orphan.wait_until_gone()
    shop.oracle.check(shop.laptop)


def test_r2_crashes_that_pile_up_are_made_good_by_one_run(shop: BusyShop) -> None:
    for point in ("staged#1", "published#3", "staged#2", "timestamp-drafted"):
        shop.change()
        crash_within(shop.laptop, shop.connection, point, *load_type(full=point.startswith("published")))
    shop.make_good(full=True)
    assert outcomes(shop.laptop.run()) == UNCHANGED
    shop.oracle.check(shop.laptop, against_source=True)
