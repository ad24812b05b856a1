"""The lock beside the timestamp file: its owner's alone, no link, waited for within bounds and aloud."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import threading
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pytest

from iceberg_datamart.errors import TimestampFileError, TimestampFileLockedError
from iceberg_datamart.stores import file_lock as module
from iceberg_datamart.stores.file_lock import file_lock, write_new
from iceberg_datamart.stores.run_counts import LocalRunCounts
from iceberg_datamart.stores.timestamp_file import LocalTimestampFile

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_lock_is_its_owners_alone_also_where_an_earlier_version_made_it(tmp_path: Path) -> None:
    made_before = tmp_path / "last.csv.lock"
    made_before.touch(mode=0o644)
    LocalTimestampFile(tmp_path / "last.csv").write(NOON, None)
    assert mode(made_before) == 0o600
    made_before.unlink()
    LocalTimestampFile(tmp_path / "last.csv").write(NOON, NOON)
    assert mode(made_before) == 0o600


def test_the_timestamp_file_can_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        LocalTimestampFile(tmp_path / "last.csv").write(NOON, None)
    finally:
        os.umask(before)
    assert mode(tmp_path / "last.csv") == 0o644


@pytest.mark.parametrize("target", ["victim", "not there"])
def test_a_link_in_the_place_of_the_lock_is_an_error_and_not_followed(tmp_path: Path, target: str) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "last.csv.lock").symlink_to(tmp_path / target)
    with pytest.raises(TimestampFileError, match=r"last\.csv"):
        LocalTimestampFile(tmp_path / "last.csv").write(NOON, None)
    assert not (tmp_path / "not there").exists()
    assert mode(tmp_path / "victim") == mode_of_new(tmp_path)


def mode_of_new(folder: Path) -> int:
    (folder / "new").touch()
    return mode(folder / "new")


def test_a_link_in_the_place_of_a_draft_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in ("last.csv.new", "last.reconcile.new"):
        (tmp_path / name).symlink_to(victim)
    LocalTimestampFile(tmp_path / "last.csv").write(NOON, None)
    LocalRunCounts(str(tmp_path / "last.csv")).write({"account": 1})
    assert victim.read_text() == "precious"
    assert LocalTimestampFile(tmp_path / "last.csv").read() == NOON
    assert LocalRunCounts(str(tmp_path / "last.csv")).read() == {"account": 1}


def test_a_wait_is_told_and_ends_with_an_error_that_names_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_SAID_EVERY", 0.05)
    lock = tmp_path / "last.csv.lock"
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.3)
    with lock.open("w") as theirs, caplog.at_level(logging.WARNING):
        fcntl.flock(theirs, fcntl.LOCK_EX)
        with pytest.raises(TimestampFileLockedError) as caught:
            LocalTimestampFile(tmp_path / "last.csv").write(NOON, None)
    assert caught.value.exit_code == 75
    assert str(lock) in caught.value.message
    assert 2 <= caplog.text.count(f"Waiting for the lock on {lock}") <= 6


def test_who_waits_gets_the_lock_once_it_is_free(tmp_path: Path) -> None:
    lock = tmp_path / "last.csv.lock"
    theirs = lock.open("w")
    fcntl.flock(theirs, fcntl.LOCK_EX)
    threading.Timer(0.2, theirs.close).start()
    with file_lock(lock), lock.open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_new_file_takes_the_place_of_an_old_one(tmp_path: Path) -> None:
    for content in ("long content", "short"):
        write_new(tmp_path / "draft", content)
    assert (tmp_path / "draft").read_text() == "short"
