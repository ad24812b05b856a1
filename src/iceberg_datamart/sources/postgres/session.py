"""PostgreSQL as a source: one consistent point for all tables, windows pushed into the query."""

from __future__ import annotations

import hashlib
from contextlib import closing, contextmanager
from dataclasses import replace
from threading import RLock
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.source.reads import DELETED, JdbcRead, Probe, RejectedRow, SharedKeys, SourceTable
from iceberg_datamart.core.source.slices import SliceDigest, Slices, Slicing, is_number
from iceberg_datamart.core.source.widths import WIDE, fetch_size
from iceberg_datamart.sources.postgres import catalog
from iceberg_datamart.sources.postgres.connection import (
    awaited,
    awaited_with_options,
    export_snapshot,
    importing,
    transaction,
    translated,
)
from iceberg_datamart.sources.postgres.digests import digests_query, in_slices
from iceberg_datamart.sources.postgres.horizon import look_at
from iceberg_datamart.sources.postgres.jdbc import credentials_of, jdbc_text, jdbc_url
from iceberg_datamart.sources.postgres.keys import shared_keys_query
from iceberg_datamart.sources.postgres.locks import Locks
from iceberg_datamart.sources.postgres.predicates import require_steady
from iceberg_datamart.sources.postgres.probes import counted_query, few_rows_query
from iceberg_datamart.sources.postgres.recipe import recipe_of
from iceberg_datamart.sources.postgres.rejects import (
    but_deleted,
    digest_of,
    fitting,
    if_fitting,
    rejected_keys_sql,
    rejected_rows,
    rejected_sql,
    unfits_of,
)
from iceberg_datamart.sources.postgres.relations import written_elsewhere
from iceberg_datamart.sources.postgres.sequences import integers_of, sequences_of
from iceberg_datamart.sources.postgres.settings import settings_for
from iceberg_datamart.sources.postgres.storage import at_point, parts_of
from iceberg_datamart.sources.postgres.table import EVERYTHING, PENDING, DescribedTable
from iceberg_datamart.sources.postgres.types import (
    cursor_kind,
    cursor_step,
    equality_of,
    needs_a_type,
    wire,
)
from iceberg_datamart.sources.postgres.widths import WIDTH, row_width

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from iceberg_datamart.core.settings.model import PostgresSource, TableConfig
    from iceberg_datamart.core.state.watermark import Horizon, ReadWindow, Watermark
    from iceberg_datamart.errors import DatamartError
    from iceberg_datamart.sources.postgres.types import PostgresColumn

_FEW_ROWS = 10_000
_LEAST_SLICES, _MOST_SLICES = 1024, 65_536


class PostgresSession:
    """One connection that holds one snapshot open; every read of a run imports it."""

    def __init__(self, name: str, config: PostgresSource) -> None:
        """Connect. Raises: SourceUnreachableError, SourceRefusedError."""
        self._name, self._config = name, config
        self._url = jdbc_url(config)
        self._lock = RLock()
        self._described: dict[str, DescribedTable] = {}
        # What looks at a table told of what is read next: how many rows, and the bytes of the widest.
        self._sizes: dict[str, tuple[int, int]] = {}
        # It holds the locks and looks up what is described; the snapshot gets a connection of its own.
        self._connection = awaited(name, config)
        self._credentials = credentials_of(config, self._connection.info.password)
        self._recipe = settings_for(self._connection)
        self._locks = Locks(name, self._connection, config.lock_wait_seconds)
        self._snapshot: str | None = None
        self._horizon: Horizon | None = None
        self.warnings: list[str] = []

    def lock(self, tables: Mapping[str, TableConfig]) -> dict[str, DatamartError]:
        """Lock the tables until `close`; return those that are not, with the reason (R16)."""
        try:
            return self._locks.take(tables)
        except psycopg.Error as error:
            raise translated(self._name, error) from error

    def pin_snapshot(self) -> Horizon:
        """Take the horizon, then export the snapshot, in this order (R7); return the horizon.

        The locks stand before both, and the snapshot's session takes them over. The look at other sessions
        is another connection's: it must not take the snapshot before it has looked. Raises: SourceError.
        """
        guard = self._connection
        self._connection, options = awaited_with_options(self._name, self._config, guard)
        self._url = jdbc_url(self._config, options)
        try:
            with closing(guard):
                with transaction(guard):
                    look = look_at(guard)
                self._snapshot = export_snapshot(self._connection, self._name)
                self._locks.hand_over(self._connection)
        except psycopg.Error as error:
            raise translated(self._name, error) from error
        self._horizon = self._at_point(look.horizon)
        said = [] if look.blind is None else [f"source '{self._name}' {look.blind}"]
        self.warnings = said + [d.elsewhere for d in self._described.values() if d.elsewhere is not None]
        return self._horizon

    def _at_point(self, horizon: Horizon) -> Horizon:
        with self._savepoint():
            return at_point(self._connection, horizon)

    def close(self) -> None:
        """End the snapshot; no read can import it from here on."""
        self._connection.close()

    def describe(self, table: str, config: TableConfig) -> SourceTable:
        """Return the columns, key and identity of a source table.

        Raises: SourceTableMissingError, UnfitValueError for a numeric that needs a type, SourceError.
        """
        with self._savepoint():
            return self._describe(table, config)

    def _describe(self, table: str, config: TableConfig) -> SourceTable:
        relation = catalog.find_relation(self._connection, config.from_)
        known = catalog.columns_of(self._connection, relation)
        catalog.require_columns(table, {column.name for column in known}, config)
        require_steady(self._connection, table, config.soft_delete)
        selected = [column for column in known if column.name not in config.exclude]
        key = catalog.key_of(self._connection, table, relation, config)
        wires = [wire(column, _configured(config, column.name)) for column in selected]
        missing = [column.name for column, found in zip(selected, wires, strict=True) if found is None]
        if missing:
            raise needs_a_type(table, missing[0], self._example(relation, missing[0]))
        known_wires = tuple(filter(None, wires))
        pairs = tuple(zip(selected, known_wires, strict=True))
        cursors = {column.name: column for column in known}
        kind = None if config.cursor is None else cursor_kind(cursors[config.cursor])
        found = SourceTable(
            identity=catalog.identity_of(self._connection, relation),
            columns=tuple(
                Column(column.name, found.type, nullable=column.name not in key) for column, found in pairs
            ),
            primary_key=tuple(key),
            key_is_unique=catalog.guarantees_unique(self._connection, relation, tuple(key)),
            cursor=kind,
            cursor_step=1 if config.cursor is None else cursor_step(cursors[config.cursor]),
            column_ids={column.name: column.number for column in selected},
            recipe=recipe_of(self._connection, relation, pairs, key, config.soft_delete),
            parts=parts_of(self._connection, relation),
            written_elsewhere=written_elsewhere(self._connection, relation.oid),
            equality=_equality(config, selected),
        )
        cursor = None if kind is None or config.cursor is None else (config.cursor, kind)
        read = but_deleted(selected, known_wires, {*key, config.cursor}, config.soft_delete)
        unfits, width = unfits_of(selected, read, key), row_width(selected, read)
        described = DescribedTable(
            found, relation, read, config, cursor, width, unfits, label=table, known=known
        )
        if kind is CursorKind.INTEGER and config.cursor is not None:
            described = self._with_integers(described, cursors[config.cursor])
        self._described[table] = described
        return described.table

    def _with_integers(self, described: DescribedTable, cursor: PostgresColumn) -> DescribedTable:
        """Return the table with where its cursor stands. Raises: SourceError where numbers may not grow."""
        greatest, when = self._greatest_committed(described)
        # Later than the greatest value, so that no sequence stands below one that it gave.
        drawn = sequences_of(self._connection, described.relation, cursor.number)
        integers = integers_of(described.label, cursor.name, drawn, greatest)
        return described.with_integers(integers, drawn.parts, when)

    def _greatest_committed(self, described: DescribedTable) -> tuple[int | None, datetime]:
        """Return an integer cursor's greatest value, and a time when it was known to be committed."""
        query = sql.SQL("select max({}) from {}").format(described.cursor_number, described.name)
        greatest = self._fetch(query)[0][0]
        return greatest, self._fetch(sql.SQL("select clock_timestamp()").format())[0][0]

    def _settled(self, described: DescribedTable) -> Watermark | None:
        """Return the value below which no transaction can still write: all that drew less have ended."""
        horizon = self._horizon
        if described.committed is None or horizon is None or not horizon.visible:
            return None
        if described.table.written_elsewhere is not None:
            return None
        greatest, when = described.committed
        if horizon.held_since is not None and horizon.held_since <= when:
            return None
        return described.watermark(greatest)

    def probe(self, table: str, window: ReadWindow) -> Probe:
        """Return what the window holds; its keys where it is small. One index scan of a small window."""
        described = self._described[table]
        rows = [] if window.lower is None else self._fetch(few_rows_query(described, window, _FEW_ROWS + 1))
        if window.lower is None or len(rows) > _FEW_ROWS:
            return self._counted(described, window)
        self._sizes[table] = (len(rows), max((row[1] for row in rows), default=0))
        found = [row[2:] for row in rows if row[0]]
        greatest = max((row[-1] for row in found if row[-1] is not None), default=None)
        return Probe(
            len(found),
            described.watermark(greatest),
            tuple(row[:-1] for row in found),
            self._settled(described),
            rejected=len(rows) - len(found),
            shared=self._shared_keys(described, window),
        )

    def _counted(self, described: DescribedTable, window: ReadWindow) -> Probe:
        """Return the rows and the greatest cursor value of a large window: one scan, nothing transferred."""
        rows, greatest, rejected, widest = self._fetch(counted_query(described, window))[0]
        self._sizes[described.label] = (rows, widest)
        return Probe(
            rows,
            described.watermark(greatest),
            settled=self._settled(described),
            rejected=rejected,
            shared=self._shared_keys(described, window),
        )

    def _shared_keys(self, described: DescribedTable, window: ReadWindow) -> SharedKeys:
        """Return the window's keys that more than one row of the whole table has; none where it is proven."""
        if described.table.key_is_unique:
            return SharedKeys()
        query = shared_keys_query(
            described.name,
            keys=described.key_wires,
            fitting=fitting(described.unfits),
            window=described.where(window),
        )
        keys, rows, example = self._fetch(query)[0]
        return SharedKeys(keys, rows, keys, example or "")

    def fingerprint(self, table: str, window: ReadWindow) -> str | None:
        """Return a digest of the window's rows and of how they are read; None where they are many.

        Two equal digests mean that a mirror which held these rows then still holds them now, and that
        the same rows are rejected.
        """
        described = self._described[table]
        fit = sql.SQL("md5(row({}, {})::text)").format(described.wire_list, described.deleted)
        row = digest_of(described.unfits, fit, [column.name for column in described.table.columns])
        query = sql.SQL("select {} from {} where {} limit {}").format(
            row, described.rows(window), described.where(window), _FEW_ROWS + 1
        )
        rows = self._fetch(query)
        if len(rows) > _FEW_ROWS:
            return None
        shape = repr((described.table.columns, described.config.soft_delete))
        digest = hashlib.sha256("\n".join([shape, *sorted(row[0] for row in rows)]).encode())
        return digest.hexdigest()[:32]

    def read(self, table: str, window: ReadWindow) -> JdbcRead:
        """Return how Spark reads the window at this session's snapshot."""
        described = self._described[table]
        names = described.selected
        predicates: tuple[str, ...] = ("true",)
        if window.lower is None:
            names, predicates = described.partitioned(names)
        rows, _ = self._sizes.get(table, (0, 0))
        return self._jdbc_read(described, names, described.where(window), predicates, rows, window)

    def digests(self, table: str) -> tuple[Slicing, dict[int, SliceDigest]]:
        """Return how the table is sliced, and what each slice holds: one scan at the server."""
        described = self._described[table]
        key = described.key_wire
        kept = fitting(described.unfits)
        first = next(c for c in described.table.columns if c.name == described.table.primary_key[0])
        ends: tuple[int | None, int | None] = (None, None)
        if is_number(first):
            query = sql.SQL("select min({k}), max({k}) from {} where {}")
            ends = self._fetch(query.format(described.name, kept, k=key.expression))[0]
        count = min(_MOST_SLICES, max(_LEAST_SLICES, described.relation.pages))
        slicing = Slicing.of(first, *ends, count)
        kept = sql.SQL("{} and not {}").format(kept, described.deleted)
        width = described.width
        found = self._fetch(digests_query(described.rows(), described.wires, slicing, key, kept, width))
        self._sizes[table] = (sum(row[1] for row in found), max((row[4] for row in found), default=0))
        return slicing, {row[0]: SliceDigest(row[1], (int(row[2]), int(row[3]))) for row in found}

    def read_slices(self, table: str, slices: Slices, pending_from: Watermark | None = None) -> JdbcRead:
        """Return how Spark reads some slices whole; see `ports.SourceSession`."""
        described = self._described[table]
        key = described.key_wire
        where = if_fitting([key.unfit] if key.unfit else [], in_slices(slices, key))
        pending = described.at_or_after(pending_from)
        names = sql.SQL("{}, {} as {}").format(described.selected, pending, sql.Identifier(PENDING))
        predicates: tuple[str, ...] = ("true",)
        if slices.rows > _FEW_ROWS:
            names, predicates = described.partitioned(names)
        return replace(self._jdbc_read(described, names, where, predicates, slices.rows), pending=PENDING)

    def _jdbc_read(  # noqa: PLR0913, PLR0917  (one clause of the statement each)
        self,
        described: DescribedTable,
        names: sql.Composed,
        where: sql.Composable,
        predicates: tuple[str, ...],
        rows: int,
        window: ReadWindow = EVERYTHING,
    ) -> JdbcRead:
        _, widest = self._sizes.get(described.label, (0, 0))
        apart = widest > WIDE and rows > _FEW_ROWS
        query = described.selection(described.with_width(names) if apart else names, where, window)
        deleted_mark = None if described.config.soft_delete is None else DELETED
        read = replace(self._jdbc(query, described.table.columns, predicates, deleted_mark), widest=widest)
        return read.reading_wide_rows_apart(WIDTH) if apart else read

    def unfit_rows(self, table: str) -> int:
        """Return how many rows the mirror cannot hold; soft-deleted ones need not be there."""
        described = self._described[table]
        if not described.unfits:
            return 0
        query = sql.SQL("select count(*) from {} where not ({}) and not {}")
        found = self._fetch(query.format(described.name, fitting(described.unfits), described.deleted))
        return int(found[0][0])

    def rejected(self, table: str, window: ReadWindow) -> tuple[RejectedRow, ...]:
        """Return the window's rows that the mirror cannot hold. Raises: UnfitValueError for too many."""
        described = self._described[table]
        names = [column.name for column in described.table.columns]
        where = described.where(window)
        query = rejected_sql(described.name, names, where, described.unfits)
        _, widest = self._sizes.get(table, (0, 0))
        with self._savepoint(), self._connection.cursor("_datamart_rejected") as cursor:
            cursor.itersize = fetch_size(widest)
            return rejected_rows(table, cursor.execute(query))

    def rejected_keys(self, table: str) -> JdbcRead:
        """Return how Spark reads the keys of all rejected rows, but for those whose key itself is unfit."""
        described = self._described[table]
        found = zip(described.table.columns, described.wires, strict=True)
        key = {column: wire for column, wire in found if column.name in described.table.primary_key}
        wires = {column.name: wire for column, wire in key.items()}
        query = rejected_keys_sql(described.name, wires, described.unfits)
        return self._jdbc(query, tuple(key))

    def _jdbc(
        self,
        query: sql.Composed,
        columns: tuple[Column, ...],
        predicates: tuple[str, ...] = ("true",),
        deleted: str | None = None,
    ) -> JdbcRead:
        return JdbcRead(
            url=self._url,
            relation=jdbc_text(query.as_string(None)),
            predicates=predicates,
            session=importing(self._snapshot, self._recipe),
            columns=columns,
            deleted=deleted,
            credentials=self._credentials,
        )

    def _example(self, relation: catalog.Relation, column: str) -> str | None:
        name = sql.Identifier(column)
        query = sql.SQL("select left({}::text, 60) from {} where {} is not null limit 1")
        rows = self._fetch(query.format(name, sql.Identifier(relation.schema, relation.table), name))
        return rows[0][0] if rows else None

    def _fetch(self, query: sql.Composed) -> list[tuple[Any, ...]]:
        with self._savepoint():
            return self._connection.execute(query).fetchall()

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        """Keep the snapshot usable for the other tables when a statement of one table fails (R9)."""
        try:
            with self._lock, transaction(self._connection):
                yield
        except psycopg.Error as error:
            raise translated(self._name, error) from error


def _equality(config: TableConfig, columns: Iterable[PostgresColumn]) -> dict[str, str]:
    return {column.name: equality_of(column, _configured(config, column.name)) for column in columns}


def _configured(config: TableConfig, column: str) -> str | None:
    return config.columns[column].type if column in config.columns else None
