"""Manifests and manifest lists of new snapshots, by PyIceberg's writers.

https://iceberg.apache.org/spec/#manifests
"""

from __future__ import annotations

import uuid
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from pyiceberg.manifest import (
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.table import TableProperties

from iceberg_datamart.lake.in_process.live_files import live_manifests

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from pyiceberg.avro.codecs import AvroCompressionCodec
    from pyiceberg.manifest import DataFile, ManifestFile
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

    from iceberg_datamart.lake.in_process.written import Written


class DeleteManifestWriter(ManifestWriterV2):
    """PyIceberg 0.12 writes manifests of data files alone."""

    def content(self) -> ManifestContent:
        """Return what kind of files the manifest names."""
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


@dataclass
class Rewritten:
    """The manifests of a snapshot with the rows of the one before, and which files go and are there."""

    manifests: list[ManifestFile] = field(default_factory=list)
    gone: list[DataFile] = field(default_factory=list)
    live: list[DataFile] = field(default_factory=list)


class Manifests:
    """Writes the manifests of one new snapshot."""

    def __init__(self, table: Table, snapshot_id: int, written: Written) -> None:
        """Note each file in `written` before it is opened."""
        self._table, self._snapshot_id, self._written = table, snapshot_id, written
        self._id, self._numbers, self._attempts = uuid.uuid4(), count(), count()
        self._places = table.location_provider()

    def write(
        self, parent: Snapshot | None, data: Sequence[DataFile], deletes: Sequence[DataFile]
    ) -> list[ManifestFile]:
        """Return the snapshot's manifests: of new files, and the parent's, many small ones merged."""
        kept = [] if parent is None else list(live_manifests(self._table.io, parent))
        found: list[ManifestFile] = []
        for content, files in ((ManifestContent.DATA, data), (ManifestContent.DELETES, deletes)):
            before = [manifest for manifest in kept if manifest.content == content]
            if files:
                found.append(self._manifest(content, [self._added(file) for file in files]))
            found += self._merged(content, before) if files else before
        return found

    def rewritten(
        self,
        parent: Snapshot,
        data: Sequence[DataFile],
        deletes: Sequence[DataFile],
        removed: AbstractSet[str],
    ) -> Rewritten:
        """Return manifests in which new files take the place of `removed` ones; small ones are merged."""
        kept = list(live_manifests(self._table.io, parent))
        found = Rewritten()
        for content, files in ((ManifestContent.DATA, data), (ManifestContent.DELETES, deletes)):
            if files:
                found.manifests.append(self._manifest(content, [self._added(file) for file in files]))
            before = [manifest for manifest in kept if manifest.content == content]
            for group in _packed(before, self._target):
                entries = [entry for each in group for entry in each.fetch_manifest_entry(self._table.io)]
                gone = [entry for entry in entries if entry.data_file.file_path in removed]
                live = [entry for entry in entries if entry.data_file.file_path not in removed]
                found.gone += [entry.data_file for entry in gone]
                found.live += [entry.data_file for entry in live]
                if len(group) == 1 and not gone:
                    found.manifests += group
                    continue
                told = [*map(_existing, live), *(self._deleted(entry) for entry in gone)]
                found.manifests.append(self._manifest(content, told))
            found.live += files
        return found

    def _deleted(self, entry: ManifestEntry) -> ManifestEntry:
        """Return the entry of a file that this snapshot removes."""
        return ManifestEntry.from_args(
            status=ManifestEntryStatus.DELETED,
            snapshot_id=self._snapshot_id,
            sequence_number=entry.sequence_number,
            file_sequence_number=entry.file_sequence_number,
            data_file=entry.data_file,
        )

    def _added(self, file: DataFile) -> ManifestEntry:
        """Return the entry of a new file; its sequence number is the snapshot's, which is not known yet."""
        return ManifestEntry.from_args(
            status=ManifestEntryStatus.ADDED,
            snapshot_id=self._snapshot_id,
            sequence_number=None,
            file_sequence_number=None,
            data_file=file,
        )

    def _merged(self, content: ManifestContent, manifests: list[ManifestFile]) -> list[ManifestFile]:
        """Return the same entries in fewer manifests, where there are many small ones, as Iceberg does.

        https://iceberg.apache.org/docs/1.10.0/configuration/#write-properties (`commit.manifest…`)
        """
        properties = self._table.properties
        if properties.get(TableProperties.MANIFEST_MERGE_ENABLED, "true").lower() != "true":
            return manifests
        target = self._target
        most = int(
            properties.get(
                TableProperties.MANIFEST_MIN_MERGE_COUNT, TableProperties.MANIFEST_MIN_MERGE_COUNT_DEFAULT
            )
        )
        small = [manifest for manifest in manifests if manifest.manifest_length <= target // 2]
        # The new files' manifest counts, too, and stays by itself.
        if len(small) + 1 < most:
            return manifests
        large = [manifest for manifest in manifests if manifest.manifest_length > target // 2]
        return [self._of_several(content, group) for group in _packed(small, target)] + large

    def _of_several(self, content: ManifestContent, group: list[ManifestFile]) -> ManifestFile:
        """Return one manifest of the live entries of several, with the numbers that they have."""
        if len(group) == 1:
            return group[0]
        entries = [
            _existing(entry) for manifest in group for entry in manifest.fetch_manifest_entry(self._table.io)
        ]
        return self._manifest(content, entries)

    def _manifest(self, content: ManifestContent, entries: Sequence[ManifestEntry]) -> ManifestFile:
        location = self._places.new_metadata_location(f"{self._id}-m{next(self._numbers)}.avro")
        self._written.add(location)
        of_kind = DeleteManifestWriter if content == ManifestContent.DELETES else ManifestWriterV2
        metadata, output = self._table.metadata, self._table.io.new_output(location)
        with of_kind(metadata.spec(), metadata.schema(), output, self._snapshot_id, self._codec()) as writer:
            for entry in entries:
                writer.add_entry(entry)
        return writer.to_manifest_file()

    def write_list(
        self, parent: Snapshot | None, manifests: Sequence[ManifestFile], sequence_number: int
    ) -> str:
        """Write the manifest list of the snapshot under a sequence number; return where it is."""
        name = f"snap-{self._snapshot_id}-{next(self._attempts)}-{self._id}.avro"
        location = self._places.new_metadata_location(name)
        self._written.add(location)
        with write_manifest_list(
            format_version=2,
            output_file=self._table.io.new_output(location),
            snapshot_id=self._snapshot_id,
            parent_snapshot_id=None if parent is None else parent.snapshot_id,
            sequence_number=sequence_number,
            avro_compression=self._codec(),
        ) as writer:
            # Copies: PyIceberg 0.12 writes the number into what it is given; the next attempt has another.
            writer.add_manifests(deepcopy(list(manifests)))
        return location

    @property
    def _target(self) -> int:
        """Return how many bytes a manifest is to have."""
        name = TableProperties.MANIFEST_TARGET_SIZE_BYTES
        return int(self._table.properties.get(name, TableProperties.MANIFEST_TARGET_SIZE_BYTES_DEFAULT))

    def _codec(self) -> AvroCompressionCodec:
        codec: AvroCompressionCodec = self._table.properties.get(  # type: ignore[assignment]
            TableProperties.WRITE_AVRO_COMPRESSION, TableProperties.WRITE_AVRO_COMPRESSION_DEFAULT
        )
        return codec


def _existing(entry: ManifestEntry) -> ManifestEntry:
    """Return the entry of a file that stays, with the numbers that it has."""
    return ManifestEntry.from_args(
        status=ManifestEntryStatus.EXISTING,
        snapshot_id=entry.snapshot_id,
        sequence_number=entry.sequence_number,
        file_sequence_number=entry.file_sequence_number,
        data_file=entry.data_file,
    )


def _packed(manifests: Sequence[ManifestFile], target: int) -> list[list[ManifestFile]]:
    """Return neighbours in groups of about `target` bytes."""
    groups: list[list[ManifestFile]] = []
    size = target
    for manifest in manifests:
        if size + manifest.manifest_length > target:
            groups.append([])
            size = 0
        groups[-1].append(manifest)
        size += manifest.manifest_length
    return groups
