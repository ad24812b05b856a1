"""Rejected rows, kept for good in an Iceberg table beside their mirror, without a JVM (R10)."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

import pyarrow as pa  # type: ignore[import-untyped]
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.expressions import In

from iceberg_datamart.core.columns import Column
from iceberg_datamart.errors import CommitConflictError
from iceberg_datamart.lake.appending import append, conflicts, opened
from iceberg_datamart.lake.catalog import writing_metadata
from iceberg_datamart.underway.stopping import effect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyiceberg.table import Table

    from iceberg_datamart.core.source.reads import RejectedRow
    from iceberg_datamart.lake.catalog import LakeCatalog
    from iceberg_datamart.ports import Clock

SUFFIX = "__rejected"
COLUMNS = (
    Column("reason", "string", nullable=False),
    Column("row", "string", nullable=False),
    Column("digest", "string", nullable=False),
    Column("_run_id", "string", nullable=False),
    Column("_rejected_at", "timestamptz", nullable=False),
)
_SCHEMA = pa.schema(
    [pa.field(column.name, pa.string(), nullable=False) for column in COLUMNS[:-1]]
    + [pa.field(COLUMNS[-1].name, pa.timestamp("us", tz="UTC"), nullable=False)]
)


class RejectedRows:
    """The rejected rows of one run's mirrors."""

    def __init__(self, catalog: LakeCatalog, run_id: str, clock: Clock) -> None:
        """Keep rows in tables of `catalog`, each made when its first row comes."""
        self._catalog, self._run_id, self._clock = catalog, run_id, clock

    def add(self, table: str, rows: Sequence[RejectedRow]) -> tuple[RejectedRow, ...]:
        """Append those of `rows` that are not kept yet; return those that this run brought, now or before.

        Raises: CommitConflictError where others kept coming first.
        """
        if not rows:
            return ()
        found = digests(rows)
        try:
            with effect():
                brought = conflicts()(self._append, table + SUFFIX, found)
        except CommitFailedException as error:
            message = f"another run committed to {table}{SUFFIX} while this one was rejecting rows"
            raise CommitConflictError(message, hint="Run again.") from error
        return tuple(row for digest, row in found.items() if digest in brought)

    def _append(self, name: str, rows: Mapping[str, RejectedRow]) -> set[str]:
        """Return the digests of the rows that this run brought."""
        target = opened(self._catalog, name, COLUMNS)
        known = self._known(target, rows)
        missing = [digest for digest in rows if digest not in known]
        if missing:
            now = self._clock.now()
            brought = [
                {
                    "reason": rows[digest].reason,
                    "row": rows[digest].row,
                    "digest": digest,
                    "_run_id": self._run_id,
                    "_rejected_at": now,
                }
                for digest in missing
            ]
            with writing_metadata(empty=False):
                append(target, pa.Table.from_pylist(brought, schema=_SCHEMA))
        return {*missing, *(digest for digest, run_id in known.items() if run_id == self._run_id)}

    def _known(self, target: Table, rows: Mapping[str, RejectedRow]) -> dict[str, str]:
        """Return the run that brought each of the digests that are kept already."""
        if target.current_snapshot() is None:
            return {}
        # To mypy's eyes In has the __init__ of a pydantic model; it has its own.
        among = In("digest", set(rows))  # type: ignore[call-arg, arg-type]
        scan = target.scan(row_filter=among, selected_fields=("digest", "_run_id"))
        return {row["digest"]: row["_run_id"] for row in scan.to_arrow().to_pylist()}


def digests(rows: Sequence[RejectedRow]) -> dict[str, RejectedRow]:
    """Return the rows by a digest of each and of how many equal ones stand before it.

    So equal rows are kept as often as they are there, however often their window is read.
    """
    seen: Counter[RejectedRow] = Counter()
    found = {}
    for row in rows:
        text = repr((row.reason, row.row, seen[row]))
        found[hashlib.sha256(text.encode()).hexdigest()] = row
        seen[row] += 1
    return found
