"""Names of relations in Spark's SQL: tables at a snapshot, and temporary views."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from iceberg_datamart.sql import quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class Views:
    """Hands out relation names for one run."""

    def __init__(self, catalog: str, database: str) -> None:
        """Name tables within `catalog` and `database`."""
        self._catalog, self._database = catalog, database
        self._numbers = count(1)
        self._held: list[DataFrame] = []

    def relation(self, table: str, snapshot_id: int | None = None) -> str:
        """Return the table's relation, at a snapshot where one is given."""
        # Not VERSION AS OF: to Spark 3.5 with Iceberg 1.10 two versions of one table are the same relation,
        # so it drops a branch of their UNION, and answers from the other's cached rows.
        names = (self._catalog, self._database, table)
        return quoted(*names) if snapshot_id is None else quoted(*names, f"snapshot_id_{snapshot_id}")

    def held(self, frame: DataFrame) -> DataFrame:
        """Keep the rows of `frame` once they are computed, until `release`."""
        self._held.append(frame.persist())
        return frame

    def release(self) -> None:
        """Give up all that is held."""
        while self._held:
            self._held.pop().unpersist()

    def add(self, frame: DataFrame) -> str:
        """Register `frame` as a temporary view and return its name."""
        name = f"datamart_{next(self._numbers)}"
        frame.createOrReplaceTempView(name)
        return name
