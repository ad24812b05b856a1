"""The rows in which two relations differ, counted by kind, with the first of them by name."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from iceberg_datamart.core.report.verification import EXTRA, MISSING, PENDING, STALE, Difference, Differences
from iceberg_datamart.core.sql.reserved import CHANGE, PLACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iceberg_datamart.lake.engine import Engine

_MOST_SHOWN = 10
REJECTED = "rejected"
# The column of `new` that marks rows which checks reject.
REJECTED_ROW = "_datamart_rejected_row"


def counted(engine: Engine, select: str, key: Sequence[str]) -> Differences:
    """Return what `sql.differences_sql` selects, computed once; rows that are pending are only counted."""
    held = engine.hold(select)
    try:
        counts: Counter[str] = Counter()
        rejections: Counter[str] = Counter()
        for kind, pending, rejected, rows in engine.fetch(
            f"SELECT {CHANGE}, {PENDING}, {REJECTED}, count(*) FROM {held} "
            f"GROUP BY {CHANGE}, {PENDING}, {REJECTED}"
        ):
            counts[PENDING if pending else kind] += rows
            rejections[kind] += rows if rejected and not pending else 0
        first = engine.fetch(
            f"SELECT {PLACE}, {CHANGE}, wrong FROM {held} "
            f"WHERE NOT {PENDING} ORDER BY {PLACE} LIMIT {_MOST_SHOWN}"
        )
    finally:
        engine.give_up(held)
    return Differences(
        counts[MISSING],
        counts[STALE],
        counts[EXTRA],
        counts[PENDING],
        rejected_missing=rejections[MISSING],
        rejected_stale=rejections[STALE],
        first=tuple(
            Difference(kind, dict(zip(key, values, strict=True)), tuple(wrong) if kind == STALE else ())
            for values, kind, wrong in first
        ),
    )
