"""PostgreSQL as a source: one consistent point for all tables, a horizon, windows pushed into the query.

Exported snapshots: https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-SNAPSHOT-SYNCHRONIZATION
"""

from __future__ import annotations

import hashlib
import math
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from threading import RLock
from typing import TYPE_CHECKING, Any, cast

import psycopg
from psycopg import sql

from iceberg_datamart.errors import (
    SourceError,
    SourceTableMissingError,
    SourceUnreachableError,
    UnfitValueError,
)
from iceberg_datamart.reading import Column, JdbcRead, Probe, SourceTable
from iceberg_datamart.sources import postgres_catalog as catalog
from iceberg_datamart.sources.postgres_jdbc import credentials_of, jdbc_url
from iceberg_datamart.sources.postgres_types import (
    Wire,
    cursor_kind,
    literal_since_1970,
    number_since_1970,
    wire,
)
from iceberg_datamart.watermark import CursorKind, Horizon, ReadWindow, Watermark

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from typing_extensions import LiteralString

    from iceberg_datamart.config import PostgresSource, TableConfig

DEFAULT_LOOKBACK = timedelta(minutes=5)
# A transaction takes its now() a moment before other sessions can see that it is open.
_UNSEEN_START = timedelta(seconds=1)
_FEW_ROWS = 10_000
_PAGES_PER_PARTITION = 16_384
_MOST_PARTITIONS = 64
DELETED = "_datamart_deleted"
# Text forms of intervals, floats and bytes depend on these; nothing may depend on a role's defaults.
_SETTINGS = (
    "set timezone = 'UTC'; set intervalstyle = 'iso_8601'; set datestyle = 'ISO'; set bytea_output = 'hex'; "
    "set extra_float_digits = 1; set statement_timeout = 0; set idle_in_transaction_session_timeout = 0"
)
_HORIZON = """
select clock_timestamp() as clock, pg_is_in_recovery() as standby,
       pg_has_role(current_user, 'pg_read_all_stats', 'member') as visible,
       least((select min(xact_start) from pg_stat_activity
              where datname = current_database() and pid <> pg_backend_pid()
                and backend_type not in ('autovacuum worker', 'walsender')),
             (select min(prepared) - %(lookback)s from pg_prepared_xacts
              where database = current_database())) as held_since,
       pg_last_xact_replay_timestamp() as replayed
"""


@dataclass(frozen=True)
class _Described:
    table: SourceTable
    relation: catalog.Relation
    wires: tuple[Wire, ...]
    config: TableConfig
    cursor: tuple[str, CursorKind] | None


class PostgresSession:
    """One connection that holds one snapshot open; every read of a run imports it."""

    def __init__(self, name: str, config: PostgresSource) -> None:
        """Connect, take the horizon, then export the snapshot, in this order (R7).

        Raises: SourceUnreachableError.
        """
        self.warnings: list[str] = []
        self._name = name
        self._credentials, self._url = credentials_of(config), jdbc_url(config)
        self._connection = _connected(name, config)
        self._lock = RLock()
        self._described: dict[str, _Described] = {}
        self._connection.execute(_SETTINGS)
        self.horizon = self._take_horizon()
        self._snapshot = self._export_snapshot()

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
        _require_columns(table, {column.name for column in known}, config)
        selected = [column for column in known if column.name not in config.exclude]
        key = config.primary_key or catalog.primary_key_of(self._connection, relation)
        if not key:
            message = f"source table {config.from_} has no primary key"
            raise SourceError(message, hint=f"Set tables.{table}.primary_key to columns that identify a row.")
        wires = [wire(column, _configured(config, column.name)) for column in selected]
        missing = [column.name for column, found in zip(selected, wires, strict=True) if found is None]
        if missing:
            raise self._needs_a_type(table, relation, missing[0])
        cursors = {column.name: column for column in known}
        kind = None if config.cursor is None else cursor_kind(cursors[config.cursor])
        found = SourceTable(
            identity=catalog.identity_of(self._connection, relation),
            columns=tuple(
                Column(column.name, found.type, nullable=column.name not in key)
                for column, found in zip(selected, wires, strict=True)
                if found is not None
            ),
            primary_key=tuple(key),
            key_is_unique=catalog.guarantees_unique(self._connection, relation, known, tuple(key)),
            cursor=kind,
        )
        cursor = None if kind is None or config.cursor is None else (config.cursor, kind)
        self._described[table] = _Described(found, relation, tuple(filter(None, wires)), config, cursor)
        return found

    def probe(self, table: str, window: ReadWindow) -> Probe:
        """Return what the window holds; its keys where it is small. One index scan of a small window."""
        described = self._described[table]
        greatest = self._cursor_number(described)
        keys = sql.SQL(", ").join(self._wire_of(described, name) for name in described.table.primary_key)
        few = sql.SQL("select {}, {} from {} where {} limit {}").format(
            keys, greatest, self._from(described), self._where(described, window), _FEW_ROWS + 1
        )
        rows = [] if window.lower is None else self._fetch(few)
        if window.lower is not None and len(rows) <= _FEW_ROWS:
            marks = [row[-1] for row in rows if row[-1] is not None]
            found = tuple(row[:-1] for row in rows)
            greatest_mark = self._watermark(described, max(marks, default=None))
            return Probe(len(rows), greatest_mark, found, empty=not rows)
        most = sql.SQL("select max({}) from {}").format(greatest, self._from(described))
        if described.cursor is not None:
            name = sql.Identifier(described.cursor[0])
            ordered = sql.SQL("select {} from {} where {} is not null order by {} desc limit 1")
            most = ordered.format(greatest, self._from(described), name, name)
        number = self._fetch(most)
        some = self._fetch(sql.SQL("select 1 from {} limit 1").format(self._from(described)))
        mark = self._watermark(described, number[0][0] if number else None)
        return Probe(None, mark, empty=not some)

    def fingerprint(self, table: str, window: ReadWindow) -> str | None:
        """Return a digest of the window's rows and of how they are read; None where they are many.

        Two equal digests mean that a mirror which held these rows then still holds them now.
        """
        described = self._described[table]
        row = sql.SQL("md5(row({}, {})::text)").format(self._wires(described), self._deleted(described))
        query = sql.SQL("select {} from {} where {} limit {}").format(
            row, self._from(described), self._where(described, window), _FEW_ROWS + 1
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
        names = sql.SQL(", ").join(
            sql.SQL("{} as {}").format(found.expression, sql.Identifier(column.name))
            for found, column in zip(described.wires, described.table.columns, strict=True)
        )
        if described.config.soft_delete is not None:
            deleted = self._deleted(described)
            names = sql.SQL("{}, {} as {}").format(names, deleted, sql.Identifier(DELETED))
        where = self._where(described, window)
        predicates = ("true",)
        if window.lower is None and described.relation.kind == "r":
            names = sql.SQL("{}, ctid as _datamart_ctid").format(names)
            predicates = ctid_ranges(described.relation.pages, described.config.partitions)
        query = sql.SQL("(select {} from {} where {}) as q").format(names, self._from(described), where)
        return JdbcRead(
            url=self._url,
            relation=query.as_string(None),
            predicates=predicates,
            session=self._session_statement(),
            columns=described.table.columns,
            deleted=None if described.config.soft_delete is None else DELETED,
            credentials=self._credentials,
        )

    def has_null_keys(self, table: str, window: ReadWindow) -> bool:
        """Return whether the window holds a row whose key has a NULL, where the source allows any."""
        described = self._described[table]
        if described.table.key_is_unique:
            return False
        null = sql.SQL(" or ").join(
            sql.SQL("{} is null").format(sql.Identifier(name)) for name in described.table.primary_key
        )
        query = sql.SQL("select 1 from {} where ({}) and ({}) limit 1").format(
            self._from(described), self._where(described, window), null
        )
        return bool(self._fetch(query))

    def _take_horizon(self) -> Horizon:
        row = self._connection.execute(_HORIZON, {"lookback": DEFAULT_LOOKBACK}).fetchone()
        clock, standby, visible, held_since, replayed = row or (None,) * 5
        if standby:
            self._warn("is a standby and does not see its primary's open transactions; reads behind by 5 minutes")
            return Horizon(min(clock, replayed or clock) - DEFAULT_LOOKBACK, clock, visible=False)
        if not visible:
            self._warn(
                "does not let this role see other sessions, so reads start 5 minutes early; "
                "to read exactly: GRANT pg_read_all_stats TO the role"
            )
            return Horizon(clock - DEFAULT_LOOKBACK, clock, held_since, visible=False)
        return Horizon(min(clock - _UNSEEN_START, held_since or clock), clock, held_since)

    def _export_snapshot(self) -> str | None:
        begin = "begin isolation level repeatable read, read only"
        self._connection.execute(begin)
        try:
            row = self._connection.execute("select pg_export_snapshot()").fetchone()
        except psycopg.Error as error:
            self._warn(f"does not export its snapshot, so tables are read at different points: {error}")
            self._connection.execute("rollback")
            self._connection.execute(begin)
            return None
        return None if row is None else str(row[0])

    def _session_statement(self) -> str:
        if self._snapshot is None:
            return _SETTINGS
        start = "set transaction isolation level repeatable read; set transaction snapshot "
        return f"{start}'{self._snapshot}'; {_SETTINGS}"

    def _needs_a_type(self, table: str, relation: catalog.Relation, column: str) -> UnfitValueError:
        name = sql.Identifier(column)
        query = sql.SQL("select left({}::text, 60) from {} where {} is not null limit 1")
        rows = self._fetch(query.format(name, sql.Identifier(relation.schema, relation.table), name))
        example = f", for example {rows[0][0]}" if rows else ""
        message = f"column '{column}' is numeric without a precision that Iceberg's decimal can hold{example}"
        hint = f"Set tables.{table}.columns.{column}.type: decimal(p,s) with room for every value (p up to 38)."
        return UnfitValueError(message, hint=hint)

    def _fetch(self, query: sql.Composed) -> list[tuple[Any, ...]]:
        with self._savepoint():
            return self._connection.execute(query).fetchall()

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        """Keep the snapshot usable for the other tables when a statement of one table fails (R9)."""
        try:
            with self._lock, self._connection.transaction():
                yield
        except psycopg.Error as error:
            raise translated(self._name, error) from error

    def _from(self, described: _Described) -> sql.Identifier:
        return sql.Identifier(described.relation.schema, described.relation.table)

    def _where(self, described: _Described, window: ReadWindow) -> sql.Composable:
        if window.lower is None or described.cursor is None:
            return sql.SQL("true")
        name, kind = sql.Identifier(described.cursor[0]), described.cursor[1]
        start = literal_since_1970(kind.value, window.lower.value)
        return sql.SQL("({} >= {} or {} is null)").format(name, start, name)

    def _cursor_number(self, described: _Described) -> sql.Composable:
        if described.cursor is None:
            return sql.SQL("null::int8")
        name, kind = described.cursor
        if kind is CursorKind.INTEGER:
            return sql.Identifier(name)
        return number_since_1970(name, kind.value)

    def _wire_of(self, described: _Described, name: str) -> sql.Composable:
        names = [column.name for column in described.table.columns]
        return described.wires[names.index(name)].expression

    def _wires(self, described: _Described) -> sql.Composed:
        return sql.SQL(", ").join(found.expression for found in described.wires)

    def _deleted(self, described: _Described) -> sql.Composable:
        if described.config.soft_delete is None:
            return sql.SQL("false")
        predicate = sql.SQL(cast("LiteralString", described.config.soft_delete))
        return sql.SQL("coalesce(({})::boolean, false)").format(predicate)

    def _watermark(self, described: _Described, number: int | None) -> Watermark | None:
        if number is None or described.cursor is None:
            return None
        return Watermark(described.cursor[1], number)

    def _warn(self, text: str) -> None:
        self.warnings.append(f"source '{self._name}' {text}")


def ctid_ranges(pages: int, partitions: int | None) -> tuple[str, ...]:
    """Return predicates that split a table's pages into ranges; the last is open-ended.

    `pages` may be an old estimate: rows on later pages fall into the last range. Needs no index.
    """
    wanted = partitions or min(_MOST_PARTITIONS, math.ceil(max(pages, 1) / _PAGES_PER_PARTITION))
    step = math.ceil(max(pages, 1) / wanted)
    starts = range(0, step * wanted, step)
    lower = [f"_datamart_ctid >= '({start},0)'::tid" for start in starts]
    upper = [f" and _datamart_ctid < '({start},0)'::tid" for start in starts[1:]] + [""]
    return tuple(low + high for low, high in zip(lower, upper, strict=True))


def translated(source: str, error: Exception) -> SourceError:
    """Return the error of this package that says what a server's error means."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    text = primary or str(error)
    if " does not fit " in text:
        value = text.split('"')[1] if text.count('"') > 1 else text
        hint = "Set a wider type in `columns`, or `type: string`; nothing of this table was written."
        return UnfitValueError(f"value {value}", hint=hint)
    if isinstance(error, psycopg.OperationalError):
        return SourceUnreachableError(f"source '{source}': {text.strip()}")
    return SourceError(f"source '{source}': {text.strip()}")


def _connected(name: str, config: PostgresSource) -> psycopg.Connection[Any]:
    secret = {} if config.password is None else {"password": config.password.get_secret_value()}
    user = {} if config.user is None else {"user": config.user}
    try:
        return psycopg.connect(config.url, autocommit=True, connect_timeout=15, **user, **secret)
    except psycopg.Error as error:
        message = f"source '{name}' cannot be reached: {str(error).strip()}"
        hint = f"Check sources.{name}.url, the password, and that the server is up."
        raise SourceUnreachableError(message, hint=hint) from error


def _configured(config: TableConfig, column: str) -> str | None:
    return config.columns[column].type if column in config.columns else None


def _require_columns(table: str, known: set[str], config: TableConfig) -> None:
    wanted: Mapping[str, tuple[str, ...]] = {
        "primary_key": config.primary_key or (),
        "cursor": (config.cursor,) if config.cursor else (),
        "exclude": config.exclude,
        "columns": tuple(config.columns),
    }
    for setting, names in wanted.items():
        for name in names:
            if name not in known:
                message = f"source table {config.from_} has no column '{name}'"
                raise SourceTableMissingError(message, hint=f"Correct tables.{table}.{setting}.")
