"""In which files PostgreSQL stores a table, and where the sequence of its cursor stands (R20)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from psycopg import Error
from psycopg.rows import class_row

from iceberg_datamart.errors import SourceError
from iceberg_datamart.reading import StoredPart
from iceberg_datamart.sources.postgres_relations import BELOW

if TYPE_CHECKING:
    from psycopg import Connection

    from iceberg_datamart.sources.postgres_catalog import Relation
    from iceberg_datamart.watermark import Horizon

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
# The sequences that a column owns, also as an identity, and those from which its default draws.
_SEQUENCES = """
select c.oid::int8 as oid, c.relfilenode::int8 as file, concat(n.nspname, '.', c.relname) as name,
       s.seqcache as cache, s.seqincrement as increment, s.seqcycle as cycles,
       told.is_told, case when told.is_told then pg_sequence_last_value(c.oid) end as last
from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
cross join lateral (select has_sequence_privilege(c.oid, 'USAGE, SELECT') as is_told) as told
where c.oid in (
    select d.objid from pg_depend d
    where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
      and d.refobjid = %(oid)s::oid and d.refobjsubid = %(number)s
  union all
    select d.refobjid from pg_attrdef f
    join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid
    where f.adrelid = %(oid)s::oid and f.adnum = %(number)s and d.refclassid = 'pg_class'::regclass
)
order by c.oid
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


@dataclass(frozen=True)
class Sequence:
    """A sequence that a cursor column draws from; `last` is None where nothing was drawn, or is not told.

    `is_told` says whether this role may see where it stands.
    """

    oid: int
    file: int
    name: str
    cache: int
    increment: int
    cycles: bool
    is_told: bool
    last: int | None


def parts_of(connection: Connection[Any], relation: Relation) -> tuple[StoredPart, ...]:
    """Return what the rows of a table or view are stored in; none of a foreign table."""
    with connection.cursor(row_factory=class_row(StoredPart)) as cursor:
        return tuple(cursor.execute(_PARTS, {"oid": relation.oid}))


def sequences_of(connection: Connection[Any], relation: Relation, number: int) -> tuple[Sequence, ...]:
    """Return the sequences that the column `number` of a table draws from."""
    with connection.cursor(row_factory=class_row(Sequence)) as cursor:
        return tuple(cursor.execute(_SEQUENCES, {"oid": relation.oid, "number": number}))


def ordered_sequence(table: str, cursor: str, sequences: tuple[Sequence, ...]) -> Sequence | None:
    """Return the sequence of a cursor whose numbers grow with time; None where it has none.

    Raises SourceError where they need not. A session with a cache takes numbers ahead and may use them at any
    later time; so does a program that fills the gaps of a larger increment. Of two sequences either may give
    the smaller numbers.
    """
    if not sequences:
        return None
    if len(sequences) > 1:
        names = " and ".join(found.name for found in sequences)
        message = (
            f"cursor column '{cursor}' of table '{table}' has the sequences {names}: "
            "one of them may give smaller numbers than the other gave, which would never be read"
        )
        hint = (
            "Drop the one that is not drawn from, or run ALTER SEQUENCE … OWNED BY NONE on it; or set "
            f"tables.{table}.cursor to a timestamp column, or leave it out to read the whole table."
        )
        raise SourceError(message, hint=hint)
    (found,) = sequences
    property_ = _unordered(found)
    if property_ is None:
        return found
    message = (
        f"cursor column '{cursor}' of table '{table}' draws from sequence {found.name} with {property_}: "
        "rows that are written later may have smaller numbers, and would never be read"
    )
    hint = (
        f"Set tables.{table}.cursor to a timestamp column, or leave it out to read the whole table; or "
        f"run ALTER SEQUENCE {found.name} INCREMENT 1 CACHE 1 NO CYCLE and let all sessions reconnect."
    )
    raise SourceError(message, hint=hint)


def _unordered(sequence: Sequence) -> str | None:
    """Return the property by which a sequence's numbers need not grow; None where they do."""
    if sequence.cache > 1:
        return f"CACHE {sequence.cache}"
    if sequence.increment != 1:
        return f"INCREMENT {sequence.increment}"
    return "CYCLE" if sequence.cycles else None


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
