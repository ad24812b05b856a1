"""A changeset held in Spark's memory, counted once, then committed by one write."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from pyspark import StorageLevel
from pyspark.sql import functions as f

from iceberg_datamart.core.quality.touched import Touched
from iceberg_datamart.core.sql import (
    CHANGE,
    COPIES,
    DELETE,
    INSERT,
    LINEAGE,
    OLD,
    REPLACE,
    UPDATE,
    has_ranges,
    key_ranges,
    literal,
    merge_sql,
    quoted,
    within,
)
from iceberg_datamart.core.state.history import PREFIX, CommitReceipt
from iceberg_datamart.core.state.watermark import microseconds
from iceberg_datamart.crash_points import crash_point
from iceberg_datamart.lake.types import spark_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pyspark.sql import DataFrame, SparkSession

    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.lake.staging import Staging

FEW_KEYS = 10_000


@dataclass
class Changeset:
    """The rows of one table that a commit inserts, updates and deletes.

    Held in memory and on disk until `release`: MERGE reads its source twice, and a source may answer
    differently each time. `base` is the snapshot that the rows were compared with, `known_bounds` the
    predicate that bounds their keys where that is known beforehand. `counts` are of the table's rows, and
    `replaced` says how many of those that are deleted were one of several with a key that stays.
    """

    table: str
    target: str
    base: int | None
    key: tuple[Column, ...]
    columns: tuple[str, ...]
    frame: DataFrame
    absent: tuple[Column, ...] = ()
    known_bounds: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    replaced: int = 0
    held: DataFrame | None = None

    @classmethod
    def materialised(  # noqa: PLR0913  (the fields)
        cls,
        *,
        table: str,
        target: str,
        base: int | None,
        key: tuple[Column, ...],
        columns: Sequence[str],
        frame: DataFrame,
        absent: Sequence[Column] = (),
        known_bounds: str | None = None,
    ) -> Changeset:
        """Return the changeset in `frame`, computed and counted in one pass."""
        compared = frame if COPIES in frame.columns else frame.withColumn(COPIES, f.lit(0))
        held = compared.persist(StorageLevel.MEMORY_AND_DISK)
        found = held.groupBy(CHANGE).agg(f.count("*"), f.sum(COPIES)).collect()
        crash_point("changes-held")
        counts, replaced = _rows_changed({row[0]: (row[1], row[2]) for row in found})
        return cls(
            table,
            target,
            base,
            key,
            tuple(columns),
            _single_changes(held, columns) if replaced else held.drop(COPIES),
            tuple(absent),
            known_bounds,
            counts,
            replaced,
            held,
        )

    @property
    def rows(self) -> int:
        """Return how many rows change."""
        return sum(self.counts.values())

    @property
    def deletes(self) -> int:
        """Return how many rows are deleted."""
        return self.counts.get(DELETE, 0)

    @property
    def touched(self) -> Touched:
        """Return how many rows of the table the commit is to change."""
        return Touched(self.counts.get(INSERT, 0), self.counts.get(UPDATE, 0), self.deletes)

    def summary(self) -> dict[str, str]:
        """Return the counts as snapshot properties."""
        names = {"inserted": INSERT, "updated": UPDATE, "deleted": DELETE}
        return {PREFIX + name: str(self.counts.get(change, 0)) for name, change in names.items()}

    def receipt(self, snapshot_id: int) -> CommitReceipt:
        """Return the proof of this changeset's commit."""
        return CommitReceipt(
            self.table,
            snapshot_id,
            inserted=self.counts.get(INSERT, 0),
            updated=self.counts.get(UPDATE, 0),
            deleted=self.deletes,
        )

    def commit(
        self, session: SparkSession, staging: Staging, summary: Mapping[str, str], lineage: Lineage
    ) -> CommitReceipt | None:
        """Commit the rows and `summary` in one snapshot; None where no row changes (R3)."""
        if not self.rows:
            return None
        said = {**summary, **self.summary()}
        if set(self.counts) == {INSERT}:
            rows = self.frame.drop(CHANGE)
            touched = self.touched
            snapshot_id = append(rows, self.target, self.base, staging, said, lineage, self.absent, touched)
        else:
            self.frame.createOrReplaceTempView(view := quoted(f"changes_of_{self.table}"))
            text = merge_sql(
                target=self.target,
                changes=view,
                key=[column.name for column in self.key],
                columns=self.columns,
                bounds=self.bounds(),
                run_id=lineage.run_id,
                merged_at=microseconds(lineage.merged_at),
                absent=[column.name for column in self.absent],
            )
            write = partial(session.sql, text)
            snapshot_id = staging.commit(self.target, self.base, said, write, self.touched)
        return self.receipt(snapshot_id)

    def bounds(self) -> str:
        """Return literal bounds of the key columns, so that the MERGE prunes files; `true` for many rows."""
        if self.known_bounds is not None:
            return self.known_bounds
        if self.rows > FEW_KEYS:
            return "true"
        ranged = [column for column in self.key if has_ranges(column)]
        return bounds_of(ranged, few_rows(self.frame, ranged) or ())

    def release(self) -> None:
        """Give the memory back."""
        (self.held or self.frame).unpersist()


@dataclass(frozen=True)
class Lineage:
    """What every row of a run carries."""

    run_id: str
    merged_at: datetime


def _rows_changed(found: Mapping[str, tuple[int, int]]) -> tuple[dict[str, int], int]:
    """Return the rows of the table by change, and how many of the deleted ones are replaced.

    `found` has the changed keys, and the rows that the table holds of them.
    """
    keys, rows = ({change: pair[n] for change, pair in found.items()} for n in (0, 1))
    replaced = rows.get(REPLACE, 0)
    counts = {
        INSERT: keys.get(INSERT, 0) + keys.get(REPLACE, 0),
        UPDATE: keys.get(UPDATE, 0),
        DELETE: rows.get(DELETE, 0) + replaced,
    }
    return {change: number for change, number in counts.items() if number}, replaced


def _single_changes(held: DataFrame, columns: Sequence[str]) -> DataFrame:
    """Return a delete and an insert for each key to be replaced, and other changes as they are."""
    both = f"array('{DELETE}', '{INSERT}')"
    change = f"explode(CASE WHEN {CHANGE} = '{REPLACE}' THEN {both} ELSE array({CHANGE}) END) AS {CHANGE}"
    return held.selectExpr(*(quoted(name) for name in columns), change)


def inserts(rows: DataFrame) -> DataFrame:
    """Return rows that are all new as those of a changeset."""
    return rows.withColumn(CHANGE, f.lit(INSERT))


def append(  # noqa: PLR0913, PLR0917  (one commit)
    rows: DataFrame,
    target: str,
    base: int | None,
    staging: Staging,
    summary: Mapping[str, str],
    lineage: Lineage,
    absent: Sequence[Column] = (),
    touched: Touched | None = None,
) -> int:
    """Commit `rows` as new ones, in one snapshot on top of `base`; return its id.

    Right without a MERGE because publishing is refused unless the table is still at `base`, where
    none of these keys existed.
    """
    columns = [quoted(name) for name in rows.columns]
    run_id, merged_at = (column.name for column in LINEAGE)
    frame = rows.selectExpr(
        *columns,
        *(f"CAST(NULL AS {spark_type(column.type)}) AS {quoted(column.name)}" for column in absent),
        f"{literal(lineage.run_id)} AS {run_id}",
        f"{literal(microseconds(lineage.merged_at), 'timestamptz')} AS {merged_at}",
    )
    return staging.commit(target, base, summary, frame.writeTo(target).append, touched)


def few_rows(frame: DataFrame, key: Sequence[Column]) -> list[tuple[Any, ...]] | None:
    """Return the values of columns that have ranges, as `sql.literal` takes them; None for many rows."""
    rows = frame.selectExpr(*map(_numbered, key)).limit(FEW_KEYS + 1).collect() if key else []
    # As tuples: `in` asks a Row for its columns' names.
    return [tuple(row) for row in rows] if len(rows) <= FEW_KEYS else None


def _numbered(column: Column) -> str:
    """Return a key's value as `sql.literal` takes it: Python has no dates before year 1 or after 9999."""
    number = {"timestamptz": "unix_micros({})", "date": "unix_date({})"}.get(column.type, "{}")
    return number.format(quoted(column.name))


def bounds_of(key: Sequence[Column], rows: Sequence[Sequence[Any]], alias: str = OLD) -> str:
    """Return the predicate that each key column lies near one of `rows`; columns with a NULL are left out."""
    parts = []
    for position, column in enumerate(key):
        values = [row[position] for row in rows]
        if None not in values:
            parts.append(within(column.name, key_ranges(column, values), alias))
    return " AND ".join(part for part in parts if part != "true") or "true"


def sorted_within_partitions(frame: DataFrame, columns: Sequence[str]) -> DataFrame:
    """Return the rows sorted within each file to be, so that later reads by key skip row groups."""
    return frame.sortWithinPartitions(*(f.col(quoted(name)) for name in columns))
