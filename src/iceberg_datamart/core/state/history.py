"""What a table's history says: its snapshots, and what their commits recorded (R11)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from iceberg_datamart.core.load_types import BACKFILL, COMPARES_ALL, FINDS_ALL, MAINTAIN, WHOLE
from iceberg_datamart.core.state.commit import (
    PREFIX,
    UPKEEP,
    MartState,
    MirrorState,
    mart_state,
    mirror_state,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet
    from datetime import datetime

# The table properties with a mart's definitions, by digest.
DEFINITION = PREFIX + "definition."
# Those with the recipes by which a mirror's rows were read, by digest: see `recipe`.
RECIPE = PREFIX + "recipe."
_REPLACE = "replace"
_DELETES = ("position-deletes", "equality-deletes", "delete-files")


@dataclass(frozen=True)
class Snapshot:
    """An Iceberg snapshot as `history` tells it. `committed_at` is the clock of who staged it.

    When readers saw it first is another time: see `TableHistory.published_at`.

    `sequence_number` counts the table's commits; 0 where the table's format has none. `schema_id` is that of
    the columns it was written with, where it tells.
    """

    snapshot_id: int
    parent_id: int | None
    committed_at: datetime
    operation: str
    summary: Mapping[str, str] = field(default_factory=dict)
    sequence_number: int = 0
    schema_id: int | None = None

    @property
    def run_id(self) -> str | None:
        """Return the run that wrote it, or whose state it carries; None for a foreign commit."""
        return self.summary.get(PREFIX + "run-id")

    @property
    def load_type(self) -> str | None:
        """Return the load type that it records; `mart` for a mart's, `maintain` where it compared nothing."""
        return MAINTAIN if self.is_upkeep else self.summary.get(PREFIX + "load-type")

    @property
    def is_upkeep(self) -> bool:
        """Return whether `maintain` committed it: the same rows in other files, and the state before it."""
        return UPKEEP in self.summary

    @property
    def rows(self) -> int:
        """Return the rows that its summary counts: data file records less those that position deletes hide.

        See `TableHistory.rows_of` for whether that is so.
        """
        return self._number("total-records") - self._number("total-position-deletes")

    @property
    def has_equality_deletes(self) -> bool:
        """Return whether some of its rows are deleted by their values."""
        return self._number("total-equality-deletes") > 0

    @property
    def hides_rows(self) -> bool:
        """Return whether it has delete files, so that its data files hold more rows than the table."""
        return any(self._number(f"total-{kind}") for kind in _DELETES)

    def total(self, what: str) -> int | None:
        """Return how many `data-files`, `delete-files` … the table has then; None where it does not tell."""
        text = self.summary.get(f"total-{what}")
        return None if text is None else int(text)

    def changed(self, kind: str) -> int:
        """Return the rows `inserted`, `updated` or `deleted` by this commit, 0 where it is foreign."""
        if self.is_upkeep:
            return 0
        if kind == "inserted" and self.run_id is not None and PREFIX + kind not in self.summary:
            return self._number("added-records")
        return self._number(PREFIX + kind)

    @property
    def is_foreign(self) -> bool:
        """Return whether another tool committed it and may have changed rows; a compaction changes none."""
        return self.run_id is None and self.operation != _REPLACE and not self.is_upkeep

    @property
    def changes_rows(self) -> bool:
        """Return whether this commit changed any row; one that only records state does not."""
        return any(self.changed(kind) for kind in ("inserted", "updated", "deleted"))

    def _number(self, key: str) -> int:
        return int(self.summary.get(key, "0"))


@dataclass(frozen=True)
class TableHistory:
    """An existing Iceberg table: its columns by name and type, its key, its current snapshot's ancestors.

    `key` is the primary key as far as the table tells it; `snapshots` come newest first. `is_superseded`
    says whether the table had snapshots after its current one: it was rolled back, or something staged was
    never published. `has_required` says whether any column cannot be NULL. `others` are the snapshots that
    can still be read and are no ancestors; `log` tells which snapshot became current when, oldest first.
    `last_sequence_number` is the greatest that any snapshot ever had. `properties` are the table's, the
    definitions that a mart ever had among them. `schema_id` is that of its present columns.
    `is_partitioned` says whether any file may be one of a partition. `origin` is the parent of the oldest of
    `snapshots`, where it has expired and what it recorded is known still: see `origin`.
    """

    columns: Mapping[str, str]
    key: tuple[str, ...]
    snapshots: tuple[Snapshot, ...]
    is_superseded: bool = False
    has_required: bool = False
    others: tuple[Snapshot, ...] = ()
    log: tuple[tuple[datetime, int], ...] = ()
    last_sequence_number: int = 0
    properties: Mapping[str, str] = field(default_factory=dict)
    schema_id: int | None = None
    format_version: int = 2
    is_partitioned: bool = False
    origin: Snapshot | None = None

    @property
    def current(self) -> Snapshot | None:
        """Return the snapshot that readers see."""
        return self.snapshots[0] if self.snapshots else None

    def since(self, snapshot_id: int | None) -> tuple[Snapshot, ...] | None:
        """Return the snapshots after `snapshot_id`, newest first; None where it is no ancestor."""
        for position, snapshot in enumerate(self.snapshots):
            if snapshot.snapshot_id == snapshot_id:
                return self.snapshots[:position]
        return None

    def since_known(self, snapshot_id: int | None) -> tuple[tuple[Snapshot, ...], Snapshot, int] | None:
        """Return the snapshots after one, that one, and which holds its rows and can be read.

        It may have expired where what came next changed no row: another tool compacted. None where it is no
        ancestor, or its rows cannot be read.
        """
        since = self.since(snapshot_id)
        if since is not None:
            found = self.snapshots[len(since)]
            return since, found, found.snapshot_id
        if self.origin is None or self.origin.snapshot_id != snapshot_id:
            return None
        next_one = self.snapshots[-1]
        same = next_one.operation == _REPLACE or next_one.is_upkeep
        return (self.snapshots, self.origin, next_one.snapshot_id) if same else None

    @property
    def recorded(self) -> tuple[Snapshot, ...]:
        """Return the ancestors whose summaries are known, newest first: `snapshots`, and `origin`."""
        return self.snapshots if self.origin is None else (*self.snapshots, self.origin)

    def as_of(self, snapshot_id: int) -> TableHistory | None:
        """Return the history after a rollback to the snapshot; None where it is no ancestor."""
        since = self.since(snapshot_id)
        if since is None:
            return None
        return replace(
            self,
            snapshots=self.snapshots[len(since) :],
            others=(*since, *self.others),
            is_superseded=self.is_superseded or bool(since),
        )

    def definition(self, digest: str) -> str | None:
        """Return the text of a mart's definition; None where its table does not have it."""
        return self.properties.get(DEFINITION + digest)

    def rows_of(self, snapshot: Snapshot) -> int | None:
        """Return the rows that an ancestor held; None where its summary may count wrongly.

        Each summary adds to the counts of the one before. A compaction leaves delete files behind whose rows
        are gone, and counts them on: the count is right where no other tool committed beside delete files.
        """
        since = self.since(snapshot.snapshot_id)
        if since is None or "total-records" not in snapshot.summary:
            return None
        for older in self.snapshots[len(since) :]:
            if not older.hides_rows:
                return snapshot.rows
            if older.run_id is None:
                return None
        return snapshot.rows if self.is_whole else None

    def recipe(self, digest: str) -> str | None:
        """Return the text of a recipe that a commit recorded; None where the table does not have it."""
        return self.properties.get(RECIPE + digest)

    def current_at(self, instant: datetime) -> int | None:
        """Return the snapshot that was current then, as far as the log goes back."""
        return next((found for since, found in reversed(self.log) if since <= instant), None)

    def published_at(self, snapshot_id: int) -> datetime | None:
        """Return when the snapshot became current last; None where the log does not tell, or it never was."""
        return next((since for since, found in reversed(self.log) if found == snapshot_id), None)

    @property
    def snapshot_count(self) -> int:
        """Return how many snapshots are still there: current, earlier, rolled back or never published."""
        return len(self.snapshots) + len(self.others)

    def can_read(self, snapshot_id: int) -> bool:
        """Return whether a snapshot is still there, current, rolled back or never published."""
        return any(found.snapshot_id == snapshot_id for found in (*self.snapshots, *self.others))

    @property
    def is_altered(self) -> bool:
        """Return whether its columns are others than when a run last committed: to readers, rows changed.

        Another tool may have dropped, renamed or exchanged some, of which no snapshot tells.
        """
        ours = next((s.schema_id for s in self.recorded if s.run_id is not None), None)
        return None not in (ours, self.schema_id) and ours != self.schema_id

    @property
    def needs_reconcile(self) -> bool:
        """Return whether a rollback undid, or may have undone, what only a comparison of all rows could find.

        A full load or reconcile is made good by another one alone, a backfill by these and a backfill.
        """
        return (
            self._undid(WHOLE, made_good_by=WHOLE)
            or self._undid({BACKFILL}, made_good_by=FINDS_ALL)
            or self._may_have_undone()
        )

    def _undid(self, load_types: AbstractSet[str], *, made_good_by: AbstractSet[str]) -> bool:
        """Return whether a commit that changed rows was current once, and is no ancestor of what is now."""
        were_current = {snapshot_id for _, snapshot_id in self.log}
        # What needs a reconcile is not maintained before it is done.
        settled = made_good_by | {MAINTAIN}
        since = max((s.sequence_number for s in self.recorded if s.load_type in settled), default=0)
        return any(
            s.load_type in load_types and s.changes_rows and s.sequence_number > since
            for s in self.others
            if s.snapshot_id in were_current
        )

    def _may_have_undone(self) -> bool:
        """Return whether a snapshot is gone that came after the newest run's among the ancestors.

        Each snapshot has the next sequence number. Such a one was rolled back, or staged and never published;
        a run makes good whatever was rolled back before it.
        """
        known = {s.sequence_number for s in (*self.snapshots, *self.others)}
        newest = max((s.sequence_number for s in self.recorded if s.run_id is not None), default=None)
        if newest is None:
            return False
        return not known.issuperset(range(newest + 1, self.last_sequence_number + 1))

    @property
    def is_whole(self) -> bool:
        """Return whether the ancestors are known back to the first; expiry removes the oldest."""
        return bool(self.snapshots) and self.snapshots[-1].parent_id is None

    def foreign(self) -> tuple[Snapshot, ...]:
        """Return the commits of other tools that may have changed rows since all rows were compared last."""
        found = []
        for snapshot in self.snapshots:
            if snapshot.load_type in COMPARES_ALL:
                break
            found += [snapshot] if snapshot.is_foreign else []
        return tuple(found)

    @cached_property
    def mirror_states(self) -> tuple[MirrorState, ...]:
        """Return the CDC states of the ancestors, newest first (R11: commits without one are passed over)."""
        found = (mirror_state(snapshot.summary) for snapshot in self.recorded)
        return tuple(state for state in found if state is not None)

    @property
    def mirror_state(self) -> MirrorState | None:
        """Return the newest of the mirror's CDC states."""
        return self.mirror_states[0] if self.mirror_states else None

    @cached_property
    def mart_state(self) -> MartState | None:
        """Return what the mart consumed last, or None where no ancestor says."""
        found = (mart_state(snapshot.summary) for snapshot in self.recorded)
        return next((state for state in found if state is not None), None)
