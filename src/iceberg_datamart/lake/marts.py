"""A mart's changeset: the join at the mirrors' present snapshots, compared with what the mart holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.core.columns import Column, decimal_size, element_of, list_of
from iceberg_datamart.core.mart.shape import Delta, changed_keys_sql, joined_arms, restricted_sql
from iceberg_datamart.core.sql import (
    ROW,
    Sides,
    changeset_sql,
    differences_sql,
    has_ranges,
    one_of,
    repeated_key_sql,
)
from iceberg_datamart.errors import ConfigError, LakeError
from iceberg_datamart.lake.analysis import require_row_local
from iceberg_datamart.lake.changes import (
    Changeset,
    bounds_of,
    few_rows,
    inserts,
    sorted_within_partitions,
)
from iceberg_datamart.lake.types import iceberg_schema

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from iceberg_datamart.core.mart.shape import Arm, Taken
    from iceberg_datamart.lake.views import Views
    from iceberg_datamart.ports import ConsumedMirror, MartMaintenance

_ICEBERG_TYPES = {
    "bigint": "long",
    "smallint": "int",
    "tinyint": "int",
    "timestamp": "timestamptz",
    "timestamp_ntz": "timestamp",
}


class MartComparison:
    """One mart, its mirrors pinned to snapshots, and its own base snapshot."""

    def __init__(self, session: SparkSession, maintenance: MartMaintenance, views: Views) -> None:
        """Take the snapshots from `maintenance`; nothing is read yet."""
        self._session, self._maintenance, self._views = session, maintenance, views
        self._shape = maintenance.shape
        at = views.as_it_was if maintenance.as_it_was else views.relation
        self._pinned = {
            mirror.table: views.empty(mirror.table) if mirror.now is None else at(mirror.table, mirror.now)
            for mirror in maintenance.mirrors
        }
        base = maintenance.base
        self._base = None if base is None or base.current is None else base.current.snapshot_id
        self._held = (
            views.relation(self._shape.name) if self._base is None else at(self._shape.name, self._base)
        )
        self._join = f"({self._shape.join_sql(self._pinned)})"

    def require_row_local(self) -> None:
        """Refuse expressions and a filter that depend on more than a row (R21). Raises: ConfigError."""
        shape, rows = self._shape, self._session.sql(self._shape.outputs_sql(self._pinned))
        for name, text in shape.expressions.items():
            require_row_local(rows, text, f"marts.{shape.name}.expressions.{name}")
        if shape.filter is not None:
            place = f"marts.{shape.name}.filter"
            require_row_local(rows, shape.filter, place, is_filter=True)

    def require_one_row_a_key(self) -> None:
        """Raise LakeError where another tool wrote a mirror's key twice, so that the join has one twice."""
        doubtful, shape = self._maintenance.doubtful, self._shape
        row = self._session.sql(repeated_key_sql(self._join, shape.key)).first() if doubtful else None
        if row is not None:
            key = ", ".join(f"{name}={value}" for name, value in zip(shape.key, row, strict=True))
            message = f"mart '{shape.name}' would have the key {key} twice: another tool wrote a key twice"
            tables = " ".join(f"--table {table}" for table in doubtful)
            raise LakeError(
                f"{message} in {' or '.join(doubtful)}", hint=f"iceberg-datamart reconcile {tables}"
            )

    def columns(self) -> tuple[Column, ...]:
        """Return the mart's columns with the types that Spark finds for the join.

        Raises: ConfigError for an expression of a type that no Iceberg column has.
        """
        required = set() if self._shape.nullable_key else set(self._shape.key)
        found = []
        for item in self._session.sql(f"SELECT * FROM {self._join}").schema:
            kind = item.dataType.simpleString()
            column = Column(item.name, iceberg_type(kind), nullable=item.name not in required)
            try:
                iceberg_schema([column], ())
            except ValueError as error:
                place = f"marts.{self._shape.name}.expressions.{item.name}"
                hint = "CAST it, to string for example. Nothing was written."
                raise ConfigError(f"{place}: no column of a mart is of {kind}", hint=hint) from error
            found.append(column)
        return tuple(found)

    def rows(self) -> DataFrame:
        """Return all rows of the mart, sorted in each file to be by the finest table's key first."""
        shape = self._shape
        frame = self._session.sql(restricted_sql(self._join, shape.columns, []))
        return sorted_within_partitions(frame, tuple(reversed(shape.key)))

    def first(self, columns: tuple[Column, ...]) -> Changeset:
        """Return all rows of the mart as the changeset of an empty one."""
        return self._changes(columns, inserts(self.rows()))

    def changeset(self, columns: tuple[Column, ...]) -> Changeset:
        """Return what must change in the mart, restricted to what the mirrors' changes can touch (R8)."""
        shape, snapshot = self._shape, self._base
        arms = self._arms(columns)
        new = restricted_sql(self._join, shape.columns, arms)
        old = restricted_sql(self._views.relation(shape.name, snapshot), shape.columns, arms)
        text = changeset_sql(
            Sides(new=f"({new})", old=f"({old})", key=shape.key, columns=shape.columns, null_safe=True),
            full=True,
        )
        return self._changes(columns, self._session.sql(text))

    def _changes(self, columns: tuple[Column, ...], frame: DataFrame) -> Changeset:
        return Changeset.materialised(
            table=self._shape.name,
            target=self._views.relation(self._shape.name),
            base=self._base,
            key=tuple(column for column in columns if column.name in self._shape.key),
            columns=self._shape.columns,
            frame=frame,
        )

    def counts(self) -> tuple[int, int]:
        """Return the rows of the join and those of the mart."""
        relations = (self._join, self._held)
        joined, held = (self._session.sql(f"SELECT count(*) FROM {each}").first() for each in relations)
        return (joined[0] if joined else 0), (held[0] if held else 0)

    def differences(self) -> DataFrame:
        """Return the rows in which the mart is not its join: see `sql.differences_sql`."""
        shape = self._shape
        text = differences_sql(
            Sides(
                new=f"({restricted_sql(self._join, shape.columns, [])})",
                old=self._held,
                key=shape.key,
                columns=shape.columns,
                null_safe=True,
            )
        )
        return self._session.sql(text)

    def _arms(self, columns: tuple[Column, ...]) -> list[Taken]:
        """Return how to find the rows that each arm takes."""
        changed = self._maintenance.changed or ()
        arms = joined_arms(self._arm(m) for m in self._maintenance.mirrors if m.table in changed)
        types = {column.name: column for column in columns}
        return [self._taken(arm, types) for arm in arms]

    def _arm(self, mirror: ConsumedMirror) -> Arm:
        delta = Delta(
            now=self._views.relation(mirror.table, mirror.now),
            before=self._views.relation(mirror.table, mirror.before),
            run_ids=mirror.run_ids,
            deletes=mirror.deletes,
        )
        node = next(node for node in self._shape.nodes if node.table == mirror.table)
        keys = changed_keys_sql(delta, node.shape.primary_key)
        return self._shape.arm(mirror.table, delta, self._views.add(self._session.sql(keys)))

    def _taken(self, arm: Arm, types: dict[str, Column]) -> Taken:
        found = self._session.sql(arm.keys)
        # A key of another type than the column that it is compared with has other literals.
        alike = [
            types[item.name]
            for item in found.schema
            if iceberg_type(item.dataType.simpleString()) == types[item.name].type
        ]
        ranged = [column for column in alike if has_ranges(column)]
        rows = few_rows(found, ranged)
        listed = one_of(ranged, rows, ROW) if rows is not None and len(ranged) == len(arm.outputs) else None
        # Keys that are listed are not read again.
        keys = self._views.add(self._views.held(found)) if listed is None else f"({arm.keys})"
        return arm.taken(keys, bounds_of(ranged, rows or (), ROW), listed)


def iceberg_type(spark_type: str) -> str:
    """Return the Iceberg type that holds what Spark calls `spark_type`."""
    element, size = element_of(spark_type), decimal_size(spark_type)
    if element is not None:
        return list_of(iceberg_type(element))
    return str(size) if size is not None else _ICEBERG_TYPES.get(spark_type, spark_type)
