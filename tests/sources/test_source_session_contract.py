"""What every session of a source does, the one in memory and PostgreSQL's (R7, R10, R16)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iceberg_datamart.core.instants import CursorKind, microseconds
from iceberg_datamart.core.source.reads import RowCount
from iceberg_datamart.core.source.slices import differing
from iceberg_datamart.core.state.watermark import ReadWindow, Watermark
from support.fakes.places import TABLES, WHOLE, InMemory, OnLaptop, at_point
from support.fakes.ports import COLUMNS, MINUTE, NOON

if TYPE_CHECKING:
    from support.fakes.places import Place
    from support.fakes.ports import SourceRows

QUEUE = TABLES[0]
ROWS: SourceRows = {1: ("a", NOON), 2: ("b", NOON + MINUTE), 3: ("no cursor", None)}
FROM_THE_SECOND = ReadWindow(Watermark(CursorKind.TIMESTAMPTZ, microseconds(NOON + MINUTE)))


@pytest.fixture(params=["memory", "postgresql"])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "memory":
        return InMemory()
    return OnLaptop(request.getfixturevalue("laptop"), request.getfixturevalue("connection"))


def test_a_table_is_described_by_columns_key_and_cursor_and_always_has_the_same_identity(
    place: Place,
) -> None:
    with at_point(place, QUEUE) as queue, at_point(place, QUEUE) as again:
        found = queue.facts
        assert [(column.name, column.type) for column in found.columns] == [
            (column.name, column.type) for column in COLUMNS
        ]
        assert (found.primary_key, found.cursor) == (("id",), CursorKind.TIMESTAMPTZ)
        assert found.identity == again.facts.identity


def test_a_window_is_closed_at_its_lower_end_and_holds_rows_without_a_cursor(place: Place) -> None:
    place.hold(QUEUE, ROWS)
    with at_point(place, QUEUE) as queue:
        assert place.selected(queue.read(FROM_THE_SECOND)) == {2: ROWS[2], 3: ROWS[3]}
        probe = queue.probe(FROM_THE_SECOND)
        assert probe is not None
        assert (probe.rows, probe.greatest, probe.rejected) == (2, FROM_THE_SECOND.lower, 0)
        assert sorted(probe.keys or ()) == [(2,), (3,)]
        assert (queue.rows_in(FROM_THE_SECOND), queue.rows_in(WHOLE)) == (RowCount(2), RowCount(3))
        assert place.selected(queue.read(WHOLE)) == ROWS


def test_all_is_told_as_of_the_point(place: Place) -> None:
    place.hold(QUEUE, ROWS)
    with at_point(place, QUEUE) as queue:
        before = queue.probe(WHOLE), queue.fingerprint(WHOLE), queue.digests()
        place.hold(QUEUE, {1: ("changed", NOON + MINUTE)})
        assert place.selected(queue.read(WHOLE)) == ROWS
        assert (queue.probe(WHOLE), queue.fingerprint(WHOLE), queue.digests()) == before


def test_the_horizon_is_never_ahead_of_the_sources_clock(place: Place) -> None:
    session = place.session()
    session.lock({})
    horizon = session.pin_snapshot()
    session.close()
    assert horizon.instant <= horizon.clock


@pytest.mark.parametrize(
    ("rows", "alike"),
    [
        (dict(reversed(ROWS.items())), True),
        ({**ROWS, 2: ("other", NOON + MINUTE)}, False),
        ({**ROWS, 2: ("b", NOON)}, False),
        ({1: ROWS[1], 2: ROWS[2]}, False),
    ],
)
def test_fingerprints_and_digests_are_alike_where_the_rows_are(
    place: Place, rows: SourceRows, *, alike: bool
) -> None:
    found = []
    for held in (ROWS, rows):
        place.hold(QUEUE, held)
        with at_point(place, QUEUE) as queue:
            slicing, digests = queue.digests()
            found.append((queue.fingerprint(WHOLE), digests))
    assert (found[0][0] == found[1][0]) == alike
    assert (not differing(slicing, found[0][1], found[1][1]).numbers) == alike


def test_slices_that_differ_are_read_whole(place: Place) -> None:
    place.hold(QUEUE, {1: ROWS[1]})
    with at_point(place, QUEUE) as queue:
        slicing, before = queue.digests()
    place.hold(QUEUE, {1: ("changed", NOON)})
    with at_point(place, QUEUE) as queue:
        slices = differing(slicing, queue.digests()[1], before)
        assert place.selected(queue.read_slices(slices)) == {1: ("changed", NOON)}


def test_r10_a_row_without_a_key_is_rejected_and_not_read(place: Place) -> None:
    place.hold(QUEUE, {**ROWS, None: ("no key", NOON)})  # type: ignore[dict-item]
    with at_point(place, QUEUE) as queue:
        probe = queue.probe(WHOLE)
        assert probe is not None
        assert (probe.rows, probe.rejected, queue.unfit_rows()) == (3, 1, 1)
        (rejected,) = queue.rejected(WHOLE)
        assert "'id'" in rejected.reason
        assert place.selected(queue.read(WHOLE)) == ROWS
