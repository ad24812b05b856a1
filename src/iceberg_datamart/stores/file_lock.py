"""Files in folders that others may write to: locks waited for within bounds, and no link followed."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from iceberg_datamart.errors import TimestampFileLockedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A writer holds the lock for some milliseconds; a process that was stopped or hangs may hold it for ever.
LONGEST_WAIT = 60.0
_SAID_EVERY = 5.0
_TRIED_EVERY = 0.02

_logger = logging.getLogger(__name__)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold the lock of the file `path`, made for its owner alone.

    Raises: TimestampFileLockedError after a minute; OSError where `path` is a link, or no file
    that this user may open.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        found = os.fstat(descriptor)
        if found.st_uid == os.geteuid() and stat.S_ISREG(found.st_mode):
            os.fchmod(descriptor, 0o600)  # earlier versions let others read it, and so hold it
        _wait_for(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, path: Path) -> None:
    began = time.monotonic()
    said = began
    while not _is_locked(descriptor):
        waited = time.monotonic() - began
        if waited >= LONGEST_WAIT:
            message = f"another process has held the lock on {path} for {LONGEST_WAIT:g} seconds"
            hint = (
                f"See which one by `fuser {path}`, and run again once it has ended; the tables are committed."
            )
            raise TimestampFileLockedError(message, hint=hint)
        if time.monotonic() - said >= _SAID_EVERY:
            said = time.monotonic()
            _logger.warning("Waiting for the lock on %s, which another process holds", path)
        time.sleep(_TRIED_EVERY)


def _is_locked(descriptor: int) -> bool:
    """Return whether the lock is ours now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_new(path: Path, content: str, mode: int = 0o666) -> None:
    """Write a new file to the disk; what lies there is replaced, and a link is not followed.

    Who may read it is said by `mode`, less the umask.
    """
    with suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
