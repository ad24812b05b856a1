"""A table's newest state, kept in a property of the table, where no expiry takes it (R11).

It counts only for a table whose oldest snapshot has its snapshot for a parent: so it is an ancestor's state,
whatever was rolled back and expired since.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from iceberg_datamart.core.state.commit import PREFIX, mart_state, mirror_state
from iceberg_datamart.core.state.history import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_NEWEST = PREFIX + "newest-state"
# What the first was, where its snapshot had expired before the next one came: marts may have consumed it.
_EXPIRED = PREFIX + "expired-state"


def origin_properties(
    snapshot: Snapshot, properties: Mapping[str, str], is_kept: Callable[[int], bool]
) -> dict[str, str]:
    """Return the properties to set where this snapshot becomes current; none where it records no state.

    `properties` are the table's as they are; `is_kept` says whether its metadata have a snapshot.
    """
    if mirror_state(snapshot.summary) is None and mart_state(snapshot.summary) is None:
        return {}
    told = {
        "snapshot-id": snapshot.snapshot_id,
        "parent-snapshot-id": snapshot.parent_id,
        "committed-at": snapshot.committed_at.isoformat(),
        "operation": snapshot.operation,
        "sequence-number": snapshot.sequence_number,
        "schema-id": snapshot.schema_id,
        "summary": {name: text for name, text in snapshot.summary.items() if name.startswith(PREFIX)},
    }
    found = {_NEWEST: json.dumps(told, separators=(",", ":"))}
    before = _parsed(properties.get(_NEWEST))
    if before is not None and not is_kept(before.snapshot_id):
        found[_EXPIRED] = properties[_NEWEST]
    return found


def origin_of(properties: Mapping[str, str], ancestors: Sequence[Snapshot]) -> Snapshot | None:
    """Return the expired parent of the oldest ancestor left, where a property tells of that very snapshot.

    `ancestors` come newest first, and are all that are left.
    """
    parent = ancestors[-1].parent_id if ancestors else None
    told = (_parsed(properties.get(name)) for name in (_NEWEST, _EXPIRED))
    return next((each for each in told if each is not None and each.snapshot_id == parent), None)


def _parsed(text: str | None) -> Snapshot | None:
    """Return the snapshot that a property tells of; None where it is none of ours."""
    if text is None:
        return None
    try:
        told: dict[str, Any] = json.loads(text)
        return Snapshot(
            snapshot_id=int(told["snapshot-id"]),
            parent_id=told["parent-snapshot-id"],
            committed_at=datetime.fromisoformat(told["committed-at"]).astimezone(timezone.utc),
            operation=str(told["operation"]),
            summary=dict(told["summary"]),
            sequence_number=int(told["sequence-number"]),
            schema_id=told["schema-id"],
        )
    except (ValueError, TypeError, KeyError):
        return None
