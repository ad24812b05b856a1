"""A changeset: computed and counted once, held, then committed by one write."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from iceberg_datamart.core.changes import Append, Merge
from iceberg_datamart.core.quality.touched import Touched
from iceberg_datamart.core.report.progress import WRITING
from iceberg_datamart.core.sql.bounds import bounds_of, has_ranges
from iceberg_datamart.core.sql.changeset import single_changes_sql
from iceberg_datamart.core.sql.dialect import listed
from iceberg_datamart.core.sql.reserved import CHANGE, COPIES, DELETE, INSERT, REPLACE, UPDATE
from iceberg_datamart.core.state.commit import PREFIX, CommitReceipt
from iceberg_datamart.crash_points import crash_point

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from iceberg_datamart.core.changes import Lineage
    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.core.sql.dialect import Dialect
    from iceberg_datamart.lake.engine import Engine
    from iceberg_datamart.lake.publishing import Publishing

FEW_KEYS = 10_000


@dataclass(frozen=True)
class Target:
    """The table that a changeset changes, and the snapshot `base` that its rows were compared with.

    `columns` are those of the changed rows, `absent` those that only the table has. `order` is that of new
    rows within their files. `known_bounds` is the predicate that bounds the keys, where it is known before.
    """

    table: str
    base: int | None
    key: tuple[Column, ...]
    columns: Sequence[str]
    absent: Sequence[Column] = ()
    order: Sequence[str] = ()
    known_bounds: str | None = None


@dataclass(frozen=True)
class Changeset:
    """The rows of one table that a commit inserts, updates and deletes, in `relation`.

    Held until `release`: MERGE reads its source twice, and a source may answer differently each time.
    `counts` are of the table's rows, and `replaced` says how many of those that are deleted were one of
    several with a key that stays.
    """

    target: Target
    relation: str
    counts: Mapping[str, int] = field(default_factory=dict)
    replaced: int = 0
    held: str = ""

    @property
    def table(self) -> str:
        """Return the table that is changed."""
        return self.target.table

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
        self, engine: Engine, publishing: Publishing, summary: Mapping[str, str], lineage: Lineage
    ) -> CommitReceipt | None:
        """Commit the rows and `summary` in one snapshot; None where no row changes (R3)."""
        if not self.rows:
            return None
        change = self._append(lineage) if set(self.counts) == {INSERT} else self._merge(engine, lineage)
        properties = {**summary, **self.summary()}
        engine.board.tell(self.table, WRITING, total=self.rows - self.deletes)
        staged = publishing.commit(change, self.target.base, properties, self.touched)
        return self.receipt(staged.snapshot_id)

    def _append(self, lineage: Lineage) -> Append:
        """Return the change of rows that are all new.

        Right without a MERGE because publishing is refused unless the table is still at the base, where
        none of these keys existed.
        """
        target = self.target
        return Append(target.table, self.relation, target.columns, lineage, target.absent, target.order)

    def _merge(self, engine: Engine, lineage: Lineage) -> Merge:
        target, key = self.target, [column.name for column in self.target.key]
        with engine.at_work(target.table):
            bounds = self._bounds(engine)
        return Merge(target.table, self.relation, key, target.columns, lineage, target.absent, bounds)

    def _bounds(self, engine: Engine) -> str:
        """Return literal bounds of the key columns, so that the MERGE prunes files; `true` for many rows."""
        if self.target.known_bounds is not None:
            return self.target.known_bounds
        if self.rows > FEW_KEYS:
            return "true"
        ranged = [column for column in self.target.key if has_ranges(column)]
        return bounds_of(engine.dialect, ranged, few_rows(engine, self.relation, ranged) or ())

    def release(self, engine: Engine) -> None:
        """Give the memory back."""
        engine.give_up(self.held)


def computed(engine: Engine, target: Target, select: str) -> Changeset:
    """Return the changeset that `changeset_sql` selects, computed and counted in one pass."""
    held = engine.hold(select)
    found = engine.fetch(f"SELECT {CHANGE}, count(*), sum({COPIES}) FROM {held} GROUP BY {CHANGE}")
    crash_point("changes-held")
    counts, replaced = _rows_changed({change: (keys, copies) for change, keys, copies in found})
    relation = engine.define(single_changes_sql(engine.dialect, held, target.columns)) if replaced else held
    return Changeset(target, relation, counts, replaced, held)


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


def inserts_sql(dialect: Dialect, relation: str, columns: Sequence[str]) -> str:
    """Return the SELECT of rows that are all new as those of a changeset."""
    return f"SELECT {listed(dialect, columns)}, 0 AS {COPIES}, '{INSERT}' AS {CHANGE} FROM {relation}"


def few_rows(engine: Engine, relation: str, key: Sequence[Column]) -> list[tuple[Any, ...]] | None:
    """Return the values of columns that have ranges, as literals take them; None for many rows."""
    if not key:
        return []
    dialect = engine.dialect
    values = ", ".join(dialect.number(dialect.quoted(column.name), column.type) for column in key)
    rows = engine.fetch(f"SELECT {values} FROM {relation} LIMIT {FEW_KEYS + 1}")
    return rows if len(rows) <= FEW_KEYS else None
