"""Metadata commits of one table, each a compare-and-swap that nothing repeats behind our back.

PyIceberg's `Transaction` (0.12) is not used: after a conflict it makes the same change to what it then finds.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Literal

from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.exceptions import BadRequestError, CommitFailedException
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.update import (
    AddSnapshotUpdate,
    AssertCurrentSchemaId,
    AssertRefSnapshotId,
    AssertTableUUID,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    ValidatableTableRequirement,
    _apply_table_update,
)
from pyiceberg.typedef import IcebergBaseModel

from iceberg_datamart.core.state.origin import origin_properties
from iceberg_datamart.errors import LakeError
from iceberg_datamart.lake.answering import answering
from iceberg_datamart.lake.catalog import as_snapshot, writing_metadata
from iceberg_datamart.lake.engine import conflict

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot
    from pyiceberg.table.update import TableRequirement, TableUpdate

log = logging.getLogger(__name__)
# Iceberg's Java library reads no metadata whose log goes back by more: `TableMetadata` says a minute.
_MOST_BEHIND = 50_000
# How Iceberg 1.0 is told that a table has no current snapshot.
_NO_SNAPSHOT = -1


class AssertLastSequenceNumber(ValidatableTableRequirement):
    """No snapshot was added meanwhile, staged ones among them: its number is taken otherwise."""

    type: Literal["assert-last-sequence-number"] = "assert-last-sequence-number"
    last_sequence_number: int

    def validate(self, base_metadata: TableMetadata | None) -> None:  # type: ignore[override]
        """Raise CommitFailedException where the table's is another."""
        if base_metadata is None or last_sequence_number(base_metadata) != self.last_sequence_number:
            raise CommitFailedException("Requirement failed: a snapshot was added meanwhile")


class TellNoCurrentSnapshot(IcebergBaseModel):
    """Write that a table whose snapshots are all staged has no current one: Iceberg 1.0 reads no other.

    See `lake.catalog.writing_metadata`, which cannot do it: the parent of a first snapshot must not be null.
    """

    action: Literal["tell-no-current-snapshot"] = "tell-no-current-snapshot"


# One more than the format's own.
@_apply_table_update.register(TellNoCurrentSnapshot)
def _tell(  # type: ignore[misc]
    _: TellNoCurrentSnapshot, metadata: TableMetadata, __: Any
) -> TableMetadata:
    if metadata.current_snapshot_id is not None:
        return metadata
    return metadata.model_copy(update={"current_snapshot_id": _NO_SNAPSHOT})


def require_clock(table: Table) -> None:
    """Raise LakeError where this machine's clock is too far behind that of who wrote last."""
    behind = table.metadata.last_updated_ms - time.time_ns() // 1_000_000
    if behind > _MOST_BEHIND:
        message = f"{table.name()[-1]} was changed {behind // 1000} s in the future, by this machine's clock"
        raise LakeError(message, hint="Set the clock, or wait so long. Nothing was written.")


def add_snapshot(catalog: Catalog, table: Table, snapshot: Snapshot) -> None:
    """Add a snapshot that is not current to a table that is as it was loaded.

    Raises: CommitFailedException where it is not; CatalogUnreachableError where it may be added by now.
    """
    metadata = table.metadata
    current = metadata.current_snapshot_id
    requirements: list[Any] = [
        AssertTableUUID(uuid=metadata.table_uuid),
        _main_is_at(current),
        AssertCurrentSchemaId.model_validate({"current-schema-id": metadata.current_schema_id}),
    ]
    updates: list[Any] = [AddSnapshotUpdate(snapshot=snapshot)]
    if is_ours(catalog):
        requirements.append(AssertLastSequenceNumber(last_sequence_number=last_sequence_number(metadata)))
        updates += [TellNoCurrentSnapshot()] if current is None else []
    commit(catalog, table, tuple(requirements), tuple(updates))


def set_current(catalog: Catalog, table: Table, snapshot_id: int, parent: int | None) -> None:
    """Make a snapshot the current one where its parent is; the state that it records is kept beside it.

    Raises: CommitConflictError where that is not; CatalogUnreachableError where it may be current by now.
    """
    metadata = table.metadata
    main = metadata.refs.get(MAIN_BRANCH)
    requirements = (
        AssertTableUUID(uuid=metadata.table_uuid),
        _main_is_at(parent),
    )
    # How long the branch keeps its snapshots stays as it is set.
    kept = {} if main is None else main.model_dump(exclude={"snapshot_id", "snapshot_ref_type"})
    moved: dict[str, Any] = {**kept, "ref-name": MAIN_BRANCH, "snapshot-id": snapshot_id}
    updates: list[Any] = [SetSnapshotRefUpdate(**moved, type=SnapshotRefType.BRANCH)]
    snapshot = table.snapshot_by_id(snapshot_id)
    if snapshot is not None and (told := _origin(table, snapshot)):
        updates.append(SetPropertiesUpdate(updates=told))
    name = str(table.name()[-1])
    try:
        commit(catalog, table, requirements, tuple(updates))
    except CommitFailedException as error:
        raise conflict(name) from error


def _origin(table: Table, snapshot: Snapshot) -> dict[str, str]:
    def is_kept(snapshot_id: int) -> bool:
        return table.snapshot_by_id(snapshot_id) is not None

    return origin_properties(as_snapshot(snapshot), table.properties, is_kept)


def is_malformed(error: CommitFailedException) -> bool:
    """Return whether a REST server called the commit wrong in itself, or its sequence number taken."""
    return isinstance(error.__cause__, BadRequestError)


def last_sequence_number(metadata: TableMetadata) -> int:
    """Return the greatest sequence number that any snapshot ever had; tables of format 1 have none."""
    return int(getattr(metadata, "last_sequence_number", 0))


def _main_is_at(snapshot_id: int | None) -> AssertRefSnapshotId:
    where: dict[str, Any] = {"snapshot-id": snapshot_id}
    return AssertRefSnapshotId(ref=MAIN_BRANCH, **where)


def is_ours(catalog: Catalog) -> bool:
    """Return whether the metadata is ours to write, and its old files to delete.

    The server of a REST catalog does both itself, and knows no other requirements than the format's.
    """
    return isinstance(catalog, MetastoreCatalog)


def commit(
    catalog: Catalog,
    table: Table,
    requirements: tuple[TableRequirement, ...],
    updates: tuple[TableUpdate, ...],
) -> None:
    """Change a table's metadata where it is as required, once; the oldest metadata files go with it.

    Raises: CommitFailedException where it is not; CatalogUnreachableError where it may be changed by now.
    """
    name = str(table.name()[-1])
    with answering(name), writing_metadata(empty=False):
        try:
            response = catalog.commit_table(table, requirements, updates)
        except BadRequestError as error:
            # So a REST catalog's server refuses a sequence number that is taken: Iceberg's own, up to 1.10.
            raise CommitFailedException(str(error)) from error
    if not is_ours(catalog):
        return
    try:
        # As Iceberg's own `write.metadata.delete-after-commit.enabled` does.
        catalog._delete_old_metadata(table.io, table.metadata, response.metadata)  # noqa: SLF001
    except Exception as error:  # noqa: BLE001  (the commit is made, whatever becomes of old files)
        log.warning("%s: an old metadata file is left behind: %s", name, error)
