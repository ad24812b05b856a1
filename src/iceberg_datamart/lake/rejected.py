"""Rejected rows, kept for good in an Iceberg table beside their mirror, without a JVM (R10)."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

import pyarrow as pa  # type: ignore[import-untyped]
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.expressions import In
from pyiceberg.io.pyarrow import write_file
from pyiceberg.manifest import DATA_FILE_TYPE
from pyiceberg.table import WriteTask
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER_ID
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from iceberg_datamart.core.columns import Column
from iceberg_datamart.errors import CommitConflictError
from iceberg_datamart.lake.catalog import writing_metadata

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
# Another writer may have brought the same rows: after a conflict they are looked for again, so
# PyIceberg must not repeat the commit by itself.
_PROPERTIES = {"format-version": "2", "commit.retry.num-retries": "0"}
_ATTEMPTS = 5
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
        conflicts = Retrying(
            retry=retry_if_exception_type(CommitFailedException),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.1, max=2),
            reraise=True,
        )
        try:
            brought = conflicts(self._append, table + SUFFIX, found)
        except CommitFailedException as error:
            message = f"another run committed to {table}{SUFFIX} while this one was rejecting rows"
            raise CommitConflictError(message, hint="Run again.") from error
        return tuple(row for digest, row in found.items() if digest in brought)

    def _append(self, name: str, rows: Mapping[str, RejectedRow]) -> set[str]:
        """Return the digests of the rows that this run brought."""
        target = self._opened(name)
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

    def _opened(self, name: str) -> Table:
        try:
            return self._catalog.load(name)
        except NoSuchTableError:
            self._catalog.create(name, COLUMNS, (), _PROPERTIES)
            return self._catalog.load(name)

    def _known(self, target: Table, rows: Mapping[str, RejectedRow]) -> dict[str, str]:
        """Return the run that brought each of the digests that are kept already."""
        if target.current_snapshot() is None:
            return {}
        # To mypy's eyes In has the __init__ of a pydantic model; it has its own.
        among = In("digest", set(rows))  # type: ignore[call-arg, arg-type]
        scan = target.scan(row_filter=among, selected_fields=("digest", "_run_id"))
        return {row["digest"]: row["_run_id"] for row in scan.to_arrow().to_pylist()}


def append(target: Table, rows: pa.Table) -> None:
    """Append rows to a table without partitions, in a data file that says it is not sorted.

    PyIceberg's own append, up to 0.12, leaves `sort_order_id` out
    (https://github.com/apache/iceberg-python/issues/271), and Trino's `$entries` fails for that.
    """
    position = [field.name for field in DATA_FILE_TYPE[2].fields].index("sort_order_id")
    with target.transaction() as transaction, transaction.update_snapshot().fast_append() as producer:
        task = WriteTask(producer.commit_uuid, 0, target.schema(), rows.to_batches())
        for file in write_file(target.io, target.metadata, iter([task])):
            file[position] = UNSORTED_SORT_ORDER_ID
            producer.append_data_file(file)


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
