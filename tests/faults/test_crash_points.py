"""R2: a run that dies between any two of its effects is made good by the next run.

It dies by an exception at every point, by `kill -9` where it matters what the kernel and the JVM do with
what is left: data staged or held, a commit just sent, a file half replaced, a report not yet told.

Mirrors are committed by the first two visits of a point, in either order, and the mart by the third. Every
other crash happens to a full load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.crash_points import POINTS
from support.faults.crashed_runs import crash_within
from support.faults.killed_runs import crash
from support.shops.busy_shop import BusyShop, load_type
from support.shops.shop import open_shop
from support.shops.shop_rules import UNCHANGED, outcomes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

BEFORE_ANY_EFFECT = (
    ("timestamp-read#1", False),
    ("source-opened#1", True),
    ("table-described#1", False),
    ("table-described#2", True),
    ("point-fixed#1", False),
    ("window-compared#1", True),
    ("window-probed#2", False),
    ("engine-started#1", True),
    ("changes-held#1", False),
)
# Spark leaves something else behind than the other engine; `make matrix` has it crash at all points.
ON_SPARK = ("staged#1",)
# Where a run crashes; then the next, which has by then committed whatever was left to commit.
AFTER_ONE = (
    ("columns-changed#1", "runs-counted#1", True),
    ("columns-changed#2", "report-ready#1", False),
    ("staged#1", "published#3", False),
    ("staged#3", "timestamp-written#1", True),
    ("published#1", "marts-maintained#1", False),
    ("published#2", "timestamp-drafted#1", True),
    ("mirrors-merged#1", "timestamp-drafted#1", False),
    ("changes-held#3", "published#1", True),
)
FIRST_LOADS = (
    ("database-created#1", "published#3"),
    ("table-created#1", "timestamp-drafted#1"),
    ("table-created#3", "timestamp-drafted#1"),
    ("staged#1", "timestamp-drafted#1"),
    ("staged#3", "published#1"),
    ("published#1", "timestamp-drafted#1"),
)
KILLS = (
    (("changes-held#1", "published#3"), False),
    (("staged#1", "timestamp-drafted#1"), True),
    (("report-ready#1",), False),
)


# Which `tests/e2e/test_maintain.py` tries.
OF_MAINTAIN = {"snapshots-expired", "files-removed"}

pytestmark = pytest.mark.engines
in_matrix = pytest.mark.engines("matrix")


def few_on_spark(cases: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Return the cases, marked where Spark need not crash so in each test run."""
    return [pytest.param(*case, marks=[] if case[0] in ON_SPARK else [in_matrix]) for case in cases]


@pytest.fixture
def shop(laptop: Laptop, connection: Connection, oracle: Oracle) -> BusyShop:
    return BusyShop(laptop, connection, oracle)


def test_every_crash_point_is_tried() -> None:
    tried = [point for crashes in (BEFORE_ANY_EFFECT, AFTER_ONE, FIRST_LOADS) for point in crashes]
    points = {word.partition("#")[0] for words in tried for word in words if isinstance(word, str)}
    assert points == set(POINTS) - OF_MAINTAIN


def left_in(folder: Path) -> dict[Path, bytes]:
    """Return every file below a folder, byte by byte."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@in_matrix
def test_r2_a_run_that_crashes_before_any_effect_leaves_nothing_to_make_good(shop: BusyShop) -> None:
    shop.change()
    before = left_in(shop.laptop.directory)
    for point, full in BEFORE_ANY_EFFECT:
        crash_within(shop.laptop, shop.connection, point, *load_type(full=full))
        assert left_in(shop.laptop.directory) == before, point
    shop.make_good(full=False)


@pytest.mark.parametrize(("first", "second", "full"), few_on_spark(AFTER_ONE))
def test_r2_a_run_that_crashes_is_made_good_by_the_next(
    shop: BusyShop, first: str, second: str, *, full: bool
) -> None:
    shop.change()
    widened = ("purchase",) if first.startswith("columns-changed") else ()
    if widened:
        # Not for the others: a mart whose types are others is compared whole, whatever it is told.
        shop.widen()
    crash_within(shop.laptop, shop.connection, first, *load_type(full=full))
    crash_within(shop.laptop, shop.connection, second, *load_type(full=full))
    shop.check(full=full, compared=widened)
    assert outcomes(shop.make_good(full=full, compared=widened)) == UNCHANGED


@pytest.mark.parametrize(("first", "second"), few_on_spark(FIRST_LOADS))
def test_r2_a_first_load_that_crashes_is_made_good_by_the_next(
    laptop: Laptop, connection: Connection, first: str, second: str
) -> None:
    found = open_shop(laptop, connection)
    crash_within(laptop, connection, first)
    crash_within(laptop, connection, second)
    found.check(laptop, against_source=True)
    assert outcomes(laptop.run()) == UNCHANGED
    found.check(laptop, against_source=True)


@pytest.mark.parametrize(("points", "full"), few_on_spark(KILLS))
def test_r2_a_process_that_is_killed_is_made_good_by_the_next(
    shop: BusyShop, points: tuple[str, ...], *, full: bool
) -> None:
    shop.change()
    orphans = [crash(shop.laptop, point, *load_type(full=full)) for point in points]
    shop.check(full=full)
    shop.make_good(full=full)
    for orphan in orphans:
        orphan.wait_until_gone()
    shop.oracle.check(shop.laptop)


@in_matrix
def test_r2_crashes_that_pile_up_are_made_good_by_one_run(shop: BusyShop) -> None:
    for point in ("staged#1", "published#3", "staged#2", "timestamp-drafted"):
        shop.change()
        crash_within(shop.laptop, shop.connection, point, *load_type(full=point.startswith("published")))
    shop.make_good(full=True)
    assert outcomes(shop.laptop.run()) == UNCHANGED
    shop.oracle.check(shop.laptop, against_source=True)
