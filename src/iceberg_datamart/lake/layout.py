"""How a table's current snapshot lies in its files: from its manifests, without a JVM."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from pyiceberg.manifest import DataFileContent
from pyiceberg.table import TableProperties
from pyiceberg.table.refs import MAIN_BRANCH

from iceberg_datamart.core.upkeep.layout import LaidFile, Layout
from iceberg_datamart.errors import NeedsSparkError
from iceberg_datamart.lake.in_process.live_files import live_manifests, path_bounds, require_simple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pyiceberg.manifest import ManifestEntry
    from pyiceberg.table import Table


def layout_of(table: Table) -> Layout:
    """Return the files of a table's current snapshot, and whom its tags and branches need."""
    snapshot, properties = table.current_snapshot(), table.properties
    manifests = [] if snapshot is None else list(live_manifests(table.io, snapshot))
    entries = [entry for manifest in manifests for entry in manifest.fetch_manifest_entry(table.io)]
    data = sorted(
        (entry for entry in entries if entry.data_file.content == DataFileContent.DATA),
        key=lambda entry: entry.data_file.file_path,
    )
    deletes = [entry for entry in entries if entry.data_file.content != DataFileContent.DATA]
    touched = {entry.data_file.file_path: _touched(entry, data) for entry in deletes}
    full = _number(
        properties,
        TableProperties.MANIFEST_TARGET_SIZE_BYTES,
        TableProperties.MANIFEST_TARGET_SIZE_BYTES_DEFAULT,
    )
    return Layout(
        _laid(data, deletes, touched),
        {path: frozenset(paths) for path, paths in touched.items()},
        manifests=len(manifests),
        small_manifests=sum(manifest.manifest_length < full // 2 for manifest in manifests),
        target=_number(
            properties,
            TableProperties.WRITE_TARGET_FILE_SIZE_BYTES,
            TableProperties.WRITE_TARGET_FILE_SIZE_BYTES_DEFAULT,
        ),
        named=_named(table),
        obstacle=_obstacle(table, deletes),
    )


def _laid(
    data: Iterable[ManifestEntry], deletes: Iterable[ManifestEntry], touched: Mapping[str, Sequence[str]]
) -> tuple[LaidFile, ...]:
    rows: dict[str, float] = {}
    counts: dict[str, int] = {}
    for entry in deletes:
        paths = touched[entry.data_file.file_path]
        for path in paths:
            rows[path] = rows.get(path, 0) + entry.data_file.record_count / len(paths)
            counts[path] = counts.get(path, 0) + 1
    return tuple(
        LaidFile(
            path=(path := entry.data_file.file_path),
            size=entry.data_file.file_size_in_bytes,
            rows=entry.data_file.record_count,
            partition=repr(entry.data_file.partition),
            deleted=rows.get(path, 0),
            delete_files=counts.get(path, 0),
        )
        for entry in data
    )


def _touched(deletes: ManifestEntry, data: Sequence[ManifestEntry]) -> list[str]:
    """Return the data files, which come by their paths, that a delete file may touch."""
    paths = [entry.data_file.file_path for entry in data]
    first, last = (
        path_bounds(deletes.data_file)
        if deletes.data_file.content == DataFileContent.POSITION_DELETES
        else (None, None)
    )
    begin = 0 if first is None else bisect_left(paths, first)
    end = len(paths) if last is None else bisect_right(paths, last)
    number = deletes.sequence_number or 0
    return [entry.data_file.file_path for entry in data[begin:end] if (entry.sequence_number or 0) <= number]


def _named(table: Table) -> frozenset[int]:
    """Return the snapshots of all tags and branches but main, and their ancestors."""
    found: set[int] = set()
    for name, ref in table.metadata.refs.items():
        snapshot = None if name == MAIN_BRANCH else table.snapshot_by_id(ref.snapshot_id)
        while snapshot is not None and snapshot.snapshot_id not in found:
            found.add(snapshot.snapshot_id)
            parent = snapshot.parent_snapshot_id
            snapshot = None if parent is None else table.snapshot_by_id(parent)
    return frozenset(found)


def _obstacle(table: Table, deletes: Iterable[ManifestEntry]) -> str | None:
    try:
        require_simple(table)
    except NeedsSparkError as error:
        return error.message
    if any(entry.data_file.content == DataFileContent.EQUALITY_DELETES for entry in deletes):
        return "it has equality deletes"
    return None


def _number(properties: Mapping[str, str], name: str, default: int) -> int:
    return int(properties.get(name, default))
