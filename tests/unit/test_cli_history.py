"""`history` shows when a snapshot was published, and `rollback --to-time` with that time selects it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from iceberg_datamart.cli.history import as_json, cells, shown_since
from iceberg_datamart.cli.options import instant
from iceberg_datamart.cli.status_tables import table_json
from iceberg_datamart.core.settings.model import Config
from iceberg_datamart.core.state.history import Snapshot, TableHistory
from iceberg_datamart.errors import ConfigError
from iceberg_datamart.run.rollback import rollback_to

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
STAGED = tuple(NOON + timedelta(minutes=number) for number in range(3))
# Published some time after it was staged: longer than until the next one was.
DELAY = timedelta(seconds=7, milliseconds=123)
PUBLISHED = tuple(instant + DELAY for instant in STAGED)
CONFIG = Config.model_validate(
    {
        "version": 1,
        "catalog": {"type": "sql", "uri": "sqlite:///catalog.db", "warehouse": "lake"},
        "database": "datamart",
        "state": {"timestamp_file": "last.csv"},
        "sources": {"prd": {"type": "postgres", "url": "postgresql://reader@db/prd"}},
        "tables": {"account": {"source": "prd", "from": "account"}},
    }
)


def history(*log: tuple[datetime, int]) -> TableHistory:
    """Return that of three snapshots, numbered from 1, with their own log or another."""
    snapshots = tuple(
        Snapshot(number + 1, number or None, STAGED[number], "append") for number in reversed(range(3))
    )
    own = tuple((instant, number + 1) for number, instant in enumerate(PUBLISHED))
    return TableHistory({}, (), snapshots, log=log or own)


def selected(found: TableHistory, time: str) -> int:
    """Return the snapshot to which `rollback --to-time` would go."""
    return rollback_to(CONFIG, "account", found, instant=instant(time, "--to-time")).target.snapshot_id


def test_the_time_that_history_shows_selects_its_own_snapshot_as_text_and_as_json() -> None:
    found = history()
    for snapshot in found.snapshots:
        shown = as_json(found, snapshot)
        assert shown["committed_at"] == PUBLISHED[snapshot.snapshot_id - 1].isoformat(timespec="milliseconds")
        assert selected(found, shown["committed_at"]) == snapshot.snapshot_id
        assert selected(found, cells(shown)["committed_at"]) == snapshot.snapshot_id
    assert table_json(found)["committed_at"] == as_json(found, found.snapshots[0])["committed_at"]


def test_so_it_does_for_one_that_was_gone_back_to() -> None:
    later = NOON + timedelta(hours=1)
    log = ((PUBLISHED[0], 1), (PUBLISHED[1], 2), (PUBLISHED[2], 1), (later, 3))
    found = history(*log)
    times = {number: as_json(found, found.snapshots[3 - number])["committed_at"] for number in (1, 2, 3)}
    assert {selected(found, time): number for number, time in times.items()} == {1: 1, 2: 2, 3: 3}


def test_the_time_of_staging_is_before_it_and_selects_the_snapshot_before() -> None:
    assert selected(history(), STAGED[2].isoformat()) == 2


def test_a_snapshot_of_which_the_log_tells_no_more_has_no_time() -> None:
    found = history((PUBLISHED[1], 2), (PUBLISHED[2], 3))
    assert cells(as_json(found, found.snapshots[2]))["committed_at"] is None
    with pytest.raises(ConfigError, match="no snapshot at"):
        selected(found, PUBLISHED[0].isoformat())


@pytest.mark.parametrize(
    ("begin", "numbers"),
    [
        (None, [3, 2, 1]),
        (PUBLISHED[1], [3, 2]),
        (PUBLISHED[1] + DELAY / 1000, [3]),
        (NOON + 3 * DELAY * 20, []),
    ],
)
def test_since_counts_from_when_readers_saw_a_snapshot(begin: datetime | None, numbers: list[int]) -> None:
    assert [row["snapshot_id"] for row in shown_since(history(), begin)] == numbers


RUN = {"iceberg-datamart.run-id": "r", "iceberg-datamart.load-type": "incremental"}


def written(*commits: tuple[str, dict[str, str]]) -> TableHistory:
    """Return the history of commits by operation and summary, oldest first, numbered from 1."""
    snapshots = [
        Snapshot(number, number - 1 or None, NOON, operation, summary)
        for number, (operation, summary) in enumerate(commits, start=1)
    ]
    return TableHistory({}, (), tuple(reversed(snapshots)))


@pytest.mark.parametrize(
    ("commits", "is_foreign", "foreign"),
    [
        ([("append", RUN)], False, []),
        ([("append", RUN), ("append", {})], True, [2]),
        ([("append", RUN), ("delete", {}), ("overwrite", RUN)], False, [2]),
        ([("append", RUN), ("append", {}), ("overwrite", {})], True, [3, 2]),
        ([("append", {}), ("overwrite", RUN | {"iceberg-datamart.load-type": "reconcile"})], False, []),
        ([("append", RUN), ("replace", {})], True, []),
    ],
)
def test_status_tells_which_tables_another_tool_wrote_to(
    commits: list[tuple[str, dict[str, str]]], is_foreign: bool, foreign: list[int]
) -> None:
    told = table_json(written(*commits))
    assert (told["is_foreign"], told["foreign"]) == (is_foreign, foreign)
