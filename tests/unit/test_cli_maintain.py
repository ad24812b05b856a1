"""What `maintain` prints for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.cli.maintain import show_upkeep
from iceberg_datamart.core.report.upkeep import MAINTAINED, WAITS, Counts, UpkeepOutcome
from iceberg_datamart.core.upkeep.planner import COMPACT, EXPIRE, Step

if TYPE_CHECKING:
    import pytest


def test_each_table_is_a_line_of_80_columns_and_each_step_says_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps = (
        Step(COMPACT, is_due=True, why="13 data files and 24 delete files: 36 fewer afterwards"),
        Step(EXPIRE, is_due=False, why="2 snapshots of 14 can go"),
    )
    show_upkeep(
        {
            "settlement_transaction": UpkeepOutcome(
                MAINTAINED, steps, Counts(13, 24, 25, 130), Counts(1, 0, 2, 104), 30
            ),
            "queue": UpkeepOutcome(WAITS, before=Counts(3, 1, 4, 4), reason="a rollback undid something"),
        }
    )
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines[:4])) <= 80
    shown = [" ".join(line.split()) for line in lines[2:4]]
    assert shown == [
        "settlement_transaction maintained 13 → 1 24 → 0 25 → 2 130 → 104",
        "queue waits 3 1 4 4",
    ]
    assert lines[4:] == [
        f"settlement_transaction: compact files: {steps[0].why}",
        "settlement_transaction: expire snapshots: not worth it: 2 snapshots of 14 can go",
        "queue: a rollback undid something",
    ]
