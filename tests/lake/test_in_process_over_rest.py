"""What the in-process engine makes of a REST catalog's answers, which a catalog in a file plays.

What the server says was seen of Iceberg's own, 1.10.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.exceptions import BadRequestError, CommitFailedException

from iceberg_datamart.errors import CommitConflictError, LakeError
from iceberg_datamart.lake.in_process.commits import add_snapshot
from support.lakes.local_lake import LocalLake, numbered

if TYPE_CHECKING:
    from collections.abc import Callable

TAKEN = "ValidationException: Cannot add snapshot with sequence number 2 older than last sequence number 2"


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    found = LocalLake(tmp_path)
    found.create()
    found.change(numbered(1, 3))
    return found


def answers(
    lake: LocalLake, monkeypatch: pytest.MonkeyPatch, commit: Callable[[Callable[..., Any], Any], Any]
) -> None:
    """Let `commit` stand before each commit: it gets the catalog's own, and what was asked of it."""
    own = lake.tables.catalog.commit_table
    monkeypatch.setattr(lake.tables.catalog, "commit_table", lambda *asked: commit(own, asked))


def test_r12_a_sequence_number_that_is_taken_is_a_bad_request_and_the_next_one_is_tried(
    lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, waiting = LocalLake(Path(lake.warehouse).parent), [7, 8]

    def as_a_server(own: Callable[..., Any], asked: Any) -> Any:
        try:
            return own(*asked)
        except CommitFailedException as error:
            raise BadRequestError(TAKEN) from error

    def while_another_run_stages(*arguments: Any) -> None:
        if waiting:
            number = waiting.pop(0)
            other.stage(numbered(number, number))
        add_snapshot(*arguments)

    answers(lake, monkeypatch, as_a_server)
    monkeypatch.setattr("iceberg_datamart.lake.in_process.staging.add_snapshot", while_another_run_stages)
    lake.change(numbered(4, 4))
    snapshots = lake.tables.load("t").metadata.snapshots
    assert [snapshot.sequence_number for snapshot in snapshots] == [1, 2, 3, 4]
    assert sorted(row[0] for row in lake.rows_of_all_readers()) == [1, 2, 3, 4]


def test_a_commit_that_is_wrong_in_itself_is_no_conflict_and_leaves_no_file(
    lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []

    def refused(_: Callable[..., Any], asked: Any) -> Any:
        sent.append(asked)
        raise BadRequestError("Cannot parse update")

    answers(lake, monkeypatch, refused)
    before = lake.files()
    with pytest.raises(LakeError, match="refuses the snapshot: Cannot parse update") as caught:
        lake.stage(numbered(4, 4))
    assert not isinstance(caught.value, CommitConflictError)
    assert len(sent) == 1
    assert lake.files() == before


def test_a_bad_request_whose_first_sending_was_answered_to_nobody_is_found_in_the_table(
    lake: LocalLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(own: Callable[..., Any], asked: Any) -> Any:
        own(*asked)
        raise BadRequestError("ValidationException: Snapshot already exists for id")

    with monkeypatch.context() as patched:
        answers(lake, patched, twice)
        staged = lake.stage(numbered(4, 4))
    lake.staging().publish(staged)
    assert sorted(row[0] for row in lake.rows_of_all_readers()) == [1, 2, 3, 4]


def test_old_metadata_files_are_left_to_the_server(lake: LocalLake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.catalog.set_properties("t", {"write.metadata.previous-versions-max": "1"})
    monkeypatch.setattr("iceberg_datamart.lake.in_process.commits.MetastoreCatalog", RestCatalog)
    before = {path for path in lake.files() if path.endswith(".metadata.json")}
    lake.change(numbered(4, 4))
    assert before <= lake.files()
