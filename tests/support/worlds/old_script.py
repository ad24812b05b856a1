"""The Glue script that this package replaces, boiled down to what it did with rows, to show what it lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class OldScript:
    """One watermark for all tables, of whole seconds; increments joined with each other; results appended."""

    connection: psycopg.Connection[Any]
    watermark: str = "1970-01-01 00:00:00"
    appended: list[tuple[Any, ...]] = field(default_factory=list)

    def run(self, *, load_type: str = "incremental") -> None:
        """Do one run. A full load ignores the watermark, and appends just the same."""
        since = "1970-01-01 00:00:00" if load_type == "full" else self.watermark
        increments = {table: self._increment(table, since) for table in ("customer", "purchase")}
        seen = [row["updated_at"] for rows in increments.values() for row in rows or ()]
        if seen:
            self.watermark = max(seen).astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
        if not increments["customer"]:
            return
        by_id = {row["customer_id"]: row for row in increments["customer"]}
        self.appended += [
            (row["customer_id"], by_id[row["customer_id"]]["name"], row["purchase_id"], row["amount"])
            for row in increments["purchase"] or ()
            if row["customer_id"] in by_id
        ]

    def _increment(self, table: str, since: str) -> Sequence[dict[str, Any]] | None:
        """Return the rows after the watermark; None for a table that failed, which the script skipped."""
        try:
            with self.connection.cursor(row_factory=dict_row) as cursor:
                rows = cursor.execute(f"select * from public.{table}").fetchall()
        except psycopg.Error:
            return None
        bound = datetime.strptime(since, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
        return [row for row in rows if row["updated_at"] is not None and row["updated_at"] > bound]
