"""Snapshots that are taken out of a table's metadata: one commit, by compare-and-swap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table.update import (
    AssertRefSnapshotId,
    AssertTableUUID,
    RemoveSnapshotsUpdate,
    ValidatableTableRequirement,
    _apply_table_update,
)
from pyiceberg.typedef import IcebergBaseModel

from iceberg_datamart.lake.engine import conflict
from iceberg_datamart.lake.in_process.commits import commit, is_ours, require_clock

if TYPE_CHECKING:
    from collections.abc import Collection

    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata


class AssertRefs(ValidatableTableRequirement):
    """Main, all other branches and all tags are where they were: a new one may name what is to go."""

    type: Literal["assert-refs"] = "assert-refs"
    refs: dict[str, int]

    def validate(self, base_metadata: TableMetadata | None) -> None:  # type: ignore[override]
        """Raise CommitFailedException where one was moved, added or removed."""
        if base_metadata is None or _places(base_metadata) != self.refs:
            raise CommitFailedException("Requirement failed: a branch or tag was moved meanwhile")


class ForgetSnapshots(IcebergBaseModel):
    """Remove snapshots as Iceberg's Java library does, which other tools stand on.

    PyIceberg's own update (0.12) lets the children of what it removes forget their parents, so that nothing
    tells any more whether a table's history is whole, and keeps a log with gaps, by which a table would seem
    to have been at a snapshot while it was at another.
    """

    action: Literal["forget-snapshots"] = "forget-snapshots"
    snapshot_ids: frozenset[int]


# One more than the format's own.
@_apply_table_update.register(ForgetSnapshots)
def _forget(  # type: ignore[misc]
    update: ForgetSnapshots, metadata: TableMetadata, context: Any
) -> TableMetadata:
    gone = update.snapshot_ids
    log: list[Any] = []
    for entry in metadata.snapshot_log:
        # As `updateSnapshotLog` of Iceberg 1.10 in org.apache.iceberg.TableMetadata.
        log = [] if entry.snapshot_id in gone else [*log, entry]
    context.add_update(update)
    return metadata.model_copy(
        update={
            "snapshots": [each for each in metadata.snapshots if each.snapshot_id not in gone],
            "snapshot_log": log,
            "statistics": [each for each in metadata.statistics if each.snapshot_id not in gone],
            "partition_statistics": [
                each for each in metadata.partition_statistics if each.snapshot_id not in gone
            ],
        }
    )


def forget_snapshots(catalog: Catalog, table: Table, snapshot_ids: Collection[int]) -> None:
    """Remove snapshots that no branch and no tag names from a table whose refs are as they were loaded.

    Raises: CommitConflictError where they are not; CatalogUnreachableError where the snapshots may be gone by
    now.
    """
    require_clock(table)
    metadata = table.metadata
    requirements: list[Any] = [AssertTableUUID(uuid=metadata.table_uuid)]
    for name, ref in metadata.refs.items():
        where: dict[str, Any] = {"snapshot-id": ref.snapshot_id}
        requirements.append(AssertRefSnapshotId(ref=name, **where))
    update: Any
    if is_ours(catalog):
        requirements.append(AssertRefs(refs=_places(metadata)))
        update = ForgetSnapshots(snapshot_ids=frozenset(snapshot_ids))
    else:
        update = RemoveSnapshotsUpdate.model_validate({"snapshot-ids": sorted(snapshot_ids)})
    try:
        commit(catalog, table, tuple(requirements), (update,))
    except CommitFailedException as error:
        raise conflict(str(table.name()[-1])) from error


def _places(metadata: TableMetadata) -> dict[str, int]:
    return {name: ref.snapshot_id for name, ref in metadata.refs.items()}
