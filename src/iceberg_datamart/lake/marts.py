"""What becomes of one mart: the join at its mirrors' snapshots, compared with what the mart holds (R8)."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from iceberg_datamart.core.changes import Append
from iceberg_datamart.core.mart.arms import Delta, Taken, changed_keys_sql, joined_arms, restricted_sql
from iceberg_datamart.core.quality.audits import audits_of
from iceberg_datamart.core.quality.checks import checks_of
from iceberg_datamart.core.report.progress import FINDING, JOINING, WRITING
from iceberg_datamart.core.report.verification import Verified
from iceberg_datamart.core.sql.bounds import has_ranges, one_of
from iceberg_datamart.core.sql.changeset import Sides, changeset_sql, differences_sql
from iceberg_datamart.core.sql.keys import repeated_key_sql
from iceberg_datamart.core.sql.reserved import ROW
from iceberg_datamart.errors import ConfigError, LakeError
from iceberg_datamart.lake.auditing import Auditor
from iceberg_datamart.lake.changeset import Target, computed, few_rows, inserts_sql
from iceberg_datamart.lake.checking import checked
from iceberg_datamart.lake.differences import counted
from iceberg_datamart.lake.types import iceberg_schema
from iceberg_datamart.ports import Merged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.core.mart.arms import Arm
    from iceberg_datamart.lake.changeset import Changeset
    from iceberg_datamart.lake.engine import Engine
    from iceberg_datamart.lake.mirrors import Writer
    from iceberg_datamart.ports import ConsumedMirror, MartMaintenance


def planned_join(engine: Engine, maintenance: MartMaintenance) -> MartJoin:
    """Return a mart's join; nothing is read, and the mart need not be there. Raises: ConfigError."""
    with engine.at_work(maintenance.shape.name):
        join = MartJoin(engine, maintenance)
        # A repetition is joined whole, and once.
        if not maintenance.as_it_was:
            join.require_row_local()
        return join


def mart_differences(engine: Engine, maintenance: MartMaintenance) -> Verified:
    """Return how a mart compares with its join, both counted and then row by row."""
    with engine.at_work(maintenance.shape.name):
        join = MartJoin(engine, maintenance)
        expected, held = join.counts()
        return Verified(expected, held, counted(engine, join.differences_sql(), maintenance.shape.key))


def maintain_mart(writer: Writer, join: MartJoin) -> Merged:
    """Commit the mart's change, or its state alone where no row of it changes.

    Its table is there, with the columns of `join`. Raises: see `ports.Lake.maintain`.
    """
    engine, maintenance = writer.engine, join.maintenance
    shape, summary = maintenance.shape, maintenance.state.summary()
    with engine.at_work(shape.name):
        engine.board.tell(shape.name, JOINING)
        join.require_one_row_a_key()
        checks = checks_of(f"marts.{shape.name}", maintenance.checks, join.columns)
        auditor = _auditor(engine, maintenance, join.columns)
        current = None if maintenance.base is None else maintenance.base.current
        if current is None and not checks.look_at_rows:
            rows = engine.define(join.rows_sql())
            engine.board.tell(shape.name, f"{JOINING} and {WRITING}")
            append = Append(shape.name, rows, shape.columns, writer.lineage(), order=join.order)
            first = writer.append(append, auditor, summary)
            return Merged(first.inserted, first, warnings=auditor.warnings)
        changes = join.first() if current is None else join.changeset()
    try:
        held = writer.rows_of(shape.name, maintenance.base) if checks.counts else 0
        passed = checked(engine, changes, checks, held)
        publishing = writer.publishing(auditor)
        receipt = passed.changes.commit(engine, publishing, summary, writer.lineage())
    finally:
        changes.release(engine)
    if receipt is None:
        receipt = changes.receipt(writer.stamp(shape.name, changes.target.base, summary))
    return Merged(changes.rows, receipt, warnings=(*passed.warnings, *auditor.warnings))


def _auditor(engine: Engine, maintenance: MartMaintenance, columns: Sequence[Column]) -> Auditor:
    """Return what audits a mart beside the snapshots of the mirrors that it is the join of."""
    shape = maintenance.shape
    audits = audits_of(f"marts.{shape.name}", maintenance.audits, columns, shape.key)
    pinned = {mirror.table: mirror.now for mirror in maintenance.mirrors}
    return Auditor(engine, shape.name, audits, pinned)


class MartJoin:
    """One mart's join, its mirrors pinned to snapshots, and the mart's own base snapshot."""

    def __init__(self, engine: Engine, maintenance: MartMaintenance) -> None:
        """Take the snapshots from `maintenance`; no row is read yet."""
        self.maintenance = maintenance
        self._engine, self._shape = engine, maintenance.shape
        self._dialect = engine.dialect
        self._at = engine.as_it_was if maintenance.as_it_was else engine.table
        self._pinned = {
            mirror.table: f"(SELECT * FROM {engine.table(mirror.table)} WHERE false)"
            if mirror.now is None
            else self._at(mirror.table, mirror.now)
            for mirror in maintenance.mirrors
        }
        base = maintenance.base
        self._base = None if base is None or base.current is None else base.current.snapshot_id
        self._join = f"({self._shape.join_sql(self._dialect, self._pinned)})"

    @property
    def order(self) -> tuple[str, ...]:
        """Return the columns by which rows lie in their files: the finest table's key first."""
        return tuple(reversed(self._shape.key))

    def require_row_local(self) -> None:
        """Refuse expressions and a filter that depend on more than a row (R21). Raises: ConfigError."""
        shape, rows = self._shape, self._shape.outputs_sql(self._dialect, self._pinned)
        for name, text in shape.expressions.items():
            self._engine.require_row_local(rows, text, f"marts.{shape.name}.expressions.{name}")
        if shape.filter is not None:
            place = f"marts.{shape.name}.filter"
            self._engine.require_row_local(rows, shape.filter, place, is_filter=True)

    def require_one_row_a_key(self) -> None:
        """Raise LakeError where another tool wrote a mirror's key twice, so that the join has one twice."""
        doubtful, shape = self.maintenance.doubtful, self._shape
        if not doubtful:
            return
        for row in self._engine.fetch(repeated_key_sql(self._dialect, self._join, shape.key)):
            key = ", ".join(f"{name}={value}" for name, value in zip(shape.key, row, strict=True))
            message = f"mart '{shape.name}' would have the key {key} twice: another tool wrote a key twice"
            tables = " ".join(f"--table {table}" for table in doubtful)
            raise LakeError(
                f"{message} in {' or '.join(doubtful)}", hint=f"iceberg-datamart reconcile {tables}"
            )

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The mart's columns, with the types that the engine finds for the join; asked once.

        Raises: ConfigError for an expression of a type that no Iceberg column has.
        """
        required = set() if self._shape.nullable_key else set(self._shape.key)
        with self._engine.at_work(self._shape.name):
            found = self._engine.columns(f"SELECT * FROM {self._join}")
        return tuple(self._as_held(replace(c, nullable=c.name not in required)) for c in found)

    def _as_held(self, column: Column) -> Column:
        try:
            iceberg_schema([column], ())
        except ValueError as error:
            place = f"marts.{self._shape.name}.expressions.{column.name}"
            hint = "CAST it, to string for example. Nothing was written."
            raise ConfigError(f"{place}: no column of a mart is of {column.type}", hint=hint) from error
        return column

    def rows_sql(self) -> str:
        """Return the SELECT of all rows of the mart."""
        return self._shape.taken_sql(self._dialect, self._pinned, [])

    def first(self) -> Changeset:
        """Return all rows of the mart as the changeset of an empty one."""
        rows = inserts_sql(self._dialect, f"({self.rows_sql()})", self._shape.columns)
        return computed(self._engine, self._target(self.order), rows)

    def changeset(self) -> Changeset:
        """Return what must change in the mart, restricted to what the mirrors' changes can touch (R8)."""
        board = self._engine.board
        board.tell(self._shape.name, FINDING)
        sides = self._sides(self._arms())
        board.tell(self._shape.name, JOINING)
        return computed(self._engine, self._target(), changeset_sql(self._dialect, sides, full=True))

    def _sides(self, arms: Sequence[Taken]) -> Sides:
        """Return the rows that any arm takes, of the join and of the mart.

        Of a mart that is known to be its join, what unchanged mirrors gave it is not read.
        """
        shape, changed = self._shape, self.maintenance.changed
        new = shape.taken_sql(self._dialect, self._pinned, arms)
        sides = Sides(new=f"({new})", old="", key=shape.key, columns=shape.columns, null_safe=True)
        if changed is not None:
            sides = replace(sides, compared=shape.columns_after(changed))
        held = self._engine.table(shape.name, self._base)
        return replace(sides, old=f"({restricted_sql(self._dialect, held, sides.of_old, arms)})")

    def _target(self, order: Sequence[str] = ()) -> Target:
        key = tuple(column for column in self.columns if column.name in self._shape.key)
        return Target(self._shape.name, self._base, key, self._shape.columns, order=order)

    def counts(self) -> tuple[int, int]:
        """Return the rows of the join and those of the mart."""
        joined, held = (
            int(self._engine.fetch(f"SELECT count(*) FROM {relation}")[0][0])
            for relation in (self._join, self._held())
        )
        return joined, held

    def differences_sql(self) -> str:
        """Return the SELECT of the rows in which the mart is not its join."""
        shape = self._shape
        rows = f"({self.rows_sql()})"
        sides = Sides(new=rows, old=self._held(), key=shape.key, columns=shape.columns, null_safe=True)
        return differences_sql(self._dialect, sides)

    def _held(self) -> str:
        """Return the mart's own relation, as the join is read."""
        name = self._shape.name
        return self._engine.table(name) if self._base is None else self._at(name, self._base)

    def _arms(self) -> list[Taken]:
        """Return how to find the rows that each arm takes."""
        changed = self.maintenance.changed or ()
        arms = joined_arms(self._arm(m) for m in self.maintenance.mirrors if m.table in changed)
        types = {column.name: column for column in self.columns}
        return [self._taken(arm, types) for arm in arms]

    def _arm(self, mirror: ConsumedMirror) -> Arm:
        delta = Delta(
            now=self._engine.table(mirror.table, mirror.now),
            before=self._engine.table(mirror.table, mirror.before),
            run_ids=mirror.run_ids,
            deletes=mirror.deletes,
        )
        node = next(node for node in self._shape.nodes if node.table == mirror.table)
        keys = changed_keys_sql(self._dialect, delta, node.shape.primary_key)
        return self._shape.arm(self._dialect, mirror.table, delta, self._engine.define(keys))

    def _taken(self, arm: Arm, types: dict[str, Column]) -> Taken:
        # A key of another type than the column that it is compared with has other literals.
        alike = [types[c.name] for c in self._engine.columns(arm.keys) if c.type == types[c.name].type]
        ranged = [column for column in alike if has_ranges(column)]
        rows = few_rows(self._engine, f"({arm.keys})", ranged)
        if rows is not None and len(ranged) == len(arm.outputs) and one_of(self._dialect, ranged, rows, ROW):
            # These keys are not read again.
            return Taken(arm.outputs, ranged, rows, None)
        return Taken(arm.outputs, ranged, rows or (), self._engine.hold(arm.keys))
