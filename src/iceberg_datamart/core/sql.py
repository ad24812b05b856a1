"""The SQL text that Spark runs: quoting, literals, key ranges, changesets and MERGE.

Names are always quoted, values always literals. The pure tests run most of it on SQLite.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.state.watermark import microseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from iceberg_datamart.core.changes import Lineage, Merge

RUN_ID = "_run_id"
MERGED_AT = "_merged_at"
CHANGE = "_datamart_change"
LINEAGE = (Column(RUN_ID, "string"), Column(MERGED_AT, "timestamptz"))
LINEAGE_NAMES = frozenset(column.name for column in LINEAGE)
PLACE = "_datamart_place"
# Names of Iceberg's metadata columns: https://iceberg.apache.org/spec/#reserved-field-ids
_METADATA = frozenset(
    {
        *("_file", "_pos", "_deleted", "_spec_id", "_partition", "_row_id", "_last_updated_sequence_number"),
        *("_change_type", "_change_ordinal", "_commit_snapshot_id"),
    }
)
_HERE = "_datamart_here"
# Aliases of relations. No column can have these names: of a column `x`, `x.id` would be a field.
NEW, OLD = "_datamart_new", "_datamart_old"
ROW, OTHER = "_datamart_row", "_datamart_other"
_EACH = "_datamart_each"
INSERT, UPDATE, DELETE = "insert", "update", "delete"
# Of a key that the table holds more than once: all of them go, and one row comes.
REPLACE = "replace"
# How many rows of the table have the key of a changed row; 0 for a new one.
COPIES = "_datamart_copies"
_MOST_RANGES = 31
_MOST_LISTED = 100
_RANGED_TYPES = ("int", "long", "string", "date", "timestamptz", "decimal")


@dataclass(frozen=True)
class KeyRange:
    """The values of one column from `low` to `high`, both closed, as the SQL literals they are."""

    low: str
    high: str


def is_taken(column: str) -> bool:
    """Return whether a mirror cannot have a column of this name beside its own and Iceberg's."""
    # In lower case: to Spark two names that differ in case alone are one.
    name = column.lower()
    return name in LINEAGE_NAMES | _METADATA or name.startswith("_datamart_")


def quoted(*names: str) -> str:
    """Return a dotted identifier in Spark's quotes."""
    return ".".join("`" + name.replace("`", "``") + "`" for name in names)


def literal(value: Any, iceberg_type: str = "string") -> str:
    """Return a Spark literal. Timestamps and dates are given as microseconds or days since 1970."""
    if iceberg_type == "timestamptz":
        return f"timestamp_micros({int(value)}L)"
    if iceberg_type == "date":
        return f"date_from_unix_date({int(value)})"
    if iceberg_type == "long":
        return f"{int(value)}L"
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return f"{value:f}BD" if isinstance(value, Decimal) else str(value)
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def has_ranges(column: Column) -> bool:
    """Return whether ranges of a column's values prune files; other values may not even be hashable."""
    return column.type.startswith(_RANGED_TYPES)


def key_ranges(column: Column, values: Iterable[Any]) -> tuple[KeyRange, ...]:
    """Return at most 31 ranges that hold all `values`, cut at the largest gaps; none where no range helps.

    Measured on 200 sorted files: an IN list of scattered keys prunes nothing, such ranges prune all
    but the files that hold a key. Values without a distance, such as text, make one range.
    """
    if not has_ranges(column):
        return ()
    known = {value for value in values if value is not None}
    return tuple(KeyRange(literal(low, column.type), literal(high, column.type)) for low, high in runs(known))


def runs(values: Iterable[Any]) -> list[tuple[Any, Any]]:
    """Return at most 31 pairs of least and greatest value that hold all `values`, cut at the largest gaps."""
    known = sorted(set(values))
    cuts: list[int] = []
    if known and not isinstance(known[0], str):
        gaps = sorted(range(1, len(known)), key=lambda at: known[at] - known[at - 1], reverse=True)
        cuts = sorted(at for at in gaps[: _MOST_RANGES - 1] if known[at] - known[at - 1] > 1)
    edges = [0, *cuts, len(known)] if known else []
    return [(known[low], known[high - 1]) for low, high in pairwise(edges)]


def within(column: str, ranges: Sequence[KeyRange], alias: str = OLD) -> str:
    """Return the predicate that a column lies in one of `ranges`; `true` for no ranges."""
    name = f"{alias}.{quoted(column)}"
    found = [
        f"{name} = {part.low}"
        if part.low == part.high
        else f"({name} >= {part.low} AND {name} <= {part.high})"
        for part in ranges
    ]
    return "(" + " OR ".join(found) + ")" if found else "true"


def one_of(columns: Sequence[Column], rows: Sequence[Sequence[Any]], alias: str) -> str | None:
    """Return the predicate that `columns` are those of one of `rows`, said as literals.

    None where they cannot be said so, or are more than a plan should hold.
    """
    told = all(has_ranges(column) for column in columns) and not any(None in row for row in rows)
    if not told or len(rows) * len(columns) > _MOST_LISTED:
        return None
    if not rows:
        return "false"
    names = [f"{alias}.{quoted(column.name)}" for column in columns]
    said = [[literal(value, column.type) for value, column in zip(row, columns, strict=True)] for row in rows]
    if len(names) == 1:
        return f"{names[0]} IN ({', '.join(value for (value,) in said)})"
    each = (" AND ".join(f"{n} = {value}" for n, value in zip(names, row, strict=True)) for row in said)
    return f"({' OR '.join(f'({text})' for text in each)})"


def matching(columns: Iterable[str], left: str, right: str, *, null_safe: bool = False) -> str:
    """Return the predicate that two rows have the same `columns`."""
    sign = "<=>" if null_safe else "="
    return " AND ".join(f"{left}.{quoted(name)} {sign} {right}.{quoted(name)}" for name in columns)


@dataclass(frozen=True)
class Sides:
    """Two relations with the same `columns`, compared by `key`: `new`, and what a table holds as `old`.

    Only rows of `old` within `bounds` count. Rows of `new` whose column `deleted` is true must not be in
    `old`. Keys in the relation `protected` are those of rejected rows, of which `old` may hold an earlier
    version. Keys match null-safely where `null_safe`; all other columns always do.
    """

    new: str
    old: str
    key: Sequence[str]
    columns: Sequence[str]
    bounds: str = "true"
    deleted: str | None = None
    protected: str | None = None
    null_safe: bool = False


def changeset_sql(sides: Sides, *, full: bool) -> str:
    """Return the SELECT of the rows of `new` that differ from `old`, each with its copies and its change.

    Copies are the rows that `old` holds of a key. With `full`, rows that only `old` holds are deletes, but
    for those whose key is protected. Each key is there once: one that `old` holds more than once, whoever
    wrote it, is to be replaced.
    """
    new, old, key, columns = sides.new, sides.old, sides.key, sides.columns
    gone = _mark(sides.deleted)
    doubled = f"coalesce({OLD}.{COPIES} > 1, false)"
    differs = f"{doubled} OR {_differs(columns, gone)}"
    if sides.protected:
        spared = f"SELECT 1 FROM {sides.protected} AS {OTHER} WHERE {matching(key, OTHER, OLD)}"
        differs = f"({differs}) AND NOT ({NEW}.{_HERE} IS NULL AND EXISTS ({spared}))"
    by = ", ".join(quoted(name) for name in key)
    counted = f"count(*) OVER (PARTITION BY {by}) AS {COPIES}, {_numbered(key, key)}"
    return (
        f"SELECT {', '.join(_value(name, full=full) for name in columns)}, "
        f"coalesce({OLD}.{COPIES}, 0) AS {COPIES}, "
        f"CASE WHEN {NEW}.{_HERE} IS NULL OR {gone} THEN '{DELETE}' WHEN {doubled} THEN '{REPLACE}' "
        f"WHEN {OLD}.{_HERE} IS NULL THEN '{INSERT}' ELSE '{UPDATE}' END AS {CHANGE} "
        f"FROM (SELECT *, true AS {_HERE} FROM {new}) AS {NEW} {'FULL OUTER' if full else 'LEFT'} JOIN "
        f"(SELECT * FROM (SELECT *, true AS {_HERE}, {counted} FROM {old} AS {OLD} "
        f"WHERE {sides.bounds}) AS {OLD} "
        f"WHERE {PLACE} = 1) AS {OLD} "
        f"ON {matching(key, OLD, NEW, null_safe=sides.null_safe)} "
        f"WHERE {differs}"
    )


def single_changes_sql(changes: str, columns: Sequence[str]) -> str:
    """Return the SELECT of all changes, of each key to be replaced a delete and an insert."""
    both = f"array('{DELETE}', '{INSERT}')"
    change = f"explode(CASE WHEN {CHANGE} = '{REPLACE}' THEN {both} ELSE array({CHANGE}) END) AS {CHANGE}"
    return f"SELECT {', '.join(map(quoted, columns))}, {change} FROM {changes}"


def shown(columns: Iterable[Column]) -> str:
    """Return a SELECT's columns as messages show their values.

    Times are text: Python has none before year 1 or after 9999, and shifts them to the local zone.
    """
    return ", ".join(
        f"CAST({quoted(column.name)} AS STRING) AS {quoted(column.name)}"
        if "date" in column.type or "timestamp" in column.type
        else quoted(column.name)
        for column in columns
    )


def differences_sql(sides: Sides, *, pending: str | None = None, rejected: str | None = None) -> str:
    """Return the SELECT of the rows in which `new` and `old` differ: key as text, how, where, why.

    The columns `pending` and `rejected` of `new` are passed on. Of rows with the same key each has one
    counterpart at most, so that a second copy is missing or too many. Rows of `old` alone whose key is
    protected are older than rows that are rejected.
    """
    new, old, key, columns = sides.new, sides.old, sides.key, sides.columns
    gone = _mark(sides.deleted)
    numbered = _numbered(key, columns)
    outdated = f"coalesce({OTHER}.{_HERE}, false) AND {NEW}.{_HERE} IS NULL" if sides.protected else "false"
    shown = ", ".join(f"CAST(coalesce({NEW}.{quoted(name)}, {OLD}.{quoted(name)}) AS STRING)" for name in key)
    joined = f"ON {matching(key, OLD, NEW, null_safe=sides.null_safe)} AND {NEW}.{PLACE} = {OLD}.{PLACE} "
    if sides.protected:
        names = ", ".join(quoted(name) for name in key)
        joined += f"LEFT JOIN (SELECT DISTINCT {names}, true AS {_HERE} FROM {sides.protected}) AS {OTHER} "
        joined += f"ON {matching(key, OTHER, OLD)} "
    return (
        f"SELECT array({shown}) AS {PLACE}, "
        f"CASE WHEN {outdated} THEN 'stale' WHEN {NEW}.{_HERE} IS NULL OR {gone} THEN 'extra' "
        f"WHEN {OLD}.{_HERE} IS NULL THEN 'missing' ELSE 'stale' END AS {CHANGE}, "
        f"{_wrong(columns)} AS wrong, {_mark(pending)} AS pending, "
        f"{outdated} OR {_mark(rejected)} AS rejected "
        f"FROM (SELECT *, true AS {_HERE}, {numbered} FROM {new}) AS {NEW} FULL OUTER JOIN "
        f"(SELECT *, true AS {_HERE}, {numbered} FROM {old} AS {OLD} WHERE {sides.bounds}) AS {OLD} "
        f"{joined}WHERE {_differs(columns, gone)}"
    )


def _wrong(columns: Iterable[str]) -> str:
    """Return the names of the columns in which joined new and old rows differ."""
    wrong = ", ".join(
        f"CASE WHEN NOT ({NEW}.{quoted(name)} <=> {OLD}.{quoted(name)}) THEN {literal(name)} END"
        for name in columns
    )
    return f"filter(array({wrong}), {_EACH} -> {_EACH} IS NOT NULL)"


def _mark(column: str | None) -> str:
    """Return whether a boolean column marks the new row; never NULL."""
    return f"coalesce({NEW}.{quoted(column)}, false)" if column else "false"


def _numbered(key: Iterable[str], order: Iterable[str]) -> str:
    """Return the column that numbers the rows of each key from 1."""
    by, sorting = (", ".join(quoted(name) for name in names) for names in (key, order))
    return f"row_number() OVER (PARTITION BY {by} ORDER BY {sorting}) AS {PLACE}"


def _differs(columns: Iterable[str], gone: str) -> str:
    """Return the predicate that joined new and old rows differ; with `gone`, there must be no old one."""
    same = matching(columns, NEW, OLD, null_safe=True)
    return (
        f"{NEW}.{_HERE} IS NULL OR ({OLD}.{_HERE} IS NULL AND NOT {gone}) "
        f"OR ({OLD}.{_HERE} AND ({gone} OR NOT ({same})))"
    )


def _value(name: str, *, full: bool) -> str:
    column = quoted(name)
    if not full:
        return f"{NEW}.{column}"
    return f"CASE WHEN {NEW}.{_HERE} IS NULL THEN {OLD}.{column} ELSE {NEW}.{column} END AS {column}"


def merge_sql(target: str, merge: Merge) -> str:
    """Return the MERGE that applies a changeset. Every column is named: Iceberg 1.0 demands it.

    Its bounds prune files: Iceberg scans the whole target without literal bounds in ON. Run id and time are
    literals: nothing nondeterministic may stand in a MERGE (iceberg issue 14585). Absent columns are NULL in
    new rows, kept in others. An insert matches nothing: of a key that is replaced, the delete takes all rows
    that are there. Keys match null-safely: what the table holds decides, which may have been written under
    other settings.
    """
    values = {name: f"{NEW}.{quoted(name)}" for name in merge.columns} | lineage_values(merge.lineage)
    changed = (name for name in values if name not in merge.key)
    sets = ", ".join(f"{OLD}.{quoted(name)} = {values[name]}" for name in changed)
    inserted = values | {column.name: "NULL" for column in merge.absent}
    names = ", ".join(quoted(name) for name in inserted)
    return (
        f"MERGE INTO {target} AS {OLD} USING {merge.relation} AS {NEW} "
        f"ON {merge.bounds} AND {matching(merge.key, OLD, NEW, null_safe=True)} AND "
        f"{NEW}.{CHANGE} <> '{INSERT}' "
        f"WHEN MATCHED AND {NEW}.{CHANGE} = '{DELETE}' THEN DELETE "
        f"WHEN MATCHED THEN UPDATE SET {sets} "
        f"WHEN NOT MATCHED AND {NEW}.{CHANGE} <> '{DELETE}' "
        f"THEN INSERT ({names}) VALUES ({', '.join(inserted.values())})"
    )


def lineage_values(lineage: Lineage) -> dict[str, str]:
    """Return the lineage columns and their values as literals."""
    merged_at = literal(microseconds(lineage.merged_at), "timestamptz")
    return {RUN_ID: literal(lineage.run_id), MERGED_AT: merged_at}


def deduplicated_sql(
    batch: str, key: Sequence[str], columns: Sequence[str], cursor: str | None, marks: Sequence[str] = ()
) -> str:
    """Return the SELECT of `columns` and `marks` that keeps one row a key.

    That of the greatest cursor, then of the greatest of all values.
    """
    order = [f"{quoted(cursor)} DESC NULLS LAST"] if cursor else []
    order += [f"{quoted(name)} DESC NULLS LAST" for name in columns if name not in key and name != cursor]
    by = ", ".join(quoted(name) for name in key)
    return (
        f"SELECT {', '.join(map(quoted, (*columns, *marks)))} FROM (SELECT *, row_number() OVER "
        f"(PARTITION BY {by} ORDER BY {', '.join(order) or by}) AS {PLACE} FROM {batch}) WHERE {PLACE} = 1"
    )


def shared_keys_sql(batch: str, key: Sequence[str], columns: Sequence[str], cursor: str | None) -> str:
    """Return the SELECT that counts the keys of several rows, these rows, and keys without one newest row.

    Rows of a key that are equal, or of which one has the greatest cursor, leave no doubt. The last column is
    one such key as text.
    """
    by = ", ".join(quoted(name) for name in key)
    place = f"rank() OVER (PARTITION BY {by} ORDER BY {quoted(cursor)} DESC NULLS LAST)" if cursor else "1"
    row = f"struct({', '.join(quoted(name) for name in columns)})"
    shown = ", ', ', ".join(f"{literal(name + '=')}, CAST({quoted(name)} AS STRING)" for name in key)
    return (
        f"SELECT count(*), coalesce(sum(_datamart_rows), 0), count_if(_datamart_newest > 1), "
        f"min(_datamart_example) FROM (SELECT count(*) AS _datamart_rows, "
        f"count(DISTINCT CASE WHEN {PLACE} = 1 THEN {row} END) AS _datamart_newest, "
        f"min(concat({shown})) AS _datamart_example "
        f"FROM (SELECT *, {place} AS {PLACE} FROM {batch}) GROUP BY {by} HAVING count(*) > 1)"
    )


def repeated_key_sql(relation: str, key: Sequence[str]) -> str:
    """Return the SELECT of a key, as text, that several rows of `relation` have; nothing where none has."""
    by = ", ".join(quoted(name) for name in key)
    shown = ", ".join(f"CAST({quoted(name)} AS STRING)" for name in key)
    return f"SELECT {shown} FROM {relation} GROUP BY {by} HAVING count(*) > 1 LIMIT 1"


def versions_sql(table: str, appended: str, key: Sequence[str]) -> str:
    """Return the SELECT of all rows of `table` whose key is that of a row in `appended`."""
    shared = matching(key, NEW, OTHER)
    return f"SELECT {NEW}.* FROM {table} AS {NEW} LEFT SEMI JOIN {appended} AS {OTHER} ON {shared}"


def without_older_sql(batch: str, mirror: str, key: Sequence[str], cursor: str) -> str:
    """Return the SELECT of the rows of `batch` whose cursor is not below that of the mirror's row.

    NULL is below every value.
    """
    name = quoted(cursor)
    older = f"{OLD}.{name} IS NOT NULL AND ({NEW}.{name} IS NULL OR {OLD}.{name} > {NEW}.{name})"
    return (
        f"SELECT {NEW}.* FROM {batch} AS {NEW} LEFT ANTI JOIN {mirror} AS {OLD} "
        f"ON {matching(key, OLD, NEW)} AND {older}"
    )
