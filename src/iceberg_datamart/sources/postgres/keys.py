"""Rows that share a key which no constraint proves: the server counts them, or chooses the newest (R18).

Keys are compared as a mirror compares them, by the values that travel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PLACE = "_datamart_place"


def newest_rows(  # noqa: PLR0913  (one clause of the statement each)
    relation: sql.Composable,
    *,
    columns: Sequence[str],
    keys: Sequence[sql.Composable],
    fitting: sql.Composable,
    window: sql.Composable,
    cursor: sql.Composable,
    content: sql.Composable,
) -> sql.Composed:
    """Return a derived table: of rows with the same key the one with the greatest cursor, then content.

    A NULL cursor is below every value. Only keys of rows in `window` are there, but all rows that are not
    `fitting`. `columns` are those that the role may read, of any name: predicates may name any of them.
    """
    place = _PLACE
    while place in columns:
        place += "_"
    return sql.SQL(
        "(select * from (select {columns}, case when {fitting} then row_number() over "
        '(partition by {fitting}, {keys} order by {cursor} desc nulls last, {content} collate "C" desc) '
        "else 1 end as {place} from {relation} "
        "where not ({fitting}) or ({keys}) in (select {keys} from {relation} where {window})) "
        "as _datamart_all where {place} = 1) as _datamart_newest"
    ).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        relation=relation,
        keys=sql.SQL(", ").join(keys),
        fitting=fitting,
        window=window,
        cursor=cursor,
        content=content,
        place=sql.Identifier(place),
    )


def shared_keys_query(
    relation: sql.Composable,
    *,
    keys: Mapping[str, sql.Composable],
    fitting: sql.Composable,
    window: sql.Composable,
) -> sql.Composed:
    """Return the query of how many keys of the window several rows of the table have, how many, and one."""
    shown = sql.SQL(", ").join(
        sql.SQL("{} || left({}::text, 60)").format(sql.Literal(f"{name}="), sql.Identifier(name))
        for name in keys
    )
    return sql.SQL(
        "select count(*), coalesce(sum(_datamart_rows), 0)::int8, min(_datamart_example) from "
        "(select count(*) as _datamart_rows, min(concat_ws(', ', {shown})) as _datamart_example "
        "from {relation} where {fitting} "
        "and ({keys}) in (select {keys} from {relation} where {window} and {fitting}) "
        "group by {keys} having count(*) > 1) as _datamart_shared"
    ).format(
        relation=relation,
        keys=sql.SQL(", ").join(keys.values()),
        fitting=fitting,
        window=window,
        shown=shown,
    )
