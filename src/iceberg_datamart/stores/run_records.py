"""The records of runs: a JSON file each, in the folder `runs` beside the timestamp file.

Their number is bounded, and each is written whole or not at all.
"""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from iceberg_datamart.core.report.record import parse_record
from iceberg_datamart.errors import StateRefusedError
from iceberg_datamart.stores.file_lock import write_new

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from iceberg_datamart.core.report.record import RunRecord

FOLDER = "runs"
_SUFFIX, _DRAFT = ".json", ".new"
# Only files that have a run id for a name are ours to read and to remove.
_OURS = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}\.(json|new)")
_OWNER_ALONE, _OWNERS_FOLDER = 0o600, 0o700


class RecordFolder(Protocol):
    """The files of one folder, by name. All of its methods raise StateRefusedError, StateUnreachableError."""

    def names(self) -> Iterable[str]:
        """Return the names of all files; none where there is no folder."""

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None where it is gone."""

    def write(self, name: str, content: bytes) -> None:
        """Make a new file, seen by nobody before it is whole."""

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; one that is gone is no error."""


class StoredRunRecords:
    """The records of one timestamp file's runs, in a folder that those of others may share."""

    def __init__(self, folder: RecordFolder, timestamp_file: str, most: int) -> None:
        """Keep the newest `most` files of `folder`; `timestamp_file` is a name without its folder."""
        self._folder, self._timestamp_file, self._most = folder, timestamp_file, most

    def write(self, record: RunRecord) -> None:
        """Keep a record, then remove the oldest files beyond the bound, whoever wrote them."""
        self._folder.write(record.run_id + _SUFFIX, record.content())
        self._folder.remove(self._names()[self._most :])

    def newest(self) -> Iterator[RunRecord]:
        """Yield the records, newest first, each read when it is asked for."""
        for name in self._names():
            record = self._read(name)
            if record is not None and record.timestamp_file == self._timestamp_file:
                yield record

    def find(self, run_id: str) -> RunRecord | None:
        """Return the record of a run, named by its id or by the end of it; None where there is none."""
        for name in self._names():
            stem = name.removesuffix(_SUFFIX)
            if name.endswith(_SUFFIX) and (stem == run_id or stem.rpartition("-")[2] == run_id):
                return self._read(name)
        return None

    def _names(self) -> list[str]:
        """Return the names of our files, newest first: run ids sort by time."""
        return sorted((name for name in self._folder.names() if _OURS.fullmatch(name)), reverse=True)

    def _read(self, name: str) -> RunRecord | None:
        content = self._folder.read(name) if name.endswith(_SUFFIX) else None
        return None if content is None else parse_record(content)


class LocalFolder:
    """A folder on a disk, its files for their owner alone. Drafts that a killed run left count as files."""

    def __init__(self, path: Path) -> None:
        """Name the folder; it need not exist."""
        self._path = path

    def names(self) -> list[str]:
        """Return the names of all files."""
        with self._telling("listed"), suppress(FileNotFoundError):
            return [path.name for path in self._path.iterdir()]
        return []

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None where it is gone."""
        with self._telling("read"), suppress(FileNotFoundError):
            return (self._path / name).read_bytes()
        return None

    def write(self, name: str, content: bytes) -> None:
        """Write a draft, and give it its name once it is on the disk."""
        draft = (self._path / name).with_suffix(_DRAFT)
        with self._telling("written"):
            self._path.mkdir(mode=_OWNERS_FOLDER, parents=True, exist_ok=True)
            try:
                write_new(draft, content.decode("ascii"), _OWNER_ALONE)
                draft.replace(self._path / name)
            except OSError:
                draft.unlink(missing_ok=True)
                raise

    def remove(self, names: Iterable[str]) -> None:
        """Remove files."""
        with self._telling("removed"):
            for name in names:
                (self._path / name).unlink(missing_ok=True)

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StateRefusedError(f"{self._path} cannot be {what}: {error.strerror}") from error
