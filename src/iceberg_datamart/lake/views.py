"""Names of relations in Spark's SQL: tables at a snapshot, and temporary views."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from iceberg_datamart.sql import quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class Views:
    """Hands out relation names for one run."""

    def __init__(self, session: SparkSession, catalog: str, database: str) -> None:
        """Name tables within `catalog` and `database`."""
        self._session, self._catalog, self._database = session, catalog, database
        self._numbers = count(1)
        self._held: list[DataFrame] = []

    def relation(self, table: str, snapshot_id: int | None = None) -> str:
        """Return the table's relation, at a snapshot where one is given, always with its present columns."""
        # Not VERSION AS OF: to Spark 3.5 with Iceberg 1.10 two versions of one table are the same relation,
        # so it drops a branch of their UNION, and answers from the other's cached rows.
        names = (self._catalog, self._database, table)
        if snapshot_id is None:
            return quoted(*names)
        relation = quoted(*names, f"snapshot_id_{snapshot_id}")
        added = self._added_since(quoted(*names), relation, snapshot_id)
        return relation if not added else f"(SELECT *, {', '.join(added)} FROM {relation})"

    def empty(self, table: str) -> str:
        """Return the table's relation as it was before its first snapshot."""
        return f"(SELECT * FROM {self.relation(table)} WHERE false)"

    def present(self, table: str) -> str:
        """Return the table's relation at the snapshot that readers see now."""
        current = self._loaded(quoted(self._catalog, self._database, table)).currentSnapshot()
        return self.relation(table, None if current is None else int(current.snapshotId()))

    def _added_since(self, table: str, then: str, snapshot_id: int) -> list[str]:
        """Return the columns that the table has got since the snapshot, each as a NULL of its type.

        A snapshot is read with the columns of its time.
        """
        loaded = self._loaded(table)
        if loaded.snapshot(snapshot_id).schemaId() == loaded.schema().schemaId():
            return []
        known = set(self._session.table(then).columns)
        return [
            f"CAST(NULL AS {column.dataType.simpleString()}) AS {quoted(column.name)}"
            for column in self._session.table(table).schema
            if column.name not in known
        ]

    def _loaded(self, table: str) -> Any:
        jvm: Any = self._session._jvm  # noqa: SLF001
        java = self._session._jsparkSession  # noqa: SLF001
        return jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(java, table)

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
