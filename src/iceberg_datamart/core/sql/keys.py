"""One row for each key: what a batch may hold more than once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceberg_datamart.core.sql.dialect import listed, matching
from iceberg_datamart.core.sql.reserved import NEW, OLD, OTHER, PLACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iceberg_datamart.core.sql.dialect import Dialect


@dataclass(frozen=True)
class Batch:
    """The rows of a window: a relation of `columns`, whose key may be there more than once.

    Of the rows of one key that of the greatest `cursor` is the newest; None where no column tells.
    """

    relation: str
    key: Sequence[str]
    columns: Sequence[str]
    cursor: str | None


def deduplicated_sql(dialect: Dialect, batch: Batch, marks: Sequence[str] = ()) -> str:
    """Return the SELECT of the columns and `marks` that keeps one row a key.

    That of the greatest cursor, then of the greatest of all values.
    """
    first = [] if batch.cursor is None else [batch.cursor]
    ordered = first + [name for name in batch.columns if name not in (*batch.key, *first)]
    order = ", ".join(f"{dialect.quoted(name)} DESC NULLS LAST" for name in ordered)
    by = listed(dialect, batch.key)
    return (
        f"SELECT {listed(dialect, (*batch.columns, *marks))} FROM (SELECT *, row_number() OVER "
        f"(PARTITION BY {by} ORDER BY {order or by}) AS {PLACE} FROM {batch.relation}) WHERE {PLACE} = 1"
    )


def shared_keys_sql(dialect: Dialect, batch: Batch) -> str:
    """Return the SELECT that counts the keys of several rows, these rows, and keys without one newest row.

    Rows of a key that are equal, or of which one has the greatest cursor, leave no doubt. The last column is
    one such key as text.
    """
    by, place = listed(dialect, batch.key), "1"
    if batch.cursor is not None:
        place = f"rank() OVER (PARTITION BY {by} ORDER BY {dialect.quoted(batch.cursor)} DESC NULLS LAST)"
    shown = ", ', ', ".join(
        f"{dialect.literal(name + '=')}, {dialect.text(dialect.quoted(name))}" for name in batch.key
    )
    return (
        f"SELECT count(*), coalesce(sum(_datamart_rows), 0), count_if(_datamart_newest > 1), "
        f"min(_datamart_example) FROM (SELECT count(*) AS _datamart_rows, "
        f"count(DISTINCT CASE WHEN {PLACE} = 1 THEN {dialect.row(batch.columns)} END) AS _datamart_newest, "
        f"min(concat({shown})) AS _datamart_example "
        f"FROM (SELECT *, {place} AS {PLACE} FROM {batch.relation}) GROUP BY {by} HAVING count(*) > 1)"
    )


def repeated_key_sql(dialect: Dialect, relation: str, key: Sequence[str]) -> str:
    """Return the SELECT of a key, as text, that several rows of `relation` have; nothing where none has."""
    shown = ", ".join(dialect.text(dialect.quoted(name)) for name in key)
    return f"SELECT {shown} FROM {relation} GROUP BY {listed(dialect, key)} HAVING count(*) > 1 LIMIT 1"


def versions_sql(dialect: Dialect, table: str, appended: str, key: Sequence[str]) -> str:
    """Return the SELECT of all rows of `table` whose key is that of a row in `appended`."""
    shared = matching(dialect, key, NEW, OTHER)
    return f"SELECT {NEW}.* FROM {table} AS {NEW} SEMI JOIN {appended} AS {OTHER} ON {shared}"


def without_older_sql(dialect: Dialect, batch: str, mirror: str, key: Sequence[str], cursor: str) -> str:
    """Return the SELECT of the rows of `batch` whose cursor is not below that of the mirror's row.

    NULL is below every value.
    """
    name = dialect.quoted(cursor)
    older = f"{OLD}.{name} IS NOT NULL AND ({NEW}.{name} IS NULL OR {OLD}.{name} > {NEW}.{name})"
    return (
        f"SELECT {NEW}.* FROM {batch} AS {NEW} ANTI JOIN {mirror} AS {OLD} "
        f"ON {matching(dialect, key, OLD, NEW)} AND {older}"
    )
