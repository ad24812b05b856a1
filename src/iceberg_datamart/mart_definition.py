"""A mart's definition as text that outlives the settings: a rerun joins as its snapshot did."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from iceberg_datamart.config import MartConfig
from iceberg_datamart.mart import MartShape, MirrorShape, mart_shape

if TYPE_CHECKING:
    from collections.abc import Mapping

# The settings that say what the join is; the others say what is done with it.
_SETTINGS = {"from_", "joins", "columns", "filter", "expressions"}


def definition_text(config: MartConfig, mirrors: Mapping[str, MirrorShape]) -> str:
    """Return the text from which `shape_of` makes the mart's shape again."""
    shapes = {table: [shape.columns, shape.primary_key] for table, shape in mirrors.items()}
    settings = config.model_dump(mode="json", by_alias=True, include=_SETTINGS)
    return json.dumps({"mart": settings, "mirrors": shapes}, ensure_ascii=False, separators=(",", ":"))


def shape_of(mart: str, text: str) -> MartShape:
    """Return the shape of a mart that `definition_text` wrote down."""
    said = json.loads(text)
    shapes = {
        table: MirrorShape(tuple(columns), tuple(key)) for table, (columns, key) in said["mirrors"].items()
    }
    return mart_shape(mart, MartConfig.model_validate(said["mart"]), shapes)
