"""Which files a snapshot is made of, as its manifests tell; each manifest is read once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

from pyiceberg.manifest import DataFileContent, FileFormat, ManifestContent
from pyiceberg.table import TableProperties

from iceberg_datamart.errors import LakeError, NeedsSparkError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyiceberg.io import FileIO
    from pyiceberg.manifest import DataFile as IcebergFile
    from pyiceberg.manifest import ManifestEntry, ManifestFile
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot

# https://iceberg.apache.org/spec/#reserved-field-ids
FILE_PATH_ID, POS_ID = 2147483546, 2147483545
_FORMAT_VERSION = 2
# What DuckDB calls a row's number in its file.
ROW_NUMBER = "file_row_number"


@dataclass(frozen=True)
class DataFile:
    """A data file. The bounds are Iceberg's own bytes, by field id."""

    path: str
    sequence_number: int
    rows: int
    lower_bounds: Mapping[int, bytes] = field(default_factory=dict, repr=False, compare=False)
    upper_bounds: Mapping[int, bytes] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class DeleteFile:
    """A file of position deletes: of data files from `first` to `last`; None where its bounds do not tell."""

    path: str
    sequence_number: int
    rows: int
    first: str | None
    last: str | None


@dataclass(frozen=True)
class Deletes:
    """Delete files, the data files that they may touch, and whether some must be told by sequence number.

    A position delete holds for data files whose sequence number is not greater than its own
    (https://iceberg.apache.org/spec/#scan-planning).
    """

    files: tuple[DeleteFile, ...] = ()
    touched: frozenset[str] = frozenset()
    by_sequence: bool = False


@dataclass(frozen=True)
class SnapshotFiles:
    """The live files of one snapshot."""

    data: tuple[DataFile, ...] = ()
    delete_files: tuple[DeleteFile, ...] = ()

    @cached_property
    def by_path(self) -> Mapping[str, DataFile]:
        """Return the data files by their paths."""
        return {file.path: file for file in self.data}

    @cached_property
    def deletes(self) -> Deletes:
        """Return those delete files that any live data file may need."""
        paths = sorted(self.by_path)
        files, touched, by_sequence = [], set(), False
        for deletes in self.delete_files:
            begin = 0 if deletes.first is None else bisect_left(paths, deletes.first)
            end = len(paths) if deletes.last is None else bisect_right(paths, deletes.last)
            older = [
                path
                for path in paths[begin:end]
                if self.by_path[path].sequence_number <= deletes.sequence_number
            ]
            if older:
                files.append(deletes)
                touched.update(older)
                by_sequence = by_sequence or len(older) < end - begin
        return Deletes(tuple(files), frozenset(touched), by_sequence)


class LiveFiles:
    """The files of snapshots, for all tables and threads of one run."""

    def __init__(self) -> None:
        """Know no manifest yet."""
        self._snapshots: dict[str, SnapshotFiles] = {}
        self._manifests: dict[str, tuple[DataFile | DeleteFile, ...]] = {}
        self._lock = Lock()

    def of(self, table: Table, snapshot: Snapshot | None) -> SnapshotFiles:
        """Return the live files of a snapshot; none, where there is none.

        Raises: NeedsSparkError where they need more than position deletes in Parquet, or have partitions.
        """
        require_simple(table)
        if snapshot is None:
            return SnapshotFiles()
        with self._lock:
            known = self._snapshots.get(snapshot.manifest_list)
        if known is None:
            known = self._read(table, snapshot)
            with self._lock:
                self._snapshots[snapshot.manifest_list] = known
        return known

    def _read(self, table: Table, snapshot: Snapshot) -> SnapshotFiles:
        files = [
            file
            for manifest in live_manifests(table.io, snapshot)
            for file in self._of_manifest(table, manifest)
        ]
        found = SnapshotFiles(
            tuple(file for file in files if isinstance(file, DataFile)),
            tuple(file for file in files if isinstance(file, DeleteFile)),
        )
        if len(found.by_path) < len(found.data):
            message = f"{name_of(table)}: snapshot {snapshot.snapshot_id} names a data file twice"
            raise LakeError(message, hint="Another tool wrote it so; its rows would be read twice.")
        return found

    def _of_manifest(self, table: Table, manifest: ManifestFile) -> tuple[DataFile | DeleteFile, ...]:
        with self._lock:
            known = self._manifests.get(manifest.manifest_path)
        if known is None:
            require_unpartitioned(table, manifest.partition_spec_id)
            entries = manifest.fetch_manifest_entry(table.io)
            known = tuple(_told(table, manifest, entry) for entry in entries)
            with self._lock:
                self._manifests[manifest.manifest_path] = known
        return known


def name_of(table: Table) -> str:
    """Return a table's name as messages have it."""
    return str(table.name()[-1])


def live_manifests(io: FileIO, snapshot: Snapshot) -> Iterator[ManifestFile]:
    """Yield the manifests that may name live files."""
    for manifest in snapshot.manifests(io):
        if manifest.has_added_files() or manifest.has_existing_files():
            yield manifest


def require_simple(table: Table) -> None:
    """Raise NeedsSparkError for a table that this engine does not write as it must be written."""
    metadata = table.metadata
    if metadata.format_version != _FORMAT_VERSION:
        raise needs_spark(table, f"its format is version {metadata.format_version}")
    if TableProperties.DEFAULT_NAME_MAPPING in metadata.properties:
        # Its files may tell their columns by name alone.
        raise needs_spark(table, "its columns are told by a name mapping")
    _require_plain_format(table, metadata)
    names = {field.name.lower() for schema in metadata.schemas for field in schema.fields}
    if ROW_NUMBER in names:
        # DuckDB tells no row's number in a file that has such a column: it raises an error.
        raise needs_spark(table, f"it has, or had, a column {ROW_NUMBER!r}")
    require_unpartitioned(table, metadata.default_spec_id)


def _require_plain_format(table: Table, metadata: TableMetadata) -> None:
    kind = metadata.properties.get(TableProperties.WRITE_FILE_FORMAT, "parquet").lower()
    if kind != "parquet":
        raise needs_spark(table, f"its files are {kind}")
    if metadata.properties.get(TableProperties.WRITE_PY_LOCATION_PROVIDER_IMPL):
        raise needs_spark(table, "code of its own places its files")


def require_unpartitioned(table: Table, spec_id: int) -> None:
    """Raise NeedsSparkError where a partition spec of the table has any field."""
    spec = table.metadata.specs().get(spec_id)
    if spec is None or spec.fields:
        raise needs_spark(table, "it is partitioned, or was")


def needs_spark(table: Table, reason: str) -> NeedsSparkError:
    """Return what to raise where a table is more than this engine reads and writes."""
    return NeedsSparkError(f"{name_of(table)} cannot be merged in process: {reason}")


def _told(table: Table, manifest: ManifestFile, entry: ManifestEntry) -> DataFile | DeleteFile:
    file = entry.data_file
    if file.file_format != FileFormat.PARQUET:
        raise needs_spark(table, f"it has a file that is {file.file_format.value.lower()}")
    if entry.sequence_number is None or entry.sequence_number < 0:
        raise LakeError(f"{name_of(table)}: {manifest.manifest_path} leaves out a sequence number")
    if file.content == DataFileContent.EQUALITY_DELETES:
        raise needs_spark(table, "it has equality deletes")
    if (file.content == DataFileContent.DATA) != (manifest.content == ManifestContent.DATA):
        raise LakeError(f"{name_of(table)}: {manifest.manifest_path} mixes data files and deletes")
    if file.content == DataFileContent.POSITION_DELETES:
        return DeleteFile(file.file_path, entry.sequence_number, file.record_count, *path_bounds(file))
    return DataFile(
        file.file_path,
        entry.sequence_number,
        file.record_count,
        _bounds(file.lower_bounds),
        _bounds(file.upper_bounds),
    )


def _bounds(bounds: Mapping[int, bytes] | None) -> Mapping[int, bytes]:
    return dict(bounds or {})


def path_bounds(file: IcebergFile) -> tuple[str | None, str | None]:
    """Return the first and the last data file that a delete file may name.

    A bound that is cut within a character tells nothing that could be compared.
    """
    lower, upper = _bounds(file.lower_bounds).get(FILE_PATH_ID), _bounds(file.upper_bounds).get(FILE_PATH_ID)
    return _decoded(lower), _decoded(upper)


def _decoded(bound: bytes | None) -> str | None:
    try:
        return None if bound is None else bound.decode()
    except UnicodeDecodeError:
        return None
