"""The rows of a PostgreSQL table that its mirror cannot hold: how they are told apart, and fetched (R10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from iceberg_datamart.core.columns import decimal_size
from iceberg_datamart.core.source.reads import MOST_REJECTED, MOST_REJECTED_TEXT, RejectedRow, wire_name
from iceberg_datamart.errors import UnfitValueError
from iceberg_datamart.sources.postgres.types import Unrepresentable, Wire, bounded_key, null_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from iceberg_datamart.sources.postgres.types import PostgresColumn


def unfits_of(
    columns: Sequence[PostgresColumn], wires: Sequence[Wire], key: Sequence[str]
) -> tuple[Unrepresentable, ...]:
    """Return all that can keep a row out of the mirror; nothing for a table that any row of fits."""
    nulls = [null_key(column.name) for column in columns if column.name in key and not column.not_null]
    bounds = [bounded_key(column.name) for column in columns if column.name in key and column.element]
    return (*nulls, *bounds, *(found.unfit for found in wires if found.unfit is not None))


def soft_deleted(predicate: str | None) -> sql.Composable:
    """Return the predicate of soft-deleted rows; never NULL."""
    if predicate is None:
        return sql.SQL("false")
    # The line ends a comment that the predicate may end with.
    return sql.SQL("coalesce(({}\n)::boolean, false)").format(sql.SQL(predicate))


def but_deleted(
    columns: Sequence[PostgresColumn],
    wires: Sequence[Wire],
    needed: Collection[str | None],
    predicate: str | None,
) -> tuple[Wire, ...]:
    """Return the wires of a table with soft deletes: a row needs no values to go but those of `needed`."""
    if predicate is None:
        return tuple(wires)
    found, deleted = [], soft_deleted(predicate)
    for column, wire in zip(columns, wires, strict=True):
        if wire.unfit is None or column.name in needed:
            found.append(wire)
            continue
        unfit = Unrepresentable(
            sql.SQL("({} and not {})").format(wire.unfit.predicate, deleted), wire.unfit.reason
        )
        template = sql.SQL("(case when not ({} and {}) then {} end)")
        value = template.format(deleted, wire.unfit.predicate, wire.expression)
        size = decimal_size(wire.type)
        if size is not None:  # a CASE forgets precision and scale
            value = sql.SQL("{}::numeric({}, {})").format(value, *map(sql.Literal, size))
        found.append(Wire(wire.type, value, unfit))
    return tuple(found)


def fitting(unfits: Sequence[Unrepresentable]) -> sql.Composable:
    """Return the predicate of the rows that the mirror can hold; never NULL."""
    if not unfits:
        return sql.SQL("true")
    found = sql.SQL(" or ").join(unfit.predicate for unfit in unfits)
    return sql.SQL("not ({})").format(found)


def if_fitting(unfits: Sequence[Unrepresentable], expression: sql.Composable) -> sql.Composable:
    """Return `expression`, but NULL for rows of which it could not be computed."""
    if not unfits:
        return expression
    return sql.SQL("case when {} then {} end").format(fitting(unfits), expression)


def digest_of(
    unfits: Sequence[Unrepresentable], fit: sql.Composable, columns: Sequence[str]
) -> sql.Composable:
    """Return the digest of a row: `fit` where the mirror can hold it, else one of its plain `columns`."""
    if not unfits:
        return fit
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    template = sql.SQL("case when {} then {} else md5('rejected' || row({})::text) end")
    return template.format(fitting(unfits), fit, names)


def rejected_sql(
    relation: sql.Composable, columns: Sequence[str], where: sql.Composable, unfits: Sequence[Unrepresentable]
) -> sql.Composed:
    """Return the SELECT of reason and JSON text of the rejected rows; one more than may be, where there are.

    The JSON holds the read columns only: an excluded one may be secret.
    """
    found = (sql.SQL("case when {} then {} end").format(u.predicate, u.reason) for u in unfits)
    reasons = sql.SQL(", ").join(found)
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL(
        "select concat_ws('; ', {reasons}), "
        # With `.*` it is the row: an excluded column may have the name.
        "(select row_to_json(_datamart_q.*)::text from (select {names}) as _datamart_q) "
        "from {relation} where ({where}) and not ({fitting}) limit {limit}"
    ).format(
        reasons=reasons,
        names=names,
        relation=relation,
        where=where,
        fitting=fitting(unfits),
        limit=sql.Literal(MOST_REJECTED + 1),
    )


def rejected_rows(table: str, found: Iterable[tuple[str, str]]) -> tuple[RejectedRow, ...]:
    """Return what `rejected_sql` found, read one by one. Raises: UnfitValueError for too many or too long."""
    rows: list[RejectedRow] = []
    length = 0
    for reason, row in found:
        rows.append(RejectedRow(reason, row))
        length += len(row)
        if length > MOST_REJECTED_TEXT:
            megabytes = MOST_REJECTED_TEXT // 1024**2
            raise _too_many(table, f"rows of more than {megabytes} MB of JSON cannot be held", min(rows))
    if len(rows) > MOST_REJECTED:
        raise _too_many(table, f"more than {MOST_REJECTED} rows cannot be held", min(rows))
    return tuple(sorted(rows))


def _too_many(table: str, what: str, row: RejectedRow) -> UnfitValueError:
    hint = f"Set wider types in tables.{table}.columns, or another primary key. Nothing was written."
    return UnfitValueError(f"{what} by the mirror: {row.reason}", hint=hint)


def rejected_keys_sql(
    relation: sql.Composable, key: Mapping[str, Wire], unfits: Sequence[Unrepresentable]
) -> sql.Composed:
    """Return a derived table of the rejected rows' keys, but for those that are unfit themselves."""
    names = (
        sql.SQL("{} as {}").format(wire.expression, sql.Identifier(wire_name(position)))
        for position, wire in enumerate(key.values())
    )
    in_key = [null_key(name) for name in key]
    in_key += [wire.unfit for wire in key.values() if wire.unfit is not None]
    template = sql.SQL("(select {} from {} where not ({}) and {}) as _datamart_q")
    return template.format(sql.SQL(", ").join(names), relation, fitting(unfits), fitting(in_key))
