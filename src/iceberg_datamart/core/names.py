"""Names of source tables, as people write them and as sources have them; names of columns that Glue takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# The Iceberg table of runs, a name that no mirror or mart may have.
RUN_TABLE = "_runs"
_GLUE_COLUMN = re.compile(r"[\t\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")
_LONGEST_IN_GLUE = 255
_PART = r'("(?:[^"]|"")+"|[^".]+)'


@dataclass(frozen=True)
class SourceName:
    """The name of a source table, exactly as the source has it; case is kept."""

    schema: str | None
    table: str

    def __post_init__(self) -> None:
        """Raise ValueError for a part that no source can have."""
        if "" in (self.schema, self.table):
            msg = "a schema or table name must not be empty"
            raise ValueError(msg)

    @classmethod
    def parse(cls, text: str) -> SourceName:
        """Return the name that `text` means: `table`, `schema.table`, or with parts in double quotes.

        Raises ValueError, with the fix, where the text can be read in two ways or in none.
        """
        match = re.fullmatch(rf"(?:{_PART}\.)?{_PART}", text)
        parts = match.groups() if match else ()
        if not match or any(part and part != part.strip() for part in parts):
            raise ValueError(_source_name_advice(text))
        schema, table = (part and _unquoted(part) for part in parts)
        return cls(schema, table)

    def __str__(self) -> str:
        """Return the text that `parse` reads back as this name."""
        return ".".join(_quoted(part) for part in (self.schema, self.table) if part is not None)


def unfit_for_glue(names: Iterable[str]) -> str | None:
    """Return what is wrong with column names for Glue, and so for Athena; None where nothing is.

    Glue takes one line of at most 255 bytes (https://docs.aws.amazon.com/glue/latest/webapi/API_Column.html);
    Athena knows lower case only (https://docs.aws.amazon.com/athena/latest/ug/tables-databases-columns-names.html).
    """
    columns = tuple(names)
    for name in columns:
        if not _GLUE_COLUMN.fullmatch(name) or len(name.encode()) > _LONGEST_IN_GLUE:
            return f"column {name!r} is not one line of 1 to {_LONGEST_IN_GLUE} bytes, as Glue needs"
    twins = same_but_for_case(columns)
    if twins is not None:
        return "the columns '{}' and '{}' differ by case alone, which Athena cannot tell apart".format(*twins)
    return None


def same_but_for_case(names: Iterable[str]) -> tuple[str, str] | None:
    """Return two names that differ by case alone; None where there are none."""
    lowered: dict[str, str] = {}
    for name in names:
        other = lowered.setdefault(name.lower(), name)
        if other != name:
            return other, name
    return None


def _unquoted(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def _quoted(part: str) -> str:
    plain = part == part.strip() and not {".", '"'} & set(part)
    return part if plain else '"' + part.replace('"', '""') + '"'


def _source_name_advice(text: str) -> str:
    if '"' in text:
        why = "its double quotes do not enclose whole parts"
    elif text.count(".") > 1:
        why = "it has more than one dot"
    else:
        why = "a part is empty, or begins or ends with a space"
    return f'{text!r} is not a table name: {why}; put double quotes around each part, as in public."my.table"'
