"""Up to when a mirror or mart is complete: the commits and the timestamp file, each where it may speak."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from iceberg_datamart.core.report.freshness import Now, behind, mart_complete, mirror_complete
from iceberg_datamart.core.state.commit import PREFIX, MartState, MirrorState
from iceberg_datamart.core.state.history import Snapshot, TableHistory
from support.fakes.ports import MINUTE, NOON

if TYPE_CHECKING:
    from datetime import datetime

RECORDED, FILE = NOON - 10 * MINUTE, NOON - 5 * MINUTE
NOW = Now(NOON, "source")


def mirror(*complete: datetime, **more: object) -> TableHistory:
    """Return the history of a mirror that runs committed to, each with a row and its complete-through."""
    states = (MirrorState("r", "incremental", "prd", through, through) for through in complete)
    snapshots = [
        Snapshot(number, number - 1 or None, NOON, "append", {**state.summary(), PREFIX + "inserted": "1"})
        for number, state in enumerate(states, start=1)
    ]
    return TableHistory({}, (), tuple(reversed(snapshots)), **more)  # type: ignore[arg-type]


def mart(**consumed: int) -> TableHistory:
    """Return the history of a mart of one commit."""
    state = MartState("r", "definition", consumed)
    return TableHistory({}, (), (Snapshot(1, None, NOON, "append", state.summary()),))


def then(history: TableHistory, operation: str, **summary: str) -> TableHistory:
    """Return the history after one more commit."""
    numbers = len(history.snapshots) + 1
    newest = Snapshot(numbers, numbers - 1, NOON, operation, summary)
    return replace(history, snapshots=(newest, *history.snapshots))


@pytest.mark.parametrize(
    ("recorded", "file", "enabled", "superseded", "expected"),
    [
        (RECORDED, FILE, True, False, (FILE, "timestamp_file")),
        (FILE, RECORDED, True, False, (FILE, "commit")),
        (RECORDED, None, True, False, (RECORDED, "commit")),
        # No run moved the file on for this table as it is now.
        (RECORDED, FILE, False, False, (RECORDED, "commit")),
        (RECORDED, FILE, True, True, (RECORDED, "commit")),
        # No run writes a time that is yet to come.
        (RECORDED, NOON + MINUTE, True, False, (RECORDED, "commit")),
        # The source's table is empty: no commit says anything.
        (None, FILE, True, False, (FILE, "timestamp_file")),
        (None, FILE, False, False, None),
        (None, None, True, False, None),
    ],
)
def test_the_later_witness_counts_where_it_speaks_of_the_table(
    recorded: datetime | None,
    file: datetime | None,
    *,
    enabled: bool,
    superseded: bool,
    expected: tuple[datetime, str] | None,
) -> None:
    history = mirror(*filter(None, [recorded]), is_superseded=superseded)
    found = mirror_complete(history, file, NOW, enabled=enabled)
    assert (None if found is None else (found.through, found.by)) == expected
    if found is not None:
        assert found.lag == NOON - found.through


def test_a_file_that_was_written_since_a_table_was_set_back_speaks_of_it_again() -> None:
    for since, by in ((FILE - MINUTE, "timestamp_file"), (FILE + MINUTE, "commit")):
        history = mirror(RECORDED, is_superseded=True, log=((since, 1),))
        found = mirror_complete(history, FILE, NOW, enabled=True)
        assert found is not None
        assert found.by == by


def test_of_a_table_that_is_not_there_nothing_is_complete() -> None:
    assert mirror_complete(None, FILE, NOW, enabled=True) is None


def test_a_mart_is_complete_as_its_least_complete_mirror() -> None:
    mirrors = {"a": mirror(RECORDED), "b": mirror(FILE)}
    complete = {name: mirror_complete(each, None, NOW, enabled=True) for name, each in mirrors.items()}
    assert behind(mart(a=1, b=1), mirrors) == ()
    assert mart_complete(mart(a=1, b=1), mirrors, complete) == complete["a"]
    assert mart_complete(None, mirrors, complete) is None


def test_a_mart_that_is_behind_is_complete_as_its_mirror_was_when_it_was_consumed() -> None:
    mirrors = {"a": mirror(RECORDED, NOON), "b": mirror(FILE)}
    complete = {name: mirror_complete(each, None, NOW, enabled=True) for name, each in mirrors.items()}
    assert behind(mart(a=1, b=1), mirrors) == ("a",)
    found = mart_complete(mart(a=1, b=1), mirrors, complete)
    assert found is not None
    assert found.through == RECORDED
    assert behind(mart(a=2, b=1), mirrors) == ()


def test_a_mart_is_behind_commits_that_may_have_changed_rows_alone() -> None:
    one = mirror(RECORDED)
    compacted, recorded = then(one, "replace"), then(one, "append", **{PREFIX + "run-id": "r"})
    changed = then(one, "overwrite")
    assert [bool(behind(mart(a=1), {"a": each})) for each in (one, compacted, recorded, changed)] == [
        *(False, False, False, True)
    ]


def test_a_mart_is_behind_a_mirror_that_was_empty_when_it_was_consumed_or_was_rolled_back_since() -> None:
    assert behind(mart(), {"a": mirror(RECORDED)}) == ("a",)
    assert behind(mart(), {"a": mirror()}) == ()
    assert behind(mart(a=2), {"a": mirror(RECORDED)}) == ("a",)
    known = mirror_complete(mirror(RECORDED), None, NOW, enabled=True)
    assert mart_complete(mart(a=2), {"a": mirror(RECORDED)}, {"a": known}) is None
