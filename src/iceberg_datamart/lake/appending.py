"""Tables that only grow, written by PyIceberg without a JVM: each made when its first row comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.io.pyarrow import write_file
from pyiceberg.manifest import DATA_FILE_TYPE
from pyiceberg.table import WriteTask
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER_ID
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa  # type: ignore[import-untyped]
    from pyiceberg.table import Table

    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.lake.catalog import LakeCatalog

# Another writer may have brought the same rows: after a conflict they are looked for again, so
# PyIceberg must not repeat the commit by itself.
_PROPERTIES = {"format-version": "2", "commit.retry.num-retries": "0"}
_ATTEMPTS = 5


def conflicts() -> Retrying:
    """Return what repeats work from its start where another writer committed first."""
    return Retrying(
        retry=retry_if_exception_type(CommitFailedException),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        reraise=True,
    )


def opened(
    catalog: LakeCatalog, name: str, columns: Sequence[Column], properties: Mapping[str, str] | None = None
) -> Table:
    """Return a table as it is now, made if it is missing."""
    try:
        return catalog.load(name)
    except NoSuchTableError:
        catalog.create(name, columns, (), {**_PROPERTIES, **(properties or {})})
        return catalog.load(name)


def append(target: Table, rows: pa.Table, summary: Mapping[str, str] | None = None) -> None:
    """Append rows to a table without partitions, in a data file that says it is not sorted.

    The snapshot's summary has `summary`, too. PyIceberg's own append, up to 0.12, leaves `sort_order_id` out
    (https://github.com/apache/iceberg-python/issues/271), and Trino's `$entries` fails for that.
    """
    position = [field.name for field in DATA_FILE_TYPE[2].fields].index("sort_order_id")
    with (
        target.transaction() as transaction,
        transaction.update_snapshot(dict(summary or {})).fast_append() as producer,
    ):
        task = WriteTask(producer.commit_uuid, 0, target.schema(), rows.to_batches())
        for file in write_file(target.io, target.metadata, iter([task])):
            file[position] = UNSORTED_SORT_ORDER_ID
            producer.append_data_file(file)
