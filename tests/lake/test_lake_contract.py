"""What every lake does, the one in memory and the one of Spark and Iceberg (R1, R3, R12)."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from iceberg_datamart.core.engines import IN_PROCESS, SPARK
from iceberg_datamart.core.mart.definition import definition_text
from iceberg_datamart.core.mart.shape import MirrorShape, mart_shape
from iceberg_datamart.core.source.reads import RejectedRow
from iceberg_datamart.core.state.commit import MartState
from iceberg_datamart.errors import CommitConflictError
from iceberg_datamart.ports import ConsumedMirror, MartMaintenance
from support.fakes.places import MART, TABLES, InMemory, OnLaptop, at_point, merge_of, merged
from support.fakes.ports import COLUMNS, MINUTE, NOON

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iceberg_datamart.core.state.history import TableHistory
    from iceberg_datamart.ports import Lake
    from support.fakes.places import Place
    from support.fakes.ports import SourceRows

QUEUE, ACCOUNT = TABLES
ROWS: SourceRows = {1: ("a", NOON), 2: ("b", NOON + MINUTE), 3: ("no cursor", None)}
LATER: SourceRows = {1: ("changed", NOON + MINUTE), 3: ("no cursor", None), 4: ("new", NOON + MINUTE)}

pytestmark = pytest.mark.runtime


@pytest.fixture(params=["memory", SPARK, IN_PROCESS])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "memory":
        return InMemory()
    laptop, connection = request.getfixturevalue("laptop"), request.getfixturevalue("connection")
    return OnLaptop(laptop, connection, request.param)


@pytest.fixture
def lake(place: Place) -> Iterator[Lake]:
    """Yield a lake that looks, and does not merge."""
    found = place.lake("onlooker")
    yield found
    found.close()


def snapshot_ids(lake: Lake, table: str = QUEUE) -> list[int]:
    history = lake.history(table)
    return [] if history is None else [snapshot.snapshot_id for snapshot in history.snapshots]


def test_a_table_that_was_never_made_has_no_history(lake: Lake) -> None:
    assert lake.history(QUEUE) is None


def test_a_mirror_is_made_without_rows_and_without_a_snapshot(place: Place, lake: Lake) -> None:
    with at_point(place, QUEUE) as queue:
        lake.create_mirror(merge_of(queue, lake, "run-1", QUEUE))
    history = lake.history(QUEUE)
    assert history is not None
    assert (history.current, history.key) == (None, ("id",))
    assert {column.name: column.type for column in COLUMNS}.items() <= dict(history.columns).items()


def test_r1_rows_and_state_are_in_one_snapshot(place: Place, lake: Lake) -> None:
    place.hold(QUEUE, ROWS)
    found = merged(place, "run-1")
    assert found.receipt is not None
    assert (found.rows_read, found.receipt.inserted, found.receipt.updated, found.receipt.deleted) == (
        *(3, 3, 0, 0),
    )
    assert place.mirrored(QUEUE) == ROWS
    (current,) = known(lake).snapshots
    assert (current.snapshot_id, current.run_id) == (found.receipt.snapshot_id, "run-1")
    assert known(lake).mirror_states[0].summary().items() <= dict(current.summary).items()


def known(lake: Lake, table: str = QUEUE) -> TableHistory:
    history = lake.history(table)
    assert history is not None
    return history


def test_r3_where_nothing_differs_nothing_is_committed_unless_its_state_must_be(
    place: Place, lake: Lake
) -> None:
    place.hold(QUEUE, ROWS)
    merged(place, "run-1")
    before = snapshot_ids(lake)
    assert merged(place, "run-2").receipt is None
    assert snapshot_ids(lake) == before
    receipt = merged(place, "run-3", force_commit=True).receipt
    assert receipt is not None
    assert (receipt.inserted, receipt.updated, receipt.deleted) == (0, 0, 0)
    assert snapshot_ids(lake) == [receipt.snapshot_id, *before]
    assert not known(lake).snapshots[0].changes_rows
    assert place.mirrored(QUEUE) == ROWS


def test_an_increment_deletes_nothing_and_a_full_load_what_the_source_lacks(place: Place) -> None:
    place.hold(QUEUE, ROWS)
    merged(place, "run-1")
    place.hold(QUEUE, LATER)
    receipt = merged(place, "run-2").receipt
    assert receipt is not None
    assert (receipt.inserted, receipt.updated, receipt.deleted) == (1, 1, 0)
    assert place.mirrored(QUEUE) == {**ROWS, **LATER}
    receipt = merged(place, "run-3", full=True).receipt
    assert receipt is not None
    assert (receipt.inserted, receipt.updated, receipt.deleted) == (0, 0, 1)
    assert place.mirrored(QUEUE) == LATER


def test_r12_a_mirror_that_moved_since_is_left_alone(place: Place, lake: Lake) -> None:
    place.hold(QUEUE, ROWS)
    merged(place, "run-1")
    base = lake.history(QUEUE)
    place.hold(QUEUE, LATER)
    merged(place, "run-2")
    before = snapshot_ids(lake)
    place.hold(QUEUE, {9: ("of a run that was overtaken", NOON)})
    with pytest.raises(CommitConflictError):
        merged(place, "run-3", base=base)
    assert snapshot_ids(lake) == before
    assert place.mirrored(QUEUE) == {**ROWS, **LATER}


def test_source_and_mirror_digest_the_same_rows_alike_and_others_not(place: Place, lake: Lake) -> None:
    place.hold(QUEUE, ROWS)
    merged(place, "run-1")
    names = [column.name for column in COLUMNS]
    for rows, alike in ((ROWS, True), ({**ROWS, 2: ("other", NOON)}, False), (LATER, False)):
        place.hold(QUEUE, rows)
        with at_point(place, QUEUE) as queue:
            slicing, found = queue.digests()
        assert (dict(lake.digests(QUEUE, known(lake), names, slicing)) == dict(found)) == alike


def test_r10_a_rejected_row_is_kept_once_and_told_by_the_run_that_brought_it(place: Place) -> None:
    place.hold(QUEUE, ROWS)
    merged(place, "run-1")
    rows = [RejectedRow("no key", '{"v": "x"}'), RejectedRow("no key", '{"v": "y"}')]
    with closing(place.lake("run-2")) as lake:
        assert sorted(lake.reject(QUEUE, rows[:1])) == rows[:1]
        assert sorted(lake.reject(QUEUE, rows)) == rows
    with closing(place.lake("run-3")) as lake:
        assert list(lake.reject(QUEUE, rows)) == []


def test_r8_a_mart_says_of_which_snapshots_it_is_the_join(place: Place, lake: Lake) -> None:
    for name in TABLES:
        place.hold(name, ROWS)
    merged(place, "run-1")
    maintenance = of_the_mart(place, lake, "run-1")
    receipt = lake.maintain(maintenance).receipt
    assert receipt is not None
    assert known(lake, MART).mart_state == maintenance.state
    assert known(lake, MART).definition(maintenance.state.definition) == maintenance.definition
    before = snapshot_ids(lake, MART)
    with pytest.raises(CommitConflictError):
        lake.maintain(replace(maintenance, base=None))
    assert snapshot_ids(lake, MART) == before


def of_the_mart(place: Place, lake: Lake, run_id: str) -> MartMaintenance:
    """Return the first maintenance of the mart, whose second mirror is empty."""
    config, history = place.config.marts[MART], known(lake)
    with at_point(place, ACCOUNT) as account:
        lake.create_mirror(merge_of(account, lake, run_id, ACCOUNT))
    shapes = dict.fromkeys(TABLES, MirrorShape(tuple(column.name for column in COLUMNS), ("id",)))
    shape = mart_shape(MART, config, shapes)
    assert history.current is not None
    consumed = {QUEUE: history.current.snapshot_id}
    kinds = {name: {"id": "long"} for name in TABLES}
    return MartMaintenance(
        shape,
        [ConsumedMirror(QUEUE, consumed[QUEUE]), ConsumedMirror(ACCOUNT, None)],
        None,
        lake.history(MART),
        MartState(run_id, shape.definition, consumed),
        definition=definition_text(config, shapes, kinds),
    )
