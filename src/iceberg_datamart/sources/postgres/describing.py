"""What the server's catalog and the settings say of a table, looked up before its rows are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.source.reads import SourceTable
from iceberg_datamart.sources.postgres import catalog
from iceberg_datamart.sources.postgres.clocks import asks_a_clock
from iceberg_datamart.sources.postgres.predicates import require_steady
from iceberg_datamart.sources.postgres.recipe import recipe_of
from iceberg_datamart.sources.postgres.rejects import but_deleted, unfits_of
from iceberg_datamart.sources.postgres.relations import written_elsewhere
from iceberg_datamart.sources.postgres.sequences import integers_of, sequences_of
from iceberg_datamart.sources.postgres.storage import parts_of
from iceberg_datamart.sources.postgres.table_sql import TableSql
from iceberg_datamart.sources.postgres.types import (
    cursor_kind,
    cursor_step,
    equality_of,
    needs_a_type,
    wire,
)
from iceberg_datamart.sources.postgres.widths import row_width

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from psycopg import Connection

    from iceberg_datamart.core.settings.model import TableConfig
    from iceberg_datamart.sources.postgres.types import PostgresColumn, Wire


def described(connection: Connection[Any], label: str, config: TableConfig) -> TableSql:
    """Return the table that the settings call `label`. An integer cursor's greatest value is read, too.

    Raises: SourceTableMissingError, UnfitValueError for a numeric that needs a type, SourceError.
    """
    relation = catalog.find_relation(connection, config.from_)
    known = catalog.columns_of(connection, relation)
    catalog.require_columns(label, {column.name for column in known}, config)
    require_steady(connection, label, config.soft_delete)
    selected = [column for column in known if column.name not in config.exclude]
    key = catalog.key_of(connection, label, relation, config)
    wires = _wires(connection, label, relation, selected, config)
    pairs = tuple(zip(selected, wires, strict=True))
    cursors = {column.name: column for column in known}
    kind = None if config.cursor is None else cursor_kind(cursors[config.cursor])
    found = SourceTable(
        identity=catalog.identity_of(connection, relation),
        columns=tuple(
            Column(column.name, found.type, nullable=column.name not in key) for column, found in pairs
        ),
        primary_key=tuple(key),
        key_is_unique=catalog.guarantees_unique(connection, relation, tuple(key)),
        cursor=kind,
        cursor_step=1
        if config.cursor is None
        else cursor_step(cursors[config.cursor], is_computed=relation.kind in {"v", "m"}),
        column_ids={column.name: column.number for column in selected},
        recipe=recipe_of(connection, relation, pairs, key, config.soft_delete),
        parts=parts_of(connection, relation),
        written_elsewhere=written_elsewhere(connection, relation.oid),
        unsteady=asks_a_clock(connection, relation.oid) if relation.kind == "v" else None,
        equality={column.name: equality_of(column, _configured(config, column.name)) for column in selected},
    )
    cursor = None if kind is None or config.cursor is None else (config.cursor, kind)
    read = but_deleted(selected, wires, {*key, config.cursor}, config.soft_delete)
    unfits, width = unfits_of(selected, read, key), row_width(selected, read)
    table = TableSql(found, relation, read, config, cursor, width, unfits, label=label, known=known)
    if kind is CursorKind.INTEGER and config.cursor is not None:
        return _with_integers(connection, table, cursors[config.cursor])
    return table


def _wires(
    connection: Connection[Any],
    label: str,
    relation: catalog.Relation,
    columns: Sequence[PostgresColumn],
    config: TableConfig,
) -> tuple[Wire, ...]:
    """Return how each column travels. Raises: UnfitValueError, with a value, for one that needs a type."""
    wires = {column.name: wire(column, _configured(config, column.name)) for column in columns}
    missing = next((name for name, found in wires.items() if found is None), None)
    if missing is not None:
        raise needs_a_type(label, missing, _example(connection, relation, missing))
    return tuple(filter(None, wires.values()))


def _configured(config: TableConfig, column: str) -> str | None:
    return config.columns[column].type if column in config.columns else None


def _example(connection: Connection[Any], relation: catalog.Relation, column: str) -> str | None:
    name = sql.Identifier(column)
    query = sql.SQL("select left({}::text, 60) from {} where {} is not null limit 1")
    row = connection.execute(
        query.format(name, sql.Identifier(relation.schema, relation.table), name)
    ).fetchone()
    return None if row is None else row[0]


def _with_integers(connection: Connection[Any], table: TableSql, cursor: PostgresColumn) -> TableSql:
    """Return the table with where its cursor stands. Raises: SourceError where numbers may not grow."""
    greatest, when = _greatest_committed(connection, table)
    # Later than the greatest value, so that no sequence stands below one that it gave.
    drawn = sequences_of(connection, table.relation, cursor.number)
    integers = integers_of(table.label, cursor.name, drawn, greatest)
    return table.with_integers(integers, drawn.parts, when)


def _greatest_committed(connection: Connection[Any], table: TableSql) -> tuple[int | None, datetime]:
    """Return an integer cursor's greatest value, and a time when it was known to be committed."""
    query = sql.SQL("select max({}) from {}").format(table.cursor_number, table.name)
    greatest = connection.execute(query).fetchall()[0][0]
    return greatest, connection.execute("select clock_timestamp()").fetchall()[0][0]
