"""One described table of a PostgreSQL source: looked at, digested and read at the session's point."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from psycopg import sql

from iceberg_datamart.core.source.reads import DELETED, Probe, RowCount, SharedKeys
from iceberg_datamart.core.source.slices import SliceDigest, Slicing, is_number
from iceberg_datamart.core.source.widths import WIDE, fetch_size
from iceberg_datamart.sources.postgres.digests import digests_query, in_slices
from iceberg_datamart.sources.postgres.keys import shared_keys_query
from iceberg_datamart.sources.postgres.probes import counted_query, few_rows_query
from iceberg_datamart.sources.postgres.rejects import (
    digest_of,
    fitting,
    if_fitting,
    rejected_keys_sql,
    rejected_rows,
    rejected_sql,
)
from iceberg_datamart.sources.postgres.table_sql import EVERYTHING, PENDING
from iceberg_datamart.sources.postgres.widths import WIDTH

if TYPE_CHECKING:
    from iceberg_datamart.core.source.reads import QueryRead, RejectedRow, SourceTable
    from iceberg_datamart.core.source.slices import Slices
    from iceberg_datamart.core.state.watermark import ReadWindow, Watermark
    from iceberg_datamart.sources.postgres.point import Point
    from iceberg_datamart.sources.postgres.table_sql import TableSql

_FEW_ROWS = 10_000
_LEAST_SLICES, _MOST_SLICES = 1024, 65_536


class PostgresTable:
    """One table; see `ports.DescribedTable` for what each method promises."""

    def __init__(self, point: Point, table: TableSql) -> None:
        """Ask the server nothing yet."""
        self._point, self._table = point, table
        # What looks at the table told of what is read next: how many rows, and the bytes of the widest.
        self._rows, self._widest = 0, 0

    @property
    def facts(self) -> SourceTable:
        """Return the columns, key and identity, and all else that the server's catalog says."""
        return self._table.facts

    def probe(self, window: ReadWindow) -> Probe:
        """Return what the window holds; its keys where it is small. One index scan of a small window."""
        table = self._table
        if window.lower is None:
            return self._counted(window)
        few = self._point.fetched(few_rows_query(table, window, _FEW_ROWS + 1))
        if len(few) > _FEW_ROWS:
            return self._counted(window)
        self._rows, self._widest = len(few), max((row[1] for row in few), default=0)
        found = [row[2:] for row in few if row[0]]
        greatest = max((row[-1] for row in found if row[-1] is not None), default=None)
        return Probe(
            len(found),
            table.watermark(greatest),
            tuple(row[:-1] for row in found),
            self._settled(),
            rejected=len(few) - len(found),
            shared=self._shared_keys(window),
        )

    def _counted(self, window: ReadWindow) -> Probe:
        """Return the rows and the greatest cursor value of a large window: one scan, nothing transferred."""
        rows, greatest, rejected, widest = self._point.fetched(counted_query(self._table, window))[0]
        self._rows, self._widest = rows, widest
        return Probe(
            rows,
            self._table.watermark(greatest),
            settled=self._settled(),
            rejected=rejected,
            shared=self._shared_keys(window),
        )

    def _settled(self) -> Watermark | None:
        """Return the value below which no transaction can still write: all that drew less have ended."""
        table, horizon = self._table, self._point.horizon
        if table.committed is None or horizon is None or not horizon.visible:
            return None
        if self.facts.written_elsewhere is not None:
            return None
        greatest, when = table.committed
        if horizon.held_since is not None and horizon.held_since <= when:
            return None
        return table.watermark(greatest)

    def _shared_keys(self, window: ReadWindow) -> SharedKeys:
        """Return the window's keys that more than one row of the whole table has; none where it is proven."""
        table = self._table
        if self.facts.key_is_unique:
            return SharedKeys()
        query = shared_keys_query(
            table.name, keys=table.key_wires, fitting=fitting(table.unfits), window=table.where(window)
        )
        keys, rows, example = self._point.fetched(query)[0]
        return SharedKeys(keys, rows, keys, example or "")

    def rows_in(self, window: ReadWindow) -> RowCount:
        """Return how many rows the window holds, counted where they are few, else as the planner guesses."""
        table = self._table
        few = sql.SQL("select count(*) from (select 1 from {} where {} limit {}) as _datamart_q").format(
            table.name, table.where(window), _FEW_ROWS + 1
        )
        rows = int(self._point.fetched(few)[0][0])
        if rows <= _FEW_ROWS:
            return RowCount(rows)
        guess = sql.SQL("explain (format json) select 1 from {} where {}")
        ((plans,),) = self._point.fetched(guess.format(table.name, table.where(window)))
        return RowCount(max(rows, int(plans[0]["Plan"]["Plan Rows"])), is_estimate=True)

    def fingerprint(self, window: ReadWindow) -> str | None:
        """Return a digest of the window's rows and of how they are read; None where they are many.

        Two equal digests mean that a mirror which held these rows then still holds them now, and that
        the same rows are rejected.
        """
        table, columns = self._table, self.facts.columns
        fit = sql.SQL("md5(row({}, {})::text)").format(table.wire_list, table.deleted)
        row = digest_of(table.unfits, fit, [column.name for column in columns])
        query = sql.SQL("select {} from {} where {} limit {}").format(
            row, table.rows(window), table.where(window), _FEW_ROWS + 1
        )
        rows = self._point.fetched(query)
        if len(rows) > _FEW_ROWS:
            return None
        shape = repr((columns, table.config.soft_delete))
        digest = hashlib.sha256("\n".join([shape, *sorted(row[0] for row in rows)]).encode())
        return digest.hexdigest()[:32]

    def digests(self) -> tuple[Slicing, dict[int, SliceDigest]]:
        """Return how the table is sliced, and what each slice holds: one scan at the server."""
        table, key = self._table, self._table.key_wire
        kept = fitting(table.unfits)
        first = next(c for c in self.facts.columns if c.name == self.facts.primary_key[0])
        ends: tuple[int | None, int | None] = (None, None)
        if is_number(first):
            query = sql.SQL("select min({k}), max({k}) from {} where {}")
            ends = self._point.fetched(query.format(table.name, kept, k=key.expression))[0]
        count = min(_MOST_SLICES, max(_LEAST_SLICES, table.relation.pages))
        slicing = Slicing.of(first, *ends, count)
        kept = sql.SQL("{} and not {}").format(kept, table.deleted)
        digests = digests_query(table.rows(), table.wires, slicing, key, kept, table.width)
        found = self._point.fetched(digests)
        self._rows, self._widest = sum(row[1] for row in found), max((row[4] for row in found), default=0)
        return slicing, {row[0]: SliceDigest(row[1], (int(row[2]), int(row[3]))) for row in found}

    def read(self, window: ReadWindow) -> QueryRead:
        """Return how the window is read; everything in partitions."""
        names = self._table.selected
        predicates: tuple[str, ...] = ("true",)
        if window.lower is None:
            names, predicates = self._table.partitioned(names)
        return self._read(names, self._table.where(window), predicates, self._rows, window)

    def read_slices(self, slices: Slices, pending_from: Watermark | None = None) -> QueryRead:
        """Return how some slices are read whole, rows from `pending_from` on marked as pending."""
        table, key = self._table, self._table.key_wire
        where = if_fitting([key.unfit] if key.unfit else [], in_slices(slices, key))
        pending = table.at_or_after(pending_from)
        names = sql.SQL("{}, {} as {}").format(table.selected, pending, sql.Identifier(PENDING))
        predicates: tuple[str, ...] = ("true",)
        if slices.rows > _FEW_ROWS:
            names, predicates = table.partitioned(names)
        return replace(self._read(names, where, predicates, slices.rows), pending=PENDING)

    def _read(
        self,
        names: sql.Composed,
        where: sql.Composable,
        predicates: tuple[str, ...],
        rows: int,
        window: ReadWindow = EVERYTHING,
    ) -> QueryRead:
        table = self._table
        apart = self._widest > WIDE and rows > _FEW_ROWS
        query = table.selection(table.with_width(names) if apart else names, where, window)
        mark = None if table.config.soft_delete is None else DELETED
        read = replace(self._point.read(query, self.facts.columns, predicates, mark), widest=self._widest)
        return read.reading_wide_rows_apart(WIDTH) if apart else read

    def unfit_rows(self) -> int:
        """Return how many rows the mirror cannot hold; soft-deleted ones need not be there."""
        table = self._table
        if not table.unfits:
            return 0
        query = sql.SQL("select count(*) from {} where not ({}) and not {}")
        found = self._point.fetched(query.format(table.name, fitting(table.unfits), table.deleted))
        return int(found[0][0])

    def rejected(self, window: ReadWindow) -> tuple[RejectedRow, ...]:
        """Return the window's rows that the mirror cannot hold. Raises: UnfitValueError for too many."""
        table = self._table
        names = [column.name for column in self.facts.columns]
        query = rejected_sql(table.name, names, table.where(window), table.unfits)
        with self._point.savepoint() as connection, connection.cursor("_datamart_rejected") as cursor:
            cursor.itersize = fetch_size(self._widest)
            return rejected_rows(table.label, cursor.execute(query))

    def rejected_keys(self) -> QueryRead:
        """Return how the keys of all rejected rows are read, but for those whose key itself is unfit."""
        table = self._table
        found = zip(self.facts.columns, table.wires, strict=True)
        key = {column: wire for column, wire in found if column.name in self.facts.primary_key}
        wires = {column.name: wire for column, wire in key.items()}
        return self._point.read(rejected_keys_sql(table.name, wires, table.unfits), tuple(key))
