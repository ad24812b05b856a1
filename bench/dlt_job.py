"""The same six tables by dlt: `merge` by key into Iceberg tables, on a folder and the same kind of catalog.

Rows come by the same COPY as those of `by_hand`: dlt takes Arrow tables as they are. Only the first load is
appended: dlt merges by PyIceberg's upsert, 1,000 rows in each commit. It has no marts.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dlt
import psycopg

from bench.copied import copied
from bench.tables import KEYS_AND_CURSORS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

PLACE = "datamart"
_MERGE = {"disposition": "merge", "strategy": "upsert"}


def run(catalog: str, warehouse: Path, url: str) -> None:
    """Bring the six tables up to the source."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["ICEBERG_CATALOG__ICEBERG_CATALOG_NAME"] = PLACE
    os.environ["ICEBERG_CATALOG__ICEBERG_CATALOG_TYPE"] = "sql"
    settings = {"type": "sql", "uri": catalog, "warehouse": str(warehouse)}
    os.environ["ICEBERG_CATALOG__ICEBERG_CATALOG_CONFIG"] = json.dumps(settings)
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=str(warehouse.parent / "dlt"),
        destination=dlt.destinations.filesystem(warehouse.as_uri()),
        dataset_name=PLACE,
    )
    disposition = "append" if pipeline.first_run else _MERGE
    pipeline.run([resource(table, disposition, url) for table in KEYS_AND_CURSORS])


def resource(table: str, disposition: Any, url: str) -> Any:
    """Return dlt's resource of one table."""
    key, cursor = KEYS_AND_CURSORS[table]

    @dlt.resource(name=table, primary_key=key, write_disposition=disposition, table_format="iceberg")
    def rows(since: Any = dlt.sources.incremental(cursor)) -> Iterator[pa.Table]:  # noqa: B008  (as dlt wants it)
        with psycopg.connect(url) as connection:
            yield copied(connection, table, cursor, since.last_value)

    return rows


if __name__ == "__main__":
    run(os.environ["BENCH_CATALOG"], Path(os.environ["BENCH_WAREHOUSE"]), os.environ["BENCH_SOURCE"])
