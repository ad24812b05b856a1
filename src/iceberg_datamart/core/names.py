"""The name of a source table as people write it, and as the source has it."""

from __future__ import annotations

import re
from dataclasses import dataclass

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
