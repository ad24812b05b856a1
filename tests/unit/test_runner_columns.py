"""What a run records of its source's columns, and which of them it reads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from iceberg_datamart.core.sql.reserved import LINEAGE
from support.fakes.ports import COLUMNS, FakeWorld, configured, table
from support.fakes.runs import outcomes, world

if TYPE_CHECKING:
    from iceberg_datamart.core.state.commit import MirrorState
    from iceberg_datamart.core.state.history import TableHistory

NUMBERS = {"id": 1, "at": 2, "v": 3}
ANEW = {**NUMBERS, "v": 4}


def filled(numbers: dict[str, int]) -> FakeWorld:
    """Return a world after its first run, its effects forgotten."""
    found = world()
    found.source.column_ids = numbers
    found.run()
    found.effects.clear()
    return found


def state(found: FakeWorld) -> MirrorState:
    history = found.lake.history("queue")
    assert history is not None
    return history.mirror_states[0]


def test_a_column_recreated_is_a_full_load_once_even_where_no_row_differs() -> None:
    found = filled(NUMBERS)
    found.source.column_ids = ANEW
    found.run()
    assert sorted(found.effects) == ["commit account", "commit queue"]
    assert (state(found).load_type, state(found).column_ids) == ("full", ANEW)
    found.effects.clear()
    assert set(outcomes(found.run()).values()) == {"unchanged"}
    assert found.effects == []


def test_a_backfill_records_a_column_recreated_too() -> None:
    found = filled(NUMBERS)
    found.source.column_ids = ANEW
    found.run(load_type="backfill", tables=("queue",))
    assert (state(found).load_type, state(found).column_ids) == ("backfill", ANEW)
    assert found.run().tables["queue"].outcome == "unchanged"
    assert state(found).load_type == "backfill"


def test_r3_numbers_that_were_never_recorded_are_no_reason_to_commit() -> None:
    found = filled({})
    found.source.column_ids = NUMBERS
    found.run()
    assert found.effects == []


def test_a_backfill_deletes_nothing() -> None:
    found = filled(NUMBERS)
    del found.source.tables["queue"][1]
    found.run(load_type="backfill")
    assert 1 in found.lake.rows["queue"]
    found.run(load_type="full")
    assert 1 not in found.lake.rows["queue"]


@pytest.mark.parametrize(
    ("policy", "reads"), [("evolve", ["id", "at", "v"]), ("ignore", ["id", "at"])], ids=["evolve", "ignore"]
)
def test_a_new_column_is_read_unless_it_is_ignored(
    policy: str, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = filled({})
    found.config = configured(tables={"queue": table("queue", on_schema_change=policy)})
    kinds = {column.name: column.type for column in (*COLUMNS, *LINEAGE) if column.name != "v"}
    whole = found.lake.history

    def without_v(name: str) -> TableHistory | None:
        history = whole(name)
        return None if history is None else replace(history, columns=kinds)

    monkeypatch.setattr(found.lake, "history", without_v)
    (step,) = found.new_run().prepare().plan.table_steps
    assert [column.name for column in step.source.columns] == reads
