"""The rows in which two relations differ, counted by kind, with the first of them by name."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from iceberg_datamart.core.report.verification import EXTRA, MISSING, PENDING, STALE, Difference, Differences
from iceberg_datamart.core.sql import CHANGE, PLACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame

_MOST_SHOWN = 10
REJECTED = "rejected"
# The column of `new` that marks rows which checks reject.
REJECTED_ROW = "_datamart_rejected_row"


def counted(frame: DataFrame, key: Sequence[str]) -> Differences:
    """Return what `sql.differences_sql` selected, computed once; rows that are pending are only counted."""
    held = frame.persist()
    try:
        counts: Counter[str] = Counter()
        rejections: Counter[str] = Counter()
        for kind, pending, rejected, rows in held.groupBy(CHANGE, PENDING, REJECTED).count().collect():
            counts[PENDING if pending else kind] += rows
            rejections[kind] += rows if rejected and not pending else 0
        shown = held.where(f"NOT {PENDING}").orderBy(PLACE).limit(_MOST_SHOWN).collect()
    finally:
        held.unpersist()
    first = tuple(
        Difference(kind, dict(zip(key, values, strict=True)), tuple(wrong) if kind == STALE else ())
        for values, kind, wrong, *_ in shown
    )
    return Differences(
        counts[MISSING],
        counts[STALE],
        counts[EXTRA],
        counts[PENDING],
        rejected_missing=rejections[MISSING],
        rejected_stale=rejections[STALE],
        first=first,
    )
