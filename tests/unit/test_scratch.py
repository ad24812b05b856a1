"""A private folder is closed to others, and goes when those who used it are gone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from iceberg_datamart.embedded.scratch import PREFIX, make_scratch, remove_abandoned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from iceberg_datamart.embedded.scratch import Scratch

_KILLED = """
import os, signal, subprocess, sys, tempfile
tempfile.tempdir = sys.argv[1]
from iceberg_datamart.embedded.scratch import make_scratch
scratch = make_scratch()
scratch.opened("log").close()
(scratch.path / "spark").mkdir()
if len(sys.argv) > 2:
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    child = subprocess.Popen(["sleep", "60"], pass_fds=(scratch.lock,), **silent)
    print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which temporary files are made meanwhile."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def scratch(shared: Path) -> Iterator[Scratch]:
    made = make_scratch()
    assert made.path.parent == shared
    yield made
    if made.path.exists():
        made.remove()


def killed(shared: Path, *arguments: str) -> str:
    """Return what a process that was killed said; its private folder is in `shared`."""
    command = [sys.executable, "-c", _KILLED, str(shared), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_only_its_owner_can_look_into_it(scratch: Scratch) -> None:
    scratch.opened("log").close()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in scratch.path.iterdir()}
    assert (stat.S_IMODE(scratch.path.stat().st_mode), modes) == (0o700, {0o600})


def test_its_name_is_another_each_time_and_tells_no_process(scratch: Scratch) -> None:
    other = make_scratch()
    assert other.path != scratch.path
    assert str(os.getpid()) not in scratch.path.name
    other.remove()
    assert not other.path.exists()


def test_a_link_in_the_place_of_a_file_is_not_followed(scratch: Scratch, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (scratch.path / "log").symlink_to(victim)
    with pytest.raises(FileExistsError):
        scratch.opened("log")
    assert victim.read_text() == "precious"


def test_what_a_killed_process_left_behind_is_removed_by_the_next(shared: Path) -> None:
    killed(shared)
    (left,) = shared.glob(PREFIX + "*")
    make_scratch().remove()
    assert not left.exists()


def test_what_its_own_child_still_uses_stays_until_that_has_ended(shared: Path) -> None:
    child = int(killed(shared, "with a child"))
    (left,) = shared.glob(PREFIX + "*")
    remove_abandoned(shared)
    assert left.exists()
    os.kill(child, 9)
    for _ in range(200):
        remove_abandoned(shared)
        if not left.exists():
            break
        subprocess.run(["sleep", "0.05"], check=True)
    assert not left.exists()


def test_a_folder_in_use_stays(scratch: Scratch, shared: Path) -> None:
    remove_abandoned(shared)
    assert scratch.path.exists()


def test_links_and_folders_that_are_open_to_others_are_let_alone(shared: Path) -> None:
    theirs = shared / "theirs"
    theirs.mkdir(mode=0o700)
    (theirs / "lock").touch()
    (shared / f"{PREFIX}link").symlink_to(theirs)
    wide = shared / f"{PREFIX}wide"
    wide.mkdir()
    wide.chmod(0o755)
    (wide / "lock").touch()
    remove_abandoned(shared)
    assert (theirs / "lock").exists()
    assert (wide / "lock").exists()


def test_links_within_an_abandoned_folder_are_removed_and_not_followed(shared: Path) -> None:
    killed(shared)
    (left,) = shared.glob(PREFIX + "*")
    precious = shared / "precious"
    precious.mkdir()
    (precious / "file").touch()
    (left / "spark" / "link").symlink_to(precious)
    remove_abandoned(shared)
    assert not left.exists()
    assert (precious / "file").exists()


def test_a_log_that_people_are_to_read_stays_for_a_week(scratch: Scratch, shared: Path) -> None:
    for name in ("log", "properties"):
        scratch.opened(name).close()
    (scratch.path / "spark" / "deep").mkdir(parents=True)
    scratch.keep_only("log")
    remove_abandoned(shared)
    assert [path.name for path in scratch.path.iterdir()] == ["log"]
    long_ago = scratch.path.stat().st_mtime - 8 * 86_400
    os.utime(scratch.path, (long_ago, long_ago))
    remove_abandoned(shared)
    assert not scratch.path.exists()
