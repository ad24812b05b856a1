"""A mart's snapshot computed again: over the mirrors' snapshots that it consumed, or not at all."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, cast

import pytest

from iceberg_datamart.core.plan.facts import Facts
from iceberg_datamart.core.plan.planner import maintain_mart
from iceberg_datamart.errors import LakeError
from iceberg_datamart.ports import ConsumedMirror
from iceberg_datamart.run.rerun import repeated
from support.fakes.runs import rows, world

if TYPE_CHECKING:
    from iceberg_datamart.core.state.history import TableHistory
    from iceberg_datamart.ports import Lake, MartMaintenance
    from support.fakes.ports import FakeWorld


def twice_merged() -> FakeWorld:
    """Return a world after two runs, the second of which merged another row."""
    found = world()
    found.run()
    found.source.tables["queue"] |= rows(3)
    found.run()
    return found


def first_mart_again(found: FakeWorld) -> MartMaintenance:
    """Return the rerun of the mart's first snapshot."""
    first = found.lake.snapshots["m"][-1].snapshot_id
    return repeated(cast("Lake", found.lake), maintain_mart("m", found.config, Facts(None, {})), first)


def test_a_mart_is_computed_again_over_what_it_consumed() -> None:
    found = twice_merged()
    firsts = {name: found.lake.snapshots[name][-1].snapshot_id for name in ("account", "queue")}
    assert list(first_mart_again(found).mirrors) == [
        ConsumedMirror("account", firsts["account"]),
        ConsumedMirror("queue", firsts["queue"]),
    ]


def test_a_rerun_loads_each_history_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found, loaded = twice_merged(), Counter[str]()
    history = found.lake.history

    def counted(table: str) -> TableHistory | None:
        loaded[table] += 1
        return history(table)

    monkeypatch.setattr(found.lake, "history", counted)
    first_mart_again(found)
    assert loaded == {"m": 1, "account": 1, "queue": 1}


def test_a_mart_whose_consumed_snapshot_expired_is_not_computed_again() -> None:
    found = twice_merged()
    expired = found.lake.snapshots["queue"][-1].snapshot_id
    found.lake.snapshots["queue"] = found.lake.snapshots["queue"][:1]
    with pytest.raises(LakeError, match=f"snapshots that are gone: queue {expired}"):
        first_mart_again(found)
