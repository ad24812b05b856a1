"""What a look at a window asks the server: a small one for its keys, a large one for figures alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from iceberg_datamart.sources.postgres.rejects import fitting, if_fitting

if TYPE_CHECKING:
    from iceberg_datamart.core.state.watermark import ReadWindow
    from iceberg_datamart.sources.postgres.table import DescribedTable


def few_rows_query(described: DescribedTable, window: ReadWindow, limit: int) -> sql.Composed:
    """Return the query of (fits, width, key..., cursor as a number) of at most `limit` rows of a window."""
    wanted = [*(described.wire_of(name).expression for name in described.table.primary_key)]
    wanted.append(described.cursor_number)
    return sql.SQL("select {}, {}, {} from {} where {} limit {}").format(
        fitting(described.unfits),
        described.width,
        sql.SQL(", ").join(if_fitting(described.unfits, each) for each in wanted),
        described.rows(window),
        described.where(window),
        limit,
    )


def counted_query(described: DescribedTable, window: ReadWindow) -> sql.Composed:
    """Return the query of (rows that fit, greatest cursor as a number, others, greatest width)."""
    cursor = sql.SQL("null") if described.cursor is None else sql.Identifier(described.cursor[0])
    label = sql.Identifier("_datamart") if described.cursor is None else cursor
    return sql.SQL(
        "select _datamart_rows, {}, _datamart_all - _datamart_rows, coalesce(_datamart_width, 0) from "
        "(select count(*) as _datamart_all, max({}) as _datamart_width, count({}) as _datamart_rows, "
        "max({}) as {} from {} where {}) as _datamart_q"
    ).format(
        described.cursor_number,
        described.width,
        if_fitting(described.unfits, sql.SQL("1")),
        if_fitting(described.unfits, cursor),
        label,
        described.rows(window),
        described.where(window),
    )
