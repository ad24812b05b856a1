"""The files that were written for a commit, to be removed where it is refused."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyiceberg.io import FileIO

log = logging.getLogger(__name__)


class Written:
    """Locations of new files that nothing names but the commit that is being made."""

    def __init__(self, io: FileIO) -> None:
        """Know no file yet."""
        self._io, self._locations = io, list[str]()

    def add(self, location: str) -> None:
        """Note a file before it is opened."""
        self._locations.append(location)

    def remove(self, location: str) -> None:
        """Remove one file, as far as that can be done."""
        self._locations.remove(location)
        try:
            self._io.delete(location)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("%s is left behind, and no table names it: %s", location, error)

    @contextmanager
    def removed_on_failure(self) -> Iterator[None]:
        """Remove all files where what is done meanwhile fails."""
        try:
            yield
        except BaseException:
            self.remove_all()
            raise

    def remove_all(self) -> None:
        """Remove all files. Only for a commit that did not happen, and cannot happen any more."""
        for location in list(self._locations):
            self.remove(location)
