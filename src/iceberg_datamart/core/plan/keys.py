"""A primary key is proven by the source, or its table is refused (R18)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.errors import DuplicateKeyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iceberg_datamart.core.source.reads import SharedKeys

ERROR, NEWEST = "error", "newest"


def require_unique(table: str, key: Sequence[str], shared: SharedKeys, duplicates: str) -> str | None:
    """Return what the report says of rows that give way to a newer one of their key; None where none does.

    Raises: DuplicateKeyError where that would be a guess which the settings do not ask for.
    """
    names = ", ".join(key)
    if shared.undecided and duplicates != NEWEST:
        what = f"{shared.undecided} values of it belong to more than one row"
        message = f"primary key ({names}) is no key of the source: {what}, for example {shared.example}"
        hint = (
            f"Set tables.{table}.primary_key to columns that identify a row, or tables.{table}.duplicates: "
            "newest to keep of each key the row with the greatest cursor. Nothing was written."
        )
        raise DuplicateKeyError(message, hint=hint)
    if not shared.keys:
        return None
    return (
        f"table '{table}': {shared.dropped} rows are left out, for {shared.keys} values of the key ({names}) "
        f"belong to several rows, of which the newest stays; for example {shared.example}"
    )
