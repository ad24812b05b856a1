"""A mart's definition as text that outlives the settings: a rerun joins as its snapshot did."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from iceberg_datamart.core.mart.shape import MartShape, MirrorShape, mart_shape
from iceberg_datamart.core.settings.model import MartConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

# The settings that say what the join is; the others say what is done with it.
_SETTINGS = {"from_", "joins", "columns", "filter", "expressions"}


def definition_text(
    config: MartConfig, mirrors: Mapping[str, MirrorShape], kinds: Mapping[str, Mapping[str, str]]
) -> str:
    """Return the text from which `shape_of` makes the mart's shape again, and `kinds_of` these kinds."""
    shapes = {table: [shape.columns, shape.primary_key] for table, shape in mirrors.items()}
    settings = config.model_dump(mode="json", by_alias=True, include=_SETTINGS)
    found = {"mart": settings, "mirrors": shapes, "kinds": {table: dict(kinds[table]) for table in kinds}}
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


def kinds_of(text: str | None) -> Mapping[str, Mapping[str, str]]:
    """Return as what each table's columns were compared; nothing where no text says so."""
    found: Mapping[str, Mapping[str, str]] = {} if text is None else json.loads(text).get("kinds", {})
    return found


def shape_of(mart: str, text: str) -> MartShape:
    """Return the shape of a mart that `definition_text` wrote down."""
    said = json.loads(text)
    shapes = {
        table: MirrorShape(tuple(columns), tuple(key)) for table, (columns, key) in said["mirrors"].items()
    }
    return mart_shape(mart, MartConfig.model_validate(said["mart"]), shapes)
