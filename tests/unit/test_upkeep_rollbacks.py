"""R4, R11: whatever is rolled back, maintained and expired, what a full load had found is found again."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from iceberg_datamart.core.load_types import FULL, INCREMENTAL, RECONCILE
from iceberg_datamart.core.settings.upkeep import UpkeepConfig
from iceberg_datamart.core.state.commit import PREFIX, UPKEEP, MirrorState
from iceberg_datamart.core.state.history import Snapshot, TableHistory
from iceberg_datamart.core.state.origin import origin_of, origin_properties
from iceberg_datamart.core.upkeep.planner import waits
from iceberg_datamart.core.upkeep.retention import Needs, retention

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
KEEP_ONE = UpkeepConfig(keep_snapshots=1, keep_days=0)


class Model:
    """A table as its metadata have it, and of each snapshot the newest full load that is in its rows."""

    def __init__(self) -> None:
        self.present: dict[int, Snapshot] = {}
        self.log: list[tuple[datetime, int]] = []
        self.properties: dict[str, str] = {}
        self.number = 0
        self.current: int | None = None
        self.holds: dict[int, int] = {}
        self.fulls = 0

    @property
    def history(self) -> TableHistory:
        ancestors, at = [], self.current
        while at in self.present:
            ancestors.append(self.present[at])
            at = self.present[at].parent_id
        ids = {snapshot.snapshot_id for snapshot in ancestors}
        return TableHistory(
            {"id": "long"},
            ("id",),
            tuple(ancestors),
            others=tuple(s for s in self.present.values() if s.snapshot_id not in ids),
            log=tuple(self.log),
            last_sequence_number=self.number,
            origin=origin_of(self.properties, tuple(ancestors)),
            schema_id=1,
        )

    def commit(self, summary: dict[str, str], operation: str, holds: int) -> None:
        self.number += 1
        now = NOON + timedelta(days=2 * self.number)
        new = Snapshot(self.number, self.current, now, operation, summary, self.number, 1)
        self.properties |= origin_properties(new, self.properties, self.present.__contains__)
        self.present[self.number] = new
        self.current = self.number
        self.log.append((now, self.number))
        self.holds[self.number] = holds

    def run(self, *, full: bool) -> None:
        history = self.history
        whole = full or history.mirror_state is None or history.needs_reconcile
        if whole:
            self.fulls += 1
        load_type = FULL if full else RECONCILE if whole else INCREMENTAL
        state = MirrorState(f"run-{self.number + 1}", load_type, "postgres:1/a/2", NOON, NOON)
        held = self.fulls if whole or self.current is None else self.holds[self.current]
        self.commit({**state.summary(), PREFIX + "deleted": "1"}, "overwrite", held)

    def maintain(self, how: UpkeepConfig = KEEP_ONE) -> None:
        history = self.history
        state = history.mirror_state
        if self.current is None or waits(history, is_mirror=True) is not None:
            return
        carried = {} if state is None else state.summary()
        self.commit({**carried, UPKEEP: "rewrite"}, "replace", self.holds[self.current])
        later = NOON + timedelta(days=2 * self.number + 1)
        found = retention(self.history, how, Needs(), later)
        self.forget({snapshot.snapshot_id for snapshot in found.expired})

    def compact(self) -> None:
        if self.current is not None:
            self.commit({}, "replace", self.holds[self.current])

    def expire(self) -> None:
        """Expire all that is not current, as another tool does."""
        self.forget(set(self.present) - {self.current})

    def roll_back(self, steps: int) -> None:
        ancestors = self.history.snapshots
        if len(ancestors) > steps:
            self.current = ancestors[steps].snapshot_id
            self.log.append((NOON + timedelta(days=2 * self.number, hours=1), self.current))

    def forget(self, gone: set[int]) -> None:
        self.present = {number: s for number, s in self.present.items() if number not in gone}
        kept: list[tuple[datetime, int]] = []
        for entry in self.log:
            kept = [] if entry[1] in gone else [*kept, entry]
        self.log = kept


STEPS = st.sampled_from(["run", "full", "maintain", "maintain", "compact", "expire", "back 1", "back 2"])


@settings(max_examples=400)
@given(st.lists(STEPS, max_size=16))
def test_r11_what_a_full_load_found_is_in_the_rows_after_every_run(steps: list[str]) -> None:
    table = Model()
    table.run(full=True)
    for step in [*steps, "run"]:
        kind, _, count = step.partition(" ")
        if kind == "back":
            table.roll_back(int(count))
        elif kind in {"run", "full"}:
            table.run(full=kind == "full")
            assert table.current is not None
            assert table.holds[table.current] == table.fulls
        else:
            getattr(table, kind)()


def test_a_table_that_is_only_maintained_is_never_compared_for_it() -> None:
    table = Model()
    table.run(full=True)
    for _ in range(3):
        table.maintain()
        table.run(full=False)
        table.maintain()
        table.maintain()
    assert table.fulls == 1


def test_what_was_made_good_is_not_compared_again_because_the_snapshot_that_did_it_expired() -> None:
    table = Model()
    for full in (True, False, True):
        table.run(full=full)
    table.roll_back(1)
    table.run(full=False)
    assert table.fulls == 3, "it compared all rows"
    table.maintain(UpkeepConfig(keep_snapshots=1))
    assert [snapshot.load_type for snapshot in table.history.snapshots] == ["maintain"]
    assert FULL in {snapshot.load_type for snapshot in table.history.others}
    assert not table.history.needs_reconcile
