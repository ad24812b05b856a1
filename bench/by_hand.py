"""The job that a data engineer writes by hand without Spark: PyIceberg's upsert, then the mart by DuckDB.

It reads each table from its greatest cursor value on, which the table's snapshots remember, and writes the
whole mart again. Tables have Iceberg's default properties. Deletes, late commits, failures and two runs at
once are not its concern.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
import pyarrow.compute as pc
from pyiceberg.catalog.sql import SqlCatalog

from bench.copied import copied
from bench.tables import JOINED, KEYS_AND_CURSORS, MART, MART_SQL

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    Connection = psycopg.Connection[Any]

PLACE = "datamart"
_GREATEST = "greatest-cursor"


def run(catalog: Catalog, connection: Connection) -> None:
    """Bring the six tables and the mart up to the source."""
    catalog.create_namespace_if_not_exists(PLACE)
    mirrors = {table: bring_up(catalog, connection, table) for table in KEYS_AND_CURSORS}
    rebuild_mart(catalog, mirrors)


def bring_up(catalog: Catalog, connection: Connection, name: str) -> Table:
    """Merge what changed in a table since the last run; return its mirror."""
    key, cursor = KEYS_AND_CURSORS[name]
    identifier = f"{PLACE}.{name}"
    if not catalog.table_exists(identifier):
        rows = copied(connection, name, cursor, None)
        mirror = catalog.create_table(identifier, rows.schema)
        mirror.append(rows, snapshot_properties=_remembered(rows, cursor))
        return mirror
    mirror = catalog.load_table(identifier)
    snapshot = mirror.current_snapshot()
    since = snapshot.summary[_GREATEST] if snapshot and snapshot.summary else None
    rows = copied(connection, name, cursor, since)
    if rows.num_rows:
        mirror.upsert(rows, [key], snapshot_properties=_remembered(rows, cursor))
    return mirror


def rebuild_mart(catalog: Catalog, mirrors: dict[str, Table]) -> None:
    """Overwrite the mart with the join of the mirrors, as a stream."""
    identifier = f"{PLACE}.{MART}"
    with duckdb.connect() as database:
        database.execute("set TimeZone = 'UTC'")
        for name in JOINED:
            database.register(name, mirrors[name].scan().to_arrow())
        rows = database.sql(MART_SQL.format(place="")).to_arrow_reader(100_000)
        catalog.create_table_if_not_exists(identifier, rows.schema).overwrite(rows)


def _remembered(rows: pa.Table, cursor: str) -> dict[str, str]:
    return {_GREATEST: str(pc.max(rows[cursor]).as_py())}


if __name__ == "__main__":
    own = SqlCatalog("datamart", uri=os.environ["BENCH_CATALOG"], warehouse=os.environ["BENCH_WAREHOUSE"])
    with psycopg.connect(os.environ["BENCH_SOURCE"]) as source:
        run(own, source)
