"""The pieces of SQL that the statements about one described table are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from psycopg import sql

from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.plan.keys import NEWEST
from iceberg_datamart.core.source.reads import DELETED, wire_name
from iceberg_datamart.core.state.watermark import ReadWindow, Watermark
from iceberg_datamart.sources.postgres.jdbc import ctid_ranges
from iceberg_datamart.sources.postgres.keys import newest_rows
from iceberg_datamart.sources.postgres.rejects import fitting, if_fitting, soft_deleted
from iceberg_datamart.sources.postgres.types import literal_since_1970, number_since_1970
from iceberg_datamart.sources.postgres.widths import WIDTH

if TYPE_CHECKING:
    from datetime import datetime

    from iceberg_datamart.core.settings.model import TableConfig
    from iceberg_datamart.core.source.reads import IntegerCursor, SourceTable, StoredPart
    from iceberg_datamart.sources.postgres.catalog import Relation
    from iceberg_datamart.sources.postgres.types import PostgresColumn, Unrepresentable, Wire

PENDING = "_datamart_pending"
EVERYTHING = ReadWindow()


@dataclass(frozen=True)
class TableSql:
    """What the server's catalog and the settings say of a table.

    `wires` are those of the columns, in their order; `unfits` is all that can keep a row out of the
    mirror. `width` is the expression of a row's bytes. `committed` is an integer cursor's greatest value,
    and a time when it was known to be committed. `label` is the table's name in the settings, `known` are all
    columns of the relation.
    """

    facts: SourceTable
    relation: Relation
    wires: tuple[Wire, ...]
    config: TableConfig
    cursor: tuple[str, CursorKind] | None
    width: sql.Composable
    unfits: tuple[Unrepresentable, ...] = ()
    committed: tuple[int | None, datetime] | None = None
    label: str = ""
    known: tuple[PostgresColumn, ...] = ()

    @property
    def name(self) -> sql.Identifier:
        """Return the table's name with its schema."""
        return sql.Identifier(self.relation.schema, self.relation.table)

    @property
    def is_contested(self) -> bool:
        """Return whether rows may share a key, and the newest of them stays."""
        return not self.facts.key_is_unique and self.config.duplicates == NEWEST

    @property
    def key_wires(self) -> dict[str, sql.Composable]:
        """Return the values of the key as a mirror compares them; NULL for rows that it cannot hold."""
        names = self.facts.primary_key
        return {name: if_fitting(self.unfits, self.wire_of(name).expression) for name in names}

    def rows(self, window: ReadWindow = EVERYTHING) -> sql.Composable:
        """Return what is read in place of the table: without the rows that give way to newer ones.

        The same row stays in every window, since all rows with the key of one in `window` compete. Rows that
        the mirror cannot hold do not, and are all there.
        """
        if not self.is_contested:
            return self.name
        return newest_rows(
            self.name,
            columns=[column.name for column in self.known if column.is_readable],
            keys=list(self.key_wires.values()),
            fitting=fitting(self.unfits),
            window=self.where(window),
            cursor=if_fitting(self.unfits, self.cursor_number),
            content=if_fitting(
                self.unfits, sql.SQL("row({}, {})::text").format(self.wire_list, self.deleted)
            ),
        )

    def where(self, window: ReadWindow) -> sql.Composable:
        """Return the predicate of a window: closed below, rows without a cursor included."""
        if window.lower is None or self.cursor is None:
            return sql.SQL("true")
        name, kind = sql.Identifier(self.cursor[0]), self.cursor[1]
        start = literal_since_1970(kind.value, window.lower.value)
        if kind is CursorKind.INTEGER:
            return sql.SQL("({} >= {} or {} is null)").format(name, start, name)
        # A row before all time is in every window, too, so that it is rejected and not overlooked.
        return sql.SQL("({} >= {} or {} is null or {} = '-infinity')").format(name, start, name, name)

    @property
    def cursor_number(self) -> sql.Composable:
        """Return the cursor as the number that a `Watermark` holds."""
        if self.cursor is None:
            return sql.SQL("null::int8")
        name, kind = self.cursor
        if kind is CursorKind.INTEGER:
            return sql.Identifier(name)
        return number_since_1970(name, kind.value)

    def at_or_after(self, start: Watermark | None) -> sql.Composable:
        """Return the predicate of the rows whose cursor value is `start` or greater; of none without one."""
        if self.cursor is None or start is None:
            return sql.SQL("false")
        name = sql.Identifier(self.cursor[0])
        least = literal_since_1970(self.cursor[1].value, start.value)
        return sql.SQL("coalesce({} >= {}, false)").format(name, least)

    @property
    def elsewhere(self) -> str | None:
        """Return the warning about writers that cannot be seen; None where they can, or without a cursor."""
        why = self.facts.written_elsewhere
        if why is None or self.cursor is None:
            return None
        return (
            f"table '{self.label}': {why}, whose open transactions are not seen here, so reads start 5 "
            "minutes early; what arrives later still is found by `reconcile`"
        )

    def with_integers(
        self, integers: IntegerCursor, sequences: tuple[StoredPart, ...], when: datetime
    ) -> TableSql:
        """Return the table with where its integer cursor stood at `when`, and the files of its sequences."""
        known = replace(self.facts, integers=integers, parts=(*self.facts.parts, *sequences))
        return replace(self, facts=known, committed=(integers.greatest, when))

    def watermark(self, number: int | None) -> Watermark | None:
        """Return the watermark that a cursor number means."""
        if number is None or self.cursor is None:
            return None
        return Watermark(self.cursor[1], number)

    def wire_of(self, name: str) -> Wire:
        """Return the wire of a column."""
        return self.wires[[column.name for column in self.facts.columns].index(name)]

    @property
    def key_wire(self) -> Wire:
        """Return the wire of the first key column, by which tables are sliced."""
        return self.wire_of(self.facts.primary_key[0])

    @property
    def wire_list(self) -> sql.Composed:
        """Return the values of all columns."""
        return sql.SQL(", ").join(found.expression for found in self.wires)

    @property
    def deleted(self) -> sql.Composable:
        """Return the predicate of soft-deleted rows; never NULL."""
        return soft_deleted(self.config.soft_delete)

    @property
    def selected(self) -> sql.Composed:
        """Return the columns under their wire names, with the mark of soft-deleted rows."""
        names = sql.SQL(", ").join(
            sql.SQL("{} as {}").format(found.expression, sql.Identifier(wire_name(position)))
            for position, found in enumerate(self.wires)
        )
        if self.config.soft_delete is None:
            return names
        return sql.SQL("{}, {} as {}").format(names, self.deleted, sql.Identifier(DELETED))

    def with_width(self, names: sql.Composed) -> sql.Composed:
        """Return `names` with a row's bytes."""
        return sql.SQL("{}, {} as {}").format(names, self.width, sql.Identifier(WIDTH))

    def selection(self, names: sql.Composed, where: sql.Composable, window: ReadWindow) -> sql.Composed:
        """Return the derived table of `names` of the rows in `where` that the mirror can hold."""
        if self.unfits:
            where = sql.SQL("{} and {}").format(where, fitting(self.unfits))
        template = sql.SQL("(select {} from {} where {}) as _datamart_q")
        return template.format(names, self.rows(window), where)

    def partitioned(self, names: sql.Composed) -> tuple[sql.Composed, tuple[str, ...]]:
        """Return `names` with what tells the partitions apart, and the predicates of these."""
        if not self.relation.has_ctid or self.is_contested:
            return names, ("true",)
        predicates = ctid_ranges(self.relation.pages, self.config.partitions)
        return sql.SQL("{}, ctid as _datamart_ctid").format(names), predicates
