"""Which columns a mirror must gain or widen, which hold other values now, and what cannot be followed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from iceberg_datamart.core.columns import decimal_size, element_of
from iceberg_datamart.errors import SchemaChangeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.core.source.reads import SourceTable

_ZONELESS, _ZONED = "timestamp", "timestamptz"
_WIDER = {("int", "long"), ("float", "double")}
# The number of a column that the mirror has and the source does not: no source gives it to any.
_GONE = 0
EVOLVE, FAIL, IGNORE = "evolve", "fail", "ignore"


@dataclass(frozen=True)
class SchemaChange:
    """What must happen to a table before rows of a new shape are written: columns to add and to widen.

    `absent` names the columns that only the table still has; their new rows hold NULL. `dropped` names
    those that go. `renamed` pairs names, the old one first; these columns and those that were `recreated`
    hold other values than the table has under their names, also in rows that no window reads.
    """

    added: tuple[Column, ...] = ()
    widened: tuple[Column, ...] = ()
    absent: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    recreated: tuple[str, ...] = ()

    @property
    def new(self) -> tuple[str, ...]:
        """Return the added columns that are no old ones under a new name."""
        others = {*(name for _, name in self.renamed), *self.recreated}
        return tuple(column.name for column in self.added if column.name not in others)

    @property
    def full_load_reason(self) -> str | None:
        """Return why all rows have to be read again; None where no column needs it."""
        found = [f"column '{new}' is new under this name: it was '{old}'" for old, new in self.renamed]
        found += [f"column '{name}' was dropped and recreated" for name in self.recreated]
        return "; ".join(found) or None

    def sentences(self, present: Mapping[str, str]) -> tuple[str, ...]:
        """Return each change in words; `present` are the table's columns, name to Iceberg type."""
        return (
            *(f"renames '{old}' to '{new}'" for old, new in self.renamed),
            *(f"recreates '{name}'" for name in self.recreated),
            *(f"adds '{column.name}' {column.type}" for column in self.added if column.name in self.new),
            *(f"widens '{c.name}' {present[c.name]} to {c.type}" for c in self.widened),
            *(f"'{name}' is gone from the source" for name in self._gone),
        )

    @property
    def _gone(self) -> tuple[str, ...]:
        renamed = {name for name, _ in self.renamed}
        return tuple(name for name in self.absent if name not in renamed)


def schema_change(
    table: str, wanted: Iterable[Column], present: Mapping[str, str], key: Iterable[str]
) -> SchemaChange:
    """Return the changes from the columns `present` (name to Iceberg type) to those `wanted`.

    Raises: SchemaChangeError for a change that Iceberg cannot follow.
    """
    columns = tuple(wanted)
    known = [(column, present[column.name]) for column in columns if column.name in present]
    unlike = incompatible_columns(columns, present)
    if unlike:
        raise _impossible(table, [(column, old) for column, old in known if column.name in unlike])
    absent = tuple(sorted(set(present) - {column.name for column in columns}))
    missing_key = [name for name in key if present and name not in present]
    if missing_key:
        message = f"the key column '{missing_key[0]}' is not in table '{table}', which has another key"
        raise SchemaChangeError(message, hint=f"Drop the table '{table}': the next run creates it again.")
    return SchemaChange(
        added=tuple(column for column in columns if column.name not in present),
        widened=tuple(column for column, old in known if not fits(column.type, old)),
        absent=absent,
    )


def incompatible_columns(
    columns: Iterable[Column], present: Mapping[str, str], key: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return the columns outside of `key` whose type Iceberg can change neither way."""
    known = ((column.name, column.type, present.get(column.name)) for column in columns)
    kept = set(key)
    return tuple(
        name
        for name, kind, old in known
        if name not in kept and old is not None and not fits(kind, old) and not fits(old, kind)
    )


def renumbered(change: SchemaChange, recorded: Mapping[str, int], numbers: Mapping[str, int]) -> SchemaChange:
    """Return the change with what the source's numbers tell of columns since they were recorded.

    A column that has the number of another name was renamed; one whose own is another was recreated.
    """
    names = {number: name for name, number in recorded.items() if number != _GONE}
    renamed = [(names[number], name) for name, number in numbers.items() if names.get(number, name) != name]
    known = {name for _, name in renamed}
    recreated = [
        name for name, number in numbers.items() if name not in known and recorded.get(name, number) != number
    ]
    return replace(change, renamed=tuple(renamed), recreated=tuple(recreated))


def recorded_column_ids(numbers: Mapping[str, int], mirrored: Iterable[str]) -> dict[str, int]:
    """Return what a commit records: the numbers of the source's columns, 0 for others of the mirror.

    Should the source have one of these again, the mirror's rows hold what the old one held.
    """
    return {**dict.fromkeys(mirrored, _GONE), **numbers} if numbers else {}


def unread_columns(source: SourceTable, present: Iterable[str], cursor: str | None) -> tuple[str, ...]:
    """Return the source's columns that are left out where new ones are ignored."""
    kept = {*present, *source.primary_key, cursor}
    return tuple(column.name for column in source.columns if column.name not in kept)


def require_allowed(table: str, change: SchemaChange, present: Mapping[str, str], policy: str) -> None:
    """Raise SchemaChangeError where `policy`, the setting on_schema_change, has no room for the change."""
    setting = f"tables.{table}.on_schema_change"
    refused = replace(change, added=(), absent=(), renamed=(), recreated=()) if policy == IGNORE else change
    said = refused.sentences(present) if policy in {FAIL, IGNORE} else ()
    if not said:
        return
    keeps = ", and the mirror keeps its types" if policy == IGNORE else ""
    message = f"the source's columns have changed: {'; '.join(said)}; {setting} is '{policy}'{keeps}"
    hint = f"Undo it in the source, or set {setting}: evolve. Nothing was written to '{table}'."
    raise SchemaChangeError(message, hint=hint)


def held_columns(
    table: str, columns: Iterable[Column], present: Mapping[str, str], *, zoneless: bool
) -> tuple[Column, ...]:
    """Return a source's columns with the types that the mirror holds them in.

    Where the engine has no timestamps without zone (`zoneless` is false) they are held as timestamptz in
    UTC, and a mirror that holds them so keeps them so on every engine; so it does with wider types.
    `present` are the mirror's columns, name to Iceberg type.

    Raises: SchemaChangeError where the mirror has a type that the engine cannot read.
    """
    unread = next((name for name, kind in present.items() if kind == _ZONELESS and not zoneless), None)
    if unread is not None:
        message = f"column '{unread}' of the mirror is a timestamp without zone, a type that Spark 3.3 lacks"
        hint = f"Run this job on glue-5.1 as before, or drop the mirror '{table}' and load it again."
        raise SchemaChangeError(message, hint=hint)
    return tuple(
        replace(column, type=_held(column.type, present.get(column.name), zoneless)) for column in columns
    )


def _held(kind: str, present: str | None, zoneless: bool) -> str:
    if kind == _ZONELESS and (not zoneless or present == _ZONED):
        return _ZONED
    return present if present is not None and fits(kind, present) else kind


def same_in_files(columns: Iterable[Column]) -> tuple[str, str] | None:
    """Return two columns that Iceberg or its Parquet files would call the same; None where there are none.

    Signs that are neither letters nor digits are spelled by their numbers in files: `a b` is `a_x20b`; before
    a digit at the beginning there is `_`. To Iceberg the elements of a list `a` are `a.element`.
    """
    found: dict[str, str] = {}
    for column in columns:
        names = [column.name, f"{column.name}.element"] if element_of(column.type) else [column.name]
        for name in (*names, _in_files(column.name)):
            other = found.setdefault(name, column.name)
            if other != column.name:
                return other, column.name
    return None


def _in_files(name: str) -> str:
    """Return a name as Iceberg's AvroSchemaUtil spells it, also for Parquet."""
    spelled = "".join(each if each.isalnum() or each == "_" else f"_x{ord(each):X}" for each in name)
    return f"_{spelled}" if name[:1].isdigit() else spelled


def fits(narrow: str, wide: str) -> bool:
    """Return whether every value of the Iceberg type `narrow` is one of `wide`, by Iceberg's promotions."""
    if narrow == wide or (narrow, wide) in _WIDER:
        return True
    elements = element_of(narrow), element_of(wide)
    if elements[0] is not None and elements[1] is not None:
        return fits(elements[0], elements[1])
    small, large = decimal_size(narrow), decimal_size(wide)
    if small is None or large is None:
        return False
    return small.scale == large.scale and small.precision <= large.precision


def _impossible(table: str, changed: Sequence[tuple[Column, str]]) -> SchemaChangeError:
    """Return the error for columns and the types that they had."""
    column, old = changed[0]
    message = (
        f"column '{column.name}' changed from {old} to {column.type} in the source; "
        f"Iceberg cannot change {old} to {column.type}"
    )
    name = column.name
    if len(changed) > 1:
        each = ", ".join(f"'{column.name}' from {old} to {column.type}" for column, old in changed)
        message, name = f"columns changed in the source as Iceberg cannot change them: {each}", "<name>"
    hint = (
        f"Set tables.{table}.columns.{name}.type, or exclude the column with tables.{table}.exclude; or drop "
        f"it from the mirror, then run `iceberg-datamart backfill --table {table}`. "
        f"Nothing was written to '{table}'."
    )
    return SchemaChangeError(message, hint=hint)
