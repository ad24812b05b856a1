"""Files below a table's location that nothing of the table names: left by a crash, or by a refused commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyarrow.fs import FileSelector, FileType  # type: ignore[import-untyped]
from pyiceberg.io.pyarrow import PyArrowFileIO

from iceberg_datamart.errors import NeedsSparkError
from iceberg_datamart.lake.in_process.file_systems import canonical, is_s3
from iceberg_datamart.lake.reachable import files_of, remove_files

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from datetime import datetime

    from pyiceberg.table import Table

# Where Iceberg's writers put files; whatever else lies beside these folders is somebody's own.
_FOLDERS = ("data", "metadata")
# What PyIceberg, as urlparse, takes for the end of a path.
_ENDS = ("?", "#")
_CHECKSUM = ".crc"


def orphans_of(load: Callable[[], Table], before: datetime) -> tuple[str, ...]:
    """Return the files, by canonical name, that no snapshot and no metadata file names, and that are older.

    The table is loaded again after they are listed: what is committed meanwhile is named by then. Raises:
    NeedsSparkError where its location cannot be listed in process.
    """
    table = load()
    old = [name for name, written in _listed(table) if written is not None and written < before]
    table = load()
    metadata = table.metadata
    named = set(files_of(table.io, metadata, {each.snapshot_id for each in metadata.snapshots}))
    named |= {canonical(entry.metadata_file) for entry in metadata.metadata_log}
    named.add(canonical(table.metadata_location))
    return tuple(name for name in old if _is_orphan(name, named))


def remove_orphans(table: Table, orphans: Collection[str]) -> int:
    """Remove files by canonical name; return how many went."""
    file_system, _ = _opened(table)
    return remove_files(orphans, lambda name: file_system.delete_file(_path(name)))


def _listed(table: Table) -> Iterator[tuple[str, datetime | None]]:
    """Yield canonical name and time of each file in the table's own folders."""
    file_system, root = _opened(table)
    for folder in _FOLDERS:
        selector = FileSelector(f"{root}/{folder}", recursive=True, allow_not_found=True)
        for found in file_system.get_file_info(selector):
            if found.type == FileType.File:
                name = found.path if found.path.startswith("/") else f"s3://{found.path}"
                yield canonical(name), found.mtime


def _opened(table: Table) -> tuple[Any, str]:
    """Return the file system that a table lies in, and the path of its location there."""
    location = table.location()
    is_local = canonical(location).startswith("/")
    if not (is_s3(location) or is_local) or any(sign in location for sign in _ENDS):
        raise NeedsSparkError(f"files at {location} cannot be listed in process")
    scheme, bucket, path = PyArrowFileIO.parse_location(location)
    return PyArrowFileIO(dict(table.io.properties)).fs_by_scheme(scheme, bucket), path.rstrip("/")


def _path(name: str) -> str:
    return name.removeprefix("s3://")


def _is_orphan(name: str, named: set[str]) -> bool:
    """Return whether nothing names the file; hidden ones are other programs', but for Hadoop's checksums."""
    folder, _, file = name.rpartition("/")
    if file.startswith(".") and file.endswith(_CHECKSUM):
        return f"{folder}/{file[1 : -len(_CHECKSUM)]}" not in named
    return not file.startswith((".", "_", "version-hint")) and name not in named
