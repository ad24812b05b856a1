"""The rows in which two relations differ, counted by kind, with the first of them by name."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from iceberg_datamart.sql import CHANGE, PLACE
from iceberg_datamart.verification import EXTRA, MISSING, STALE, Difference, Differences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame

_MOST_SHOWN = 10


def counted(frame: DataFrame, key: Sequence[str]) -> Differences:
    """Return what `sql.differences_sql` selected, computed once; rows that are newer are only counted."""
    held = frame.persist()
    try:
        counts: Counter[str] = Counter()
        for kind, newer, rows in held.groupBy(CHANGE, "newer").count().collect():
            counts["newer" if newer else kind] += rows
        shown = held.where("NOT newer").orderBy(PLACE).limit(_MOST_SHOWN).collect()
    finally:
        held.unpersist()
    first = tuple(
        Difference(kind, dict(zip(key, values, strict=True)), tuple(wrong) if kind == STALE else ())
        for values, kind, wrong, _ in shown
    )
    return Differences(counts[MISSING], counts[STALE], counts[EXTRA], counts["newer"], first)
