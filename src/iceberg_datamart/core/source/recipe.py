"""What decides how a source's rows are read, recorded with them, and what has changed since (R19)."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from iceberg_datamart.core.instants import CursorKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iceberg_datamart.core.settings.model import TableConfig
    from iceberg_datamart.core.source.reads import SourceTable

# How the names of columns begin in a recipe; all other names are those of settings and properties.
COLUMN = "column "
# What stands behind this sign in a value tells two values apart and is not shown.
_HIDDEN = " #"


def column_entry(name: str) -> str:
    """Return the name under which a column stands in a recipe."""
    return f"{COLUMN}'{name}'"


def with_hidden(shown: str, *hidden: object) -> str:
    """Return a recipe's value: `shown` to people, and another one wherever one of `hidden` is another."""
    return f"{shown}{_HIDDEN}{hashlib.sha256(repr(hidden).encode()).hexdigest()[:12]}"


def whole_recipe(source: SourceTable, table: TableConfig) -> dict[str, str]:
    """Return what the source told with its columns, and the settings that decide what the mirror holds."""
    configured = {f"columns.{name}.type": found.type for name, found in table.columns.items()}
    # What is not set is left out, so that a setting which checks get later changes no recipe.
    rejecting = [
        check.model_dump_json(exclude_defaults=True) for check in table.checks if check.on_fail == "reject"
    ]
    zoned = source.cursor is CursorKind.TIMESTAMP
    settings = {
        "primary_key": ", ".join(sorted(source.primary_key)),
        "cursor": table.cursor,
        "cursor_timezone": table.cursor_timezone if zoned else None,
        "soft_delete": table.soft_delete,
        "duplicates": None if table.duplicates == "error" else table.duplicates,
        "checks": with_hidden("those that reject rows", *sorted(rejecting)) if rejecting else None,
    }
    return {
        **{column_entry(column.name): column.type for column in source.columns},
        **source.recipe,
        **{name: text for name, text in {**settings, **configured}.items() if text is not None},
    }


def recipe_digest(recipe: Mapping[str, str]) -> str | None:
    """Return what a commit records of a recipe; None of an empty one, which says nothing."""
    return hashlib.sha256(recipe_text(recipe).encode()).hexdigest()[:16] if recipe else None


def recipe_text(recipe: Mapping[str, str]) -> str:
    """Return the recipe as the table keeps it beside the digest, to say later what has changed."""
    return json.dumps(recipe, sort_keys=True, separators=(",", ":"))


def parsed_recipe(text: str) -> dict[str, str]:
    """Return the recipe that `recipe_text` wrote."""
    return {str(name): str(value) for name, value in json.loads(text).items()}


def recipe_changes(recorded: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return what differs, in words, by the name of what differs.

    A column that is read no more is no change: none of the columns that are read holds another value.
    """
    found = {}
    for name in sorted({*recorded, *now}):
        before, after = recorded.get(name), now.get(name)
        if before != after and (after is not None or not name.startswith(COLUMN)):
            found[name] = _sentence(name, before, after)
    return found


def _sentence(name: str, before: str | None, after: str | None) -> str:
    old, new = (None if text is None else text.split(_HIDDEN)[0] for text in (before, after))
    if old is None:
        return f"{name} is new" if name.startswith(COLUMN) else f"{name} is {new} now"
    if new is None:
        return f"{name} was {old}, and is not set any more"
    if old == new:
        return f"{name} ({new}) is read in another way"
    return f"{name} was {old} and is {new} now"
