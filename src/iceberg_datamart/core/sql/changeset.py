"""How two relations differ, as SQL: the changeset of a commit, and the differences that verify shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceberg_datamart.core.sql.dialect import listed, matching
from iceberg_datamart.core.sql.reserved import (
    CHANGE,
    COPIES,
    DELETE,
    INSERT,
    NEW,
    OLD,
    OTHER,
    PLACE,
    REPLACE,
    ROW,
    UPDATE,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.core.sql.dialect import Dialect

# True in every row of its side, so NULL where an outer join found none.
_HERE = "_datamart_here"


@dataclass(frozen=True)
class Sides:
    """Two relations with the same `columns`, compared by `key`: `new`, and what a table holds as `old`.

    Only rows of `old` within `bounds` count. Rows of `new` whose column `deleted` is true must not be in
    `old`. Keys in the relation `protected` are those of rejected rows, of which `old` may hold an earlier
    version. Keys match null-safely where `null_safe`; all other columns always do.

    Where `compared` is not None, `old` has each key once, and beside it these columns alone: the others are
    known to be the same wherever the key is.
    """

    new: str
    old: str
    key: Sequence[str]
    columns: Sequence[str]
    bounds: str = "true"
    deleted: str | None = None
    protected: str | None = None
    null_safe: bool = False
    compared: Sequence[str] | None = None

    @property
    def of_old(self) -> Sequence[str]:
        """Return the columns that `old` has, in the order of `columns`."""
        if self.compared is None:
            return self.columns
        return [name for name in self.columns if name in {*self.key, *self.compared}]


def changeset_sql(dialect: Dialect, sides: Sides, *, full: bool) -> str:
    """Return the SELECT of the rows of `new` that differ from `old`, each with its copies and its change.

    Copies are the rows that `old` holds of a key. With `full`, rows that only `old` holds are deletes, but
    for those whose key is protected. Each key is there once: one that `old` holds more than once, whoever
    wrote it, is to be replaced. Of a delete, columns that `old` does not have are NULL.
    """
    new, key = sides.new, sides.key
    gone = _mark(dialect, sides.deleted)
    doubled = f"coalesce({OLD}.{COPIES} > 1, false)"
    differs = f"{doubled} OR {_differs(dialect, sides.of_old, gone)}"
    if sides.protected:
        same = matching(dialect, key, OTHER, OLD)
        spared = f"SELECT 1 FROM {sides.protected} AS {OTHER} WHERE {same}"
        differs = f"({differs}) AND NOT ({NEW}.{_HERE} IS NULL AND EXISTS ({spared}))"
    held = set(sides.of_old) if full else ()
    values = (_value(dialect.quoted(name), of_either=name in held) for name in sides.columns)
    return (
        f"SELECT {', '.join(values)}, "
        f"coalesce({OLD}.{COPIES}, 0) AS {COPIES}, "
        f"CASE WHEN {NEW}.{_HERE} IS NULL OR {gone} THEN '{DELETE}' WHEN {doubled} THEN '{REPLACE}' "
        f"WHEN {OLD}.{_HERE} IS NULL THEN '{INSERT}' ELSE '{UPDATE}' END AS {CHANGE} "
        f"FROM (SELECT *, true AS {_HERE} FROM {new}) AS {NEW} {'FULL OUTER' if full else 'LEFT'} JOIN "
        f"{_one_row_a_key(dialect, sides, full=full)} AS {OLD} "
        f"ON {matching(dialect, key, OLD, NEW, null_safe=sides.null_safe)} "
        f"WHERE {differs}"
    )


def _one_row_a_key(dialect: Dialect, sides: Sides, *, full: bool) -> str:
    """Return the relation of one row for each key of `old`, with the number of its copies.

    Where `new` decides alone which keys are looked at, and is cheap to read twice, no others are counted.
    """
    old = sides.old
    if dialect.joins_in_steps and not full:
        same = matching(dialect, sides.key, ROW, OTHER, null_safe=sides.null_safe)
        old = dialect.among(old, sides.new, same)
    by, rows = listed(dialect, sides.key), f"{old} AS {OLD} WHERE {sides.bounds}"
    if sides.compared is not None:
        return f"(SELECT *, true AS {_HERE}, 1 AS {COPIES} FROM {rows})"
    counted = f"count(*) OVER (PARTITION BY {by}) AS {COPIES}, {_numbered(dialect, sides.key, sides.key)}"
    return f"(SELECT * FROM (SELECT *, true AS {_HERE}, {counted} FROM {rows}) AS {OLD} WHERE {PLACE} = 1)"


def single_changes_sql(dialect: Dialect, changes: str, columns: Sequence[str]) -> str:
    """Return the SELECT of all changes, of each key to be replaced a delete and an insert."""
    both, one = (dialect.array(each) for each in ((f"'{DELETE}'", f"'{INSERT}'"), (CHANGE,)))
    change = dialect.unnested(f"CASE WHEN {CHANGE} = '{REPLACE}' THEN {both} ELSE {one} END")
    return f"SELECT {listed(dialect, columns)}, {change} AS {CHANGE} FROM {changes}"


def shown(dialect: Dialect, columns: Iterable[Column]) -> str:
    """Return a SELECT's columns as messages show their values.

    Times are text: Python has none before year 1 or after 9999, and shifts them to the local zone.
    """
    names = [(dialect.quoted(column.name), column.type) for column in columns]
    return ", ".join(
        f"{dialect.text(name)} AS {name}" if "date" in kind or "timestamp" in kind else name
        for name, kind in names
    )


def differences_sql(
    dialect: Dialect, sides: Sides, *, pending: str | None = None, rejected: str | None = None
) -> str:
    """Return the SELECT of the rows in which `new` and `old` differ: key as text, how, where, why.

    The columns `pending` and `rejected` of `new` are passed on. Of rows with the same key each has one
    counterpart at most, so that a second copy is missing or too many. Rows of `old` alone whose key is
    protected are older than rows that are rejected.
    """
    new, old, key, columns = sides.new, sides.old, sides.key, sides.columns
    gone = _mark(dialect, sides.deleted)
    numbered = _numbered(dialect, key, columns)
    outdated = f"coalesce({OTHER}.{_HERE}, false) AND {NEW}.{_HERE} IS NULL" if sides.protected else "false"
    either = (f"coalesce({NEW}.{name}, {OLD}.{name})" for name in map(dialect.quoted, key))
    same = matching(dialect, key, OLD, NEW, null_safe=sides.null_safe)
    joined = f"ON {same} AND {NEW}.{PLACE} = {OLD}.{PLACE} "
    if sides.protected:
        spared = f"SELECT DISTINCT {listed(dialect, key)}, true AS {_HERE} FROM {sides.protected}"
        joined += f"LEFT JOIN ({spared}) AS {OTHER} ON {matching(dialect, key, OTHER, OLD)} "
    return (
        f"SELECT {dialect.array(map(dialect.text, either))} AS {PLACE}, "
        f"CASE WHEN {outdated} THEN 'stale' WHEN {NEW}.{_HERE} IS NULL OR {gone} THEN 'extra' "
        f"WHEN {OLD}.{_HERE} IS NULL THEN 'missing' ELSE 'stale' END AS {CHANGE}, "
        f"{_wrong(dialect, columns)} AS wrong, {_mark(dialect, pending)} AS pending, "
        f"{outdated} OR {_mark(dialect, rejected)} AS rejected "
        f"FROM (SELECT *, true AS {_HERE}, {numbered} FROM {new}) AS {NEW} FULL OUTER JOIN "
        f"(SELECT *, true AS {_HERE}, {numbered} FROM {old} AS {OLD} WHERE {sides.bounds}) AS {OLD} "
        f"{joined}WHERE {_differs(dialect, columns, gone)}"
    )


def _wrong(dialect: Dialect, columns: Iterable[str]) -> str:
    """Return the names of the columns in which joined new and old rows differ."""
    names = (
        f"CASE WHEN NOT ({matching(dialect, [name], NEW, OLD, null_safe=True)}) "
        f"THEN {dialect.literal(name)} END"
        for name in columns
    )
    return dialect.known(dialect.array(names))


def _mark(dialect: Dialect, column: str | None) -> str:
    """Return whether a boolean column marks the new row; never NULL."""
    return f"coalesce({NEW}.{dialect.quoted(column)}, false)" if column else "false"


def _numbered(dialect: Dialect, key: Iterable[str], order: Iterable[str]) -> str:
    """Return the column that numbers the rows of each key from 1."""
    by, sorting = (listed(dialect, names) for names in (key, order))
    return f"row_number() OVER (PARTITION BY {by} ORDER BY {sorting}) AS {PLACE}"


def _differs(dialect: Dialect, columns: Iterable[str], gone: str) -> str:
    """Return the predicate that joined new and old rows differ; with `gone`, there must be no old one."""
    same = matching(dialect, columns, NEW, OLD, null_safe=True)
    return (
        f"{NEW}.{_HERE} IS NULL OR ({OLD}.{_HERE} IS NULL AND NOT {gone}) "
        f"OR ({OLD}.{_HERE} AND ({gone} OR NOT ({same})))"
    )


def _value(column: str, *, of_either: bool) -> str:
    if not of_either:
        return f"{NEW}.{column}"
    return f"CASE WHEN {NEW}.{_HERE} IS NULL THEN {OLD}.{column} ELSE {NEW}.{column} END AS {column}"
