"""Which snapshots of a table nobody needs any more."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from iceberg_datamart.core.state.commit import mart_state, mirror_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from iceberg_datamart.core.settings.upkeep import UpkeepConfig
    from iceberg_datamart.core.state.history import Snapshot, TableHistory

# What is staged may be a running job's, about to be published.
_STAGED = timedelta(days=1)


@dataclass(frozen=True)
class Needs:
    """Who needs snapshots of a table, whatever their age.

    `consumed` are those that marts are the join of; `foreign` those by which other tools may have changed
    rows: a run must know of them. `timestamp` is what the timestamp file says: a read may start from the
    state that was recorded up to then. `named` are the snapshots of tags and branches, with all that these go
    back to.
    """

    consumed: AbstractSet[int] = field(default_factory=frozenset)
    foreign: AbstractSet[int] = field(default_factory=frozenset)
    timestamp: datetime | None = None
    named: AbstractSet[int] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Retention:
    """The snapshots of a table that stay, and those that go, each newest first."""

    kept: tuple[Snapshot, ...] = ()
    expired: tuple[Snapshot, ...] = ()


def retention(history: TableHistory, settings: UpkeepConfig, needs: Needs, now: datetime) -> Retention:
    """Return which snapshots stay.

    Of the current one's ancestors those stay that were current within `keep_days`, as far as they are among
    the newest `keep_snapshots`; and all back to the oldest that something needs. They stay in one piece: what
    tells of a table's rows is followed from each snapshot to its parent.
    """
    needed = {*needs.consumed, *needs.foreign, *_with_state(history, needs.timestamp)}
    length = max(_within(history, settings, now), _back_to(history, needed), _for_origin(history, needs))
    kept, gone = history.snapshots[:length], history.snapshots[length:]
    others = _kept_others(history, settings, now)
    wanted = {*needs.named, *needs.consumed}
    named = {s.snapshot_id for s in (*gone, *history.others) if s.snapshot_id in wanted}
    stay = {s.snapshot_id for s in (*kept, *others)} | named
    every = (*history.snapshots, *history.others)
    return Retention(
        tuple(s for s in every if s.snapshot_id in stay),
        tuple(s for s in every if s.snapshot_id not in stay),
    )


def consumed_by(mart: Iterable[Snapshot], mirror: str) -> frozenset[int]:
    """Return the snapshots of a mirror that these snapshots of a mart are the join of."""
    states = (mart_state(snapshot.summary) for snapshot in mart)
    found = (state.consumed.get(mirror) for state in states if state is not None)
    return frozenset(snapshot_id for snapshot_id in found if snapshot_id is not None)


def _within(history: TableHistory, settings: UpkeepConfig, now: datetime) -> int:
    """Return how many of the newest ancestors were current lately enough."""
    length = 0
    newer: Snapshot | None = None
    for snapshot in history.snapshots[: settings.most_snapshots]:
        if newer is not None and now - _became_current(history, newer) > settings.keep:
            break
        length, newer = length + 1, snapshot
    return length


def _became_current(history: TableHistory, snapshot: Snapshot) -> datetime:
    return history.published_at(snapshot.snapshot_id) or snapshot.committed_at


def _back_to(history: TableHistory, needed: AbstractSet[int]) -> int:
    """Return how many of the newest ancestors there are back to the oldest needed one."""
    places = (place for place, s in enumerate(history.snapshots, 1) if s.snapshot_id in needed)
    return max(places, default=0)


def _for_origin(history: TableHistory, needs: Needs) -> int:
    """Return how many stay for an expired snapshot that is known still as the parent of the oldest."""
    if history.origin is None:
        return 0
    own = any(mirror_state(s.summary) or mart_state(s.summary) for s in history.snapshots)
    return 0 if own and history.origin.snapshot_id not in needs.consumed else len(history.snapshots)


def _with_state(history: TableHistory, timestamp: datetime | None) -> Iterator[int]:
    """Yield the newest snapshot that records a state, and the newest of the timestamp file's time (R4)."""
    first = True
    for snapshot in history.snapshots:
        mirror, mart = mirror_state(snapshot.summary), mart_state(snapshot.summary)
        if first and (mirror or mart):
            yield snapshot.snapshot_id
            first = False
        if mirror and (timestamp is None or mirror.complete_through.replace(microsecond=0) <= timestamp):
            yield snapshot.snapshot_id
            return


def _kept_others(history: TableHistory, settings: UpkeepConfig, now: datetime) -> Iterator[Snapshot]:
    """Yield what is no ancestor and stays: it was staged, or rolled back, not long ago.

    One that is newer than the newest run's commit stays, too, whatever its age: were it gone, it could have
    been a commit that was rolled back, and all rows would be compared. See `TableHistory.needs_reconcile`.
    """
    newest = max((s.sequence_number for s in history.snapshots if s.run_id is not None), default=0)
    others = sorted(history.others, key=lambda s: s.committed_at, reverse=True)
    for place, snapshot in enumerate(others):
        age = now - max(snapshot.committed_at, _became_current(history, snapshot))
        is_young = age <= settings.keep or snapshot.sequence_number > newest
        if age <= _STAGED or (place < settings.most_snapshots and is_young):
            yield snapshot
