"""What a look at a window asks the server: a small one for its keys, a large one for figures alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from iceberg_datamart.sources.postgres.rejects import fitting, if_fitting

if TYPE_CHECKING:
    from iceberg_datamart.core.state.watermark import ReadWindow
    from iceberg_datamart.sources.postgres.table_sql import TableSql


def few_rows_query(table: TableSql, window: ReadWindow, limit: int) -> sql.Composed:
    """Return the query of (fits, width, key..., cursor as a number) of at most `limit` rows of a window."""
    wanted = [*(table.wire_of(name).expression for name in table.facts.primary_key)]
    wanted.append(table.cursor_number)
    return sql.SQL("select {}, {}, {} from {} where {} limit {}").format(
        fitting(table.unfits),
        table.width,
        sql.SQL(", ").join(if_fitting(table.unfits, each) for each in wanted),
        table.rows(window),
        table.where(window),
        limit,
    )


def counted_query(table: TableSql, window: ReadWindow) -> sql.Composed:
    """Return the query of (rows that fit, greatest cursor as a number, others, greatest width)."""
    cursor = sql.SQL("null") if table.cursor is None else sql.Identifier(table.cursor[0])
    label = sql.Identifier("_datamart") if table.cursor is None else cursor
    return sql.SQL(
        "select _datamart_rows, {}, _datamart_all - _datamart_rows, coalesce(_datamart_width, 0) from "
        "(select count(*) as _datamart_all, max({}) as _datamart_width, count({}) as _datamart_rows, "
        "max({}) as {} from {} where {}) as _datamart_q"
    ).format(
        table.cursor_number,
        table.width,
        if_fitting(table.unfits, sql.SQL("1")),
        if_fitting(table.unfits, cursor),
        label,
        table.rows(window),
        table.where(window),
    )
