"""Which columns a mirror must gain or widen, and which changes Iceberg cannot follow."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from iceberg_datamart.errors import SchemaChangeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from iceberg_datamart.reading import Column

_DECIMAL = re.compile(r"decimal\((\d+), ?(\d+)\)")
_ZONELESS, _ZONED = "timestamp", "timestamptz"
_GLUE_COLUMN = re.compile(r"[\t\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")
_LONGEST_IN_GLUE = 255
_WIDER = {("int", "long"), ("float", "double")}


@dataclass(frozen=True)
class SchemaChange:
    """What must happen to a table before rows of a new shape are written: columns to add and to widen.

    `absent` names the columns that only the table still has; their new rows hold NULL. `dropped` names
    those that go.
    """

    added: tuple[Column, ...] = ()
    widened: tuple[Column, ...] = ()
    absent: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


def schema_change(
    table: str, wanted: Iterable[Column], present: Mapping[str, str], key: Iterable[str]
) -> SchemaChange:
    """Return the changes from the columns `present` (name to Iceberg type) to those `wanted`.

    Raises: SchemaChangeError for a change that Iceberg cannot follow.
    """
    columns = tuple(wanted)
    for column in columns:
        old = present.get(column.name)
        if old is not None and not (fits(column.type, old) or fits(old, column.type)):
            raise _impossible(table, column, old)
    absent = tuple(sorted(set(present) - {column.name for column in columns}))
    missing_key = [name for name in key if present and name not in present]
    if missing_key:
        message = f"the key column '{missing_key[0]}' is not in the mirror, which has another key"
        raise SchemaChangeError(message, hint=f"Drop the mirror '{table}' and load it again.")
    return SchemaChange(
        added=tuple(column for column in columns if column.name not in present),
        widened=tuple(c for c in columns if c.name in present and not fits(c.type, present[c.name])),
        absent=absent,
    )


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
    """Return two columns that Iceberg's Parquet files would call the same; None where there are none.

    Signs that are neither letters nor digits are spelled by their numbers there: `a b` is `a_x20b`.
    """
    found: dict[str, str] = {}
    for column in columns:
        spelled = "".join(
            each if each.isalnum() or each == "_" else f"_x{ord(each):X}" for each in column.name
        )
        other = found.setdefault(spelled, column.name)
        if other != column.name:
            return other, column.name
    return None


def unfit_for_glue(names: Iterable[str]) -> str | None:
    """Return what is wrong with column names for Glue, and so for Athena; None where nothing is.

    Glue takes one line of at most 255 bytes (https://docs.aws.amazon.com/glue/latest/webapi/API_Column.html);
    Athena knows lower case only (https://docs.aws.amazon.com/athena/latest/ug/tables-databases-columns-names.html).
    """
    lowered: dict[str, str] = {}
    for name in names:
        if not _GLUE_COLUMN.fullmatch(name) or len(name.encode()) > _LONGEST_IN_GLUE:
            return f"column {name!r} is not one line of 1 to {_LONGEST_IN_GLUE} bytes, as Glue needs"
        other = lowered.setdefault(name.lower(), name)
        if other != name:
            return f"the columns '{other}' and '{name}' differ by case alone, which Athena cannot tell apart"
    return None


def fits(narrow: str, wide: str) -> bool:
    """Return whether every value of the Iceberg type `narrow` is one of `wide`, by Iceberg's promotions."""
    if narrow == wide or (narrow, wide) in _WIDER:
        return True
    small, large = _DECIMAL.fullmatch(narrow), _DECIMAL.fullmatch(wide)
    if small is None or large is None:
        return False
    return small[2] == large[2] and int(small[1]) <= int(large[1])


def _impossible(table: str, column: Column, old: str) -> SchemaChangeError:
    message = (
        f"column '{column.name}' changed from {old} to {column.type} in the source; "
        f"Iceberg cannot change {old} to {column.type}"
    )
    hint = (
        f"Set tables.{table}.columns.{column.name}.type, or exclude the column with tables.{table}.exclude. "
        f"Nothing was written to '{table}'."
    )
    return SchemaChangeError(message, hint=hint)
