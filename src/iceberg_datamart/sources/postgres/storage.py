"""In which files PostgreSQL stores a table, and at which point of its life the server is (R20)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from psycopg import Error
from psycopg.rows import class_row

from iceberg_datamart.core.source.reads import StoredPart
from iceberg_datamart.sources.postgres.relations import BELOW

if TYPE_CHECKING:
    from psycopg import Connection

    from iceberg_datamart.core.state.watermark import Horizon
    from iceberg_datamart.sources.postgres.catalog import Relation

# TRUNCATE, rewriting ALTER TABLE, VACUUM FULL and CLUSTER give a new file:
# https://www.postgresql.org/docs/current/storage-file-layout.html
# A partitioned table is a part without rows, so that it is known without partitions, too.
_PARTS = f"""
{BELOW}
select c.oid::int8 as oid, coalesce(nullif(c.relfilenode, 0), c.oid)::int8 as file,
       concat(n.nspname, '.', c.relname) as name, pg_relation_size(c.oid) > 0 as holds_rows, below.links
from below join pg_class c on c.oid = below.relation join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'p' or c.relkind in ('r', 'm') and c.relfilenode <> 0
"""
_POINT = """
select txid_snapshot_xmax(txid_current_snapshot()),
       (select oid::int8 from pg_database where datname = current_database())
"""
# The log's timeline: https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-TIMELINES
_TIMELINE = """
select case when pg_is_in_recovery() then (select timeline_id from pg_control_checkpoint())
            else ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int4 end
"""


def parts_of(connection: Connection[Any], relation: Relation) -> tuple[StoredPart, ...]:
    """Return what the rows of a table or view are stored in; none of a foreign table."""
    with connection.cursor(row_factory=class_row(StoredPart)) as cursor:
        return tuple(cursor.execute(_PARTS, {"oid": relation.oid}))


def at_point(connection: Connection[Any], horizon: Horizon) -> Horizon:
    """Return the horizon with the numbers that tell this point from earlier ones (R20).

    These are the first transaction that this one does not see, the oid of the database, and the log's
    timeline, which some hosted servers keep to themselves.
    """
    row = connection.execute(_POINT).fetchone()
    assert row is not None  # noqa: S101  (a SELECT without FROM has one row)
    try:
        with connection.transaction():
            timeline = connection.execute(_TIMELINE).fetchone()
    except Error:
        timeline = None
    transaction, database = row
    return replace(
        horizon,
        transaction=int(transaction),
        timeline=None if timeline is None else timeline[0],
        database=database,
    )
