"""A folder for one process's logs and scratch: closed to others, unforeseeable by name, removed after."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from iceberg_datamart.underway.stopping import remove_at_stop

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "iceberg-datamart-"
# Who uses a folder holds the lock on this file, so that the lock says whether anybody still does, whatever
# became of process numbers since.
_LOCK = "lock"
# Without the file: the log of a start that failed, or a process killed before it could make one.
_KEPT_SECONDS = 7 * 86_400


@dataclass(frozen=True)
class Scratch:
    """A private folder. `lock` is a descriptor to pass to child processes that use the folder, too.

    A stop of this process removes the folder, unless that is done or `_stays`.
    """

    path: Path
    lock: int
    _stays: Callable[[], None] = field(init=False)

    def __post_init__(self) -> None:
        """Have it removed at a stop."""
        object.__setattr__(self, "_stays", remove_at_stop(self._remove_files))

    def opened(self, name: str) -> IO[str]:
        """Return a new file in the folder, open for writing, that only this user can read."""
        descriptor = os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        return os.fdopen(descriptor, "w", encoding="utf-8")

    def keep_only(self, name: str) -> None:
        """Remove all but one file, which people are to read; it stays for a week."""
        self._stays()
        for path in self.path.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != name:
                path.unlink()
        os.close(self.lock)

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        self._remove_files()
        self._stays()
        os.close(self.lock)

    def _remove_files(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def make_scratch() -> Scratch:
    """Return a new private folder; those that killed processes of this user left behind are removed first."""
    remove_abandoned(Path(tempfile.gettempdir()))
    path = Path(tempfile.mkdtemp(prefix=PREFIX))  # mode 0700
    unlocked = path / (_LOCK + ".new")  # under its name it is never seen without its lock
    descriptor = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    unlocked.rename(path / _LOCK)
    return Scratch(path, descriptor)


def remove_abandoned(shared: Path) -> None:
    """Remove the private folders of this user in `shared` that no process uses any more."""
    for path in shared.glob(PREFIX + "*"):
        with suppress(OSError):  # another process may be removing it
            if _is_own(path.lstat()) and _is_abandoned(path):
                shutil.rmtree(path)


def _is_own(found: os.stat_result) -> bool:
    """Return whether this is a folder, no link to one, which this user made for himself alone."""
    own = found.st_uid == os.geteuid()
    return own and stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == stat.S_IRWXU


def _is_abandoned(folder: Path) -> bool:
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return folder.stat().st_mtime < time.time() - _KEPT_SECONDS
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
