"""Which marts only Spark can compute as they are meant: people write their expressions in its SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.quality.spark_only import spark_only as of_quality
from iceberg_datamart.core.sql.whitelist import reason_outside, translated

if TYPE_CHECKING:
    from iceberg_datamart.core.mart.shape import MartShape
    from iceberg_datamart.core.settings.model import MartConfig


def spark_only(config: MartConfig, shape: MartShape) -> str | None:
    """Return why a mart needs Spark, with the setting; None where it does not.

    The types of the mirrors' columns must be known to `shape`: of others nothing is said but that.
    """
    where, types = f"marts.{shape.name}", shape.types
    columns = [Column(name, types[name]) for name in shape.selected if name in types]
    for name, text in shape.expressions.items():
        reason = reason_outside(text, types)
        if reason is not None:
            return f"{where}.expressions.{name}: {reason}"
        columns.append(Column(name, translated(text, types).type))
    if shape.filter is not None:
        reason = reason_outside(shape.filter, types, is_predicate=True)
        if reason is not None:
            return f"{where}.filter: {reason}"
    return of_quality(where, config.checks, config.audits, columns)
