"""What one commit does to the rows of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from iceberg_datamart.core.columns import Column


@dataclass(frozen=True)
class Lineage:
    """What every row of a run carries."""

    run_id: str
    merged_at: datetime


@dataclass(frozen=True)
class Append:
    """Rows of `relation` that are all new to the table, in files sorted by `order` where it is not empty.

    `absent` are columns that only the table has: they are NULL.
    """

    table: str
    relation: str
    columns: Sequence[str]
    lineage: Lineage
    absent: Sequence[Column] = ()
    order: Sequence[str] = ()


@dataclass(frozen=True)
class Merge:
    """Changed rows, as `core.sql.changeset` selects them, and a predicate that bounds their keys."""

    table: str
    relation: str
    key: Sequence[str]
    columns: Sequence[str]
    lineage: Lineage
    absent: Sequence[Column] = ()
    bounds: str = "true"


Change: TypeAlias = "Append | Merge"
