"""Which files a table's snapshots are made of."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from iceberg_datamart.lake.in_process.file_systems import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from pyiceberg.io import FileIO
    from pyiceberg.manifest import ManifestFile
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot

log = logging.getLogger(__name__)
# Requests to S3 wait for each other otherwise.
_AT_ONCE = 8
T = TypeVar("T")
U = TypeVar("U")


def files_of(io: FileIO, metadata: TableMetadata, snapshot_ids: Collection[int]) -> dict[str, str]:
    """Return the files that snapshots are made of: location by canonical name.

    Raises: FileNotFoundError where a manifest is gone.
    """
    snapshots = [each for each in metadata.snapshots if each.snapshot_id in snapshot_ids]
    lists = _at_once(lambda snapshot: _manifests(io, snapshot), snapshots)
    manifests = {manifest.manifest_path: manifest for each in lists for manifest in each}
    found = [
        *(snapshot.manifest_list for snapshot in snapshots),
        *(each.statistics_path for each in metadata.statistics if each.snapshot_id in snapshot_ids),
        *(each.statistics_path for each in metadata.partition_statistics if each.snapshot_id in snapshot_ids),
        *manifests,
    ]
    for named in _at_once(lambda manifest: _named_by(io, manifest), manifests.values()):
        found += named
    return {canonical(location): location for location in found}


def remove_files(locations: Iterable[str], remove: Callable[[str], None]) -> int:
    """Remove files, as far as that can be done; return how many are gone."""
    return sum(_at_once(lambda location: _removed(location, remove), list(locations)))


def _removed(location: str, remove: Callable[[str], None]) -> bool:
    try:
        remove(location)
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        # PyArrow takes no names with two slashes in a row, which Iceberg 1.0 gives delete files on S3.
        log.warning("%s is left behind, and no table names it: %s", location, error)
        return False
    return True


def _manifests(io: FileIO, snapshot: Snapshot) -> list[ManifestFile]:
    """Return a snapshot's manifests; none where the list of them is gone, so that nobody can read it.

    So Iceberg 1.0 leaves a snapshot that it staged without an answer: see decision 7.
    """
    try:
        return list(snapshot.manifests(io))
    except FileNotFoundError:
        log.warning("snapshot %s cannot be read: %s is gone", snapshot.snapshot_id, snapshot.manifest_list)
        return []


def _named_by(io: FileIO, manifest: ManifestFile) -> list[str]:
    return [entry.data_file.file_path for entry in manifest.fetch_manifest_entry(io)]


def _at_once(work: Callable[[T], U], items: Collection[T]) -> list[U]:
    if len(items) < 2:  # noqa: PLR2004  (no threads for one)
        return [work(item) for item in items]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(work, items))
