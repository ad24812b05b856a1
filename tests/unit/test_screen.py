"""The lines of a terminal: figures stay whole at any width, and stand below each other where they can."""

from __future__ import annotations

from iceberg_datamart.cli.screen import line_of
from iceberg_datamart.core.report.progress import LOCKED, READING, Work

_READING = Work("settlement_transaction", READING, since=100, rows=1_200_000, total=5_000_000)
_HOLDER = "held by session 5717 'psql' of datamart, idle in transaction since 08:52: lock table queue"
_WAITING = Work("queue", LOCKED, since=100, note=_HOLDER)


def test_a_line_of_80_columns_holds_a_long_name_with_all_of_its_figures() -> None:
    assert line_of(_READING, 145, 30, 78).plain == (
        "reading settlement_transaction  1,200,000 of 5,000,000 rows  26,667/s  45 s"
    )


def test_a_wide_line_has_a_bar() -> None:
    assert line_of(_READING, 145, 34, 138).plain == (
        "reading settlement_transaction      ━━━━━━━━━━━━━━━━━━━━  "
        "1,200,000 of 5,000,000 rows  26,667/s  45 s"
    )


def test_what_does_not_fit_loses_its_end_and_not_its_figures() -> None:
    line = line_of(_WAITING, 145, 30, 78).plain
    assert len(line) == 78
    assert line.startswith("waiting for a lock on queue, held by session 5717 'psql'")
    assert line.endswith("…  45 s")
