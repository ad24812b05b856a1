"""Names of relations in Spark's SQL: tables at a snapshot, and temporary views."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from py4j.protocol import Py4JError
from pyspark.sql.utils import CapturedException

from iceberg_datamart.core.sql.spark import quoted
from iceberg_datamart.lake.spark.java_classes import load_table
from iceberg_datamart.lake.spark.types import spark_type

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


_NO_TABLE = "NoSuchTableException"


class Relations:
    """Hands out relation names for one run."""

    def __init__(self, session: SparkSession, catalog: str, database: str) -> None:
        """Name tables within `catalog` and `database`."""
        self._session, self._catalog, self._database = session, catalog, database
        self._numbers = count(1)
        self._held: dict[str, DataFrame] = {}

    def table(self, name: str, snapshot_id: int | None = None) -> str:
        """Return a table's relation, at a snapshot where one is given, always with its present columns."""
        # Not VERSION AS OF: to Spark 3.5 with Iceberg 1.10 two versions of one table are the same relation,
        # so it drops a branch of their UNION, and answers from the other's cached rows.
        names = (self._catalog, self._database, name)
        if snapshot_id is None:
            return quoted(*names)
        relation = quoted(*names, f"snapshot_id_{snapshot_id}")
        columns = self._present_columns(quoted(*names), snapshot_id)
        return relation if columns is None else f"(SELECT {', '.join(columns)} FROM {relation})"

    def present(self, name: str) -> str | None:
        """Return a table's relation at the snapshot that readers see now; None where there is no table."""
        try:
            current = load_table(self._session, quoted(self._catalog, self._database, name)).currentSnapshot()
        except (Py4JError, CapturedException) as error:
            if _NO_TABLE in f"{getattr(error, 'stackTrace', '')}{error}":
                return None
            raise
        return self.table(name, None if current is None else int(current.snapshotId()))

    def as_it_was(self, table: str, snapshot_id: int) -> str:
        """Return the table's relation at a snapshot, with the columns of its time.

        Columns that came later are there, too, as NULL: a table may get a column before it gets rows.
        """
        present, names = quoted(self._catalog, self._database, table), (self._catalog, self._database, table)
        relation = quoted(*names, f"snapshot_id_{snapshot_id}")
        known = set(self._session.table(relation).columns)
        later = [
            f"CAST(NULL AS {column.dataType.simpleString()}) AS {quoted(column.name)}"
            for column in self._session.table(present).schema
            if column.name not in known
        ]
        return f"(SELECT {', '.join(['*', *later])} FROM {relation})"

    def _present_columns(self, table: str, snapshot_id: int) -> list[str] | None:
        """Return the table's columns as a snapshot has them; None where it has the same.

        A snapshot is read with the columns of its time. One that was added later is NULL, also where
        another one had its name then; one that was widened is cast.
        """
        loaded = load_table(self._session, table)
        schema_id = loaded.snapshot(snapshot_id).schemaId()
        if schema_id in {None, loaded.schema().schemaId()}:
            return None
        then = {field.fieldId(): field for field in loaded.schemas().get(schema_id).columns()}
        found = []
        for field in loaded.schema().columns():
            old, kind = then.get(field.fieldId()), field.type().toString()
            value = "NULL" if old is None else quoted(old.name())
            if old is None or old.type().toString() != kind:
                value = f"CAST({value} AS {spark_type(kind)})"
            found.append(f"{value} AS {quoted(field.name())}")
        return found

    def hold(self, frame: DataFrame) -> str:
        """Keep the rows of `frame` once they are computed, until they are given up; return their relation."""
        name = self.add(frame.persist())
        self._held[name] = frame
        return name

    def give_up(self, relation: str) -> None:
        """Free what keeps a held relation's rows; a second time changes nothing."""
        held = self._held.pop(relation, None)
        if held is not None:
            held.unpersist()

    def release(self) -> None:
        """Give up all that is held."""
        for relation in list(self._held):
            self.give_up(relation)

    def add(self, frame: DataFrame) -> str:
        """Register `frame` as a temporary view and return its name."""
        name = f"datamart_{next(self._numbers)}"
        frame.createOrReplaceTempView(name)
        return name
