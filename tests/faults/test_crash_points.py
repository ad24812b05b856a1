"""R2: a run killed between any two of its effects is made good by the next run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iceberg_datamart.crash_points import POINTS
from support.faults.killed_runs import crash
from support.shops.busy_shop import BusyShop, load_type
from support.shops.shop import open_shop
from support.shops.shop_rules import UNCHANGED, outcomes
from support.worlds.laptop import Laptop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.worlds.laptop import Databases

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


def crashes(workload: dict[str, tuple[int, ...]]) -> list[str]:
    return [f"{point}#{visit}" for point, visits in workload.items() for visit in visits]


# Every other crash happens to a full load.
_CRASHES_OF_CHANGES = [(point, number % 2 == 1) for number, point in enumerate(crashes(CHANGES))]


@pytest.fixture(scope="module")
def shop(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BusyShop]:
    name = databases.new()
    with databases.connected(name) as connection:
        yield BusyShop(Laptop(tmp_path_factory.mktemp("shop"), databases.server.url(name)), connection)


def test_every_crash_point_is_tried() -> None:
    assert set(POINTS) == set(FIRST_LOAD) | set(CHANGES)


@pytest.mark.parametrize(("point", "full"), _CRASHES_OF_CHANGES)
def test_r2_a_run_that_crashes_is_made_good_by_the_next(shop: BusyShop, point: str, full: bool) -> None:
    shop.change()
    if point.startswith("columns-changed"):
        # Not for the others: a mart whose types are others is compared whole, whatever it is told.
        shop.widen()
    orphan = crash(shop.laptop, point, *load_type(full=full))
    shop.make_good(full=full)
    orphan.wait_until_gone()
    shop.oracle.check(shop.laptop)


@pytest.mark.parametrize("point", crashes(FIRST_LOAD))
def test_r2_a_first_load_that_crashes_is_made_good_by_the_next(
    laptop: Laptop, databases: Databases, database: str, point: str
) -> None:
    with databases.connected(database) as connection:
        oracle = open_shop(laptop, connection)
        orphan = crash(laptop, point)
        laptop.run()
        oracle.check(laptop, against_source=True)
        orphan.wait_until_gone()
        assert outcomes(laptop.run()) == UNCHANGED
        oracle.check(laptop, against_source=True)


def test_r2_crashes_that_pile_up_are_made_good_by_one_run(shop: BusyShop) -> None:
    for point in ("staged#1", "published#3", "staged#2", "timestamp-drafted"):
        shop.change()
        crash(shop.laptop, point, *load_type(full=point.startswith("published")))
    shop.make_good(full=True)
    assert outcomes(shop.laptop.run()) == UNCHANGED
    shop.oracle.check(shop.laptop, against_source=True)
