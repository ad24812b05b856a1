"""What PostgreSQL's own catalog says of a table: its columns, its key, its identity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from psycopg.rows import dict_row

from iceberg_datamart.errors import SourceError, SourceTableMissingError
from iceberg_datamart.sources.postgres.types import PostgresColumn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg import Connection
    from typing_extensions import LiteralString

    from iceberg_datamart.core.settings.model import SourceName, TableConfig

_RELATION = """
select c.oid::int8 as oid, n.nspname as schema, c.relname as table, c.relkind as kind,
       case when c.relkind = 'r' then has_column_privilege(c.oid, 'ctid', 'select') else false end as has_ctid
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relname = %(table)s and c.relkind in ('r', 'p', 'v', 'm', 'f')
  and (n.nspname = %(schema)s or (%(schema)s::text is null and pg_table_is_visible(c.oid)))
"""
_PAGES = "select coalesce(pg_relation_size(%(oid)s::oid), 0) / current_setting('block_size')::int8"
# What a type `used` is made of: domains, arrays, composites, ranges and multiranges.
PARTS = """
        select t.typbasetype as type from pg_type t where t.oid = used.type and t.typtype = 'd'
      union all
        select t.typelem from pg_type t where t.oid = used.type and t.typcategory = 'A' and t.typelem <> 0
      union all
        select c.atttypid from pg_type t join pg_attribute c on c.attrelid = t.typrelid
        where t.oid = used.type and t.typtype = 'c' and c.attnum > 0 and not c.attisdropped
      union all
        select r.rngsubtype from pg_range r
        where used.type = r.rngtypid or used.type = (to_jsonb(r) ->> 'rngmultitypid')::oid
"""
# Types whose text is names in the catalog, which change while no row is written.
_NAMES = [
    *("regclass", "regcollation", "regconfig", "regdictionary", "regnamespace", "regoper", "regoperator"),
    *("regproc", "regprocedure", "regrole", "regtype", "aclitem"),
]
# Children need not keep what their parent says of NULL, nor an outer join what a domain says, nor old rows
# what PostgreSQL 18 has not validated. A domain stands for its base type, which may be a domain again and
# carries the type modifier. Types of other schemas are named with theirs, for people may call one `int4`; a
# cast that somebody made has a later oid:
# https://www.postgresql.org/docs/current/system-catalog-initial-data.html#SYSTEM-CATALOG-OID-ASSIGNMENT
_COLUMNS = f"""
with recursive resolved as (
    select a.attnum, a.attname, a.attnotnull and proven.is_proven as attnotnull, a.attndims::int4,
           a.atttypid as type, a.atttypmod as modifier,
           a.attcollation as collation
    from pg_attribute a cross join lateral (
        select not exists (select from pg_inherits h join pg_class p on p.oid = h.inhparent
                           where h.inhparent = a.attrelid and p.relkind = 'r')
           and not exists (select from pg_constraint k where k.conrelid = a.attrelid and k.contype = 'n'
                           and a.attnum = any (k.conkey) and not k.convalidated) as is_proven
    ) as proven
    where a.attrelid = %(oid)s and a.attnum > 0 and not a.attisdropped
  union all
    select r.attnum, r.attname, r.attnotnull, greatest(r.attndims, t.typndims::int4),
           t.typbasetype, t.typtypmod, r.collation
    from resolved r join pg_type t on t.oid = r.type and t.typtype = 'd'
), used(attnum, type) as (
    select attnum, type from resolved
  union
    select used.attnum, parts.type from used cross join lateral ({PARTS}) as parts
)
select r.attname as name, r.attnum as number, r.attnotnull as not_null,
       case when t.typnamespace = 'pg_catalog'::regnamespace then t.typname
            else concat(n.nspname, '.', t.typname) end as type_name,
       r.attndims as dimensions,
       case when t.typname = 'numeric' and r.modifier >= 0
            then ((r.modifier - 4) >> 16) & 65535 end as precision,
       case when t.typname = 'numeric' and r.modifier >= 0
            then (((r.modifier - 4) & 2047) # 1024) - 1024 end as scale,
       case when t.typcategory <> 'A' then null
            when e.typnamespace = 'pg_catalog'::regnamespace then e.typname
            else concat(m.nspname, '.', e.typname) end as element,
       exists (select from pg_cast k where k.castsource in (t.oid, e.oid) and k.casttarget = 'text'::regtype
               and k.castmethod = 'f' and k.oid >= 16384) as has_own_text,
       case when t.typname = 'bpchar' and r.modifier >= 0 then r.modifier - 4 end as length,
       case when t.typname in ('timestamptz', 'timestamp') and r.modifier >= 0 then r.modifier end as digits,
       t.typtype = 'e' as is_enum,
       exists (select from used where used.attnum = r.attnum and used.type = 'money'::regtype) as has_money,
       (select min(u.typname) from used join pg_type u on u.oid = used.type
        where used.attnum = r.attnum and u.oid < 16384 and u.typname = any(%(names)s)) as names,
       has_column_privilege(%(oid)s::oid, r.attnum, 'select') as is_readable,
       coalesce((to_jsonb(c) ->> 'collisdeterministic')::bool, true) as is_deterministic
from resolved r join pg_type t on t.oid = r.type and t.typtype <> 'd'
join pg_namespace n on n.oid = t.typnamespace
left join pg_type e on e.oid = t.typelem and t.typcategory = 'A'
left join pg_namespace m on m.oid = e.typnamespace
left join pg_collation c on c.oid = r.collation
order by r.attnum
"""
_UNIQUE_KEYS = """
select i.indisprimary as is_primary,
       array(select a.attname::text from unnest(i.indkey) with ordinality k(attnum, position)
             join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
             where k.position <= i.indnkeyatts order by k.position) as columns
from pg_index i
where i.indrelid = %(oid)s and i.indisunique and i.indisvalid and i.indimmediate
  and i.indpred is null and i.indexprs is null
"""
_HAS_CHILDREN = "select exists (select from pg_inherits where inhparent = %(oid)s)"
_IDENTITY = """
select (select system_identifier from pg_control_system())::text as system, current_database() as database
"""


@dataclass(frozen=True)
class Relation:
    """A table or view; `kind` as in pg_class.relkind, `pages` 0 for what has no pages of its own.

    `has_ctid` is false where the role may not read the places of rows: it has rights on columns alone.
    """

    oid: int
    schema: str
    table: str
    kind: str
    pages: int = 0
    has_ctid: bool = False


def find_relation(connection: Connection[Any], name: SourceName) -> Relation:
    """Return the relation that `name` means, with its size, for which it is locked.

    Raises: SourceTableMissingError.
    """
    relation = relation_named(connection, name)
    (pages,) = connection.execute(_PAGES, {"oid": relation.oid}).fetchall()[0]
    return replace(relation, pages=pages)


def relation_named(connection: Connection[Any], name: SourceName) -> Relation:
    """Return the relation that `name` means: as written, else in lower case as PostgreSQL folds names.

    Its size is not looked up: nothing here waits for a lock. Raises: SourceTableMissingError.
    """
    for fold in (str, str.lower):
        schema = None if name.schema is None else fold(name.schema)
        with connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(_RELATION, {"schema": schema, "table": fold(name.table)}).fetchone()
        if row is not None:
            return Relation(**row)
    message = f"source table {name} does not exist in database '{connection.info.dbname}'"
    raise SourceTableMissingError(message, hint="Correct `from`, or grant the role usage on its schema.")


def columns_of(connection: Connection[Any], relation: Relation) -> tuple[PostgresColumn, ...]:
    """Return the columns in the table's order."""
    values = {"oid": relation.oid, "names": _NAMES}
    with connection.cursor(row_factory=dict_row) as cursor:
        return tuple(PostgresColumn(**row) for row in cursor.execute(_COLUMNS, values))


def require_columns(table: str, known: set[str], config: TableConfig) -> None:
    """Check that the columns which the settings name are `known`. Raises: SourceTableMissingError."""
    wanted: Mapping[str, tuple[str, ...]] = {
        "primary_key": config.primary_key or (),
        "cursor": (config.cursor,) if config.cursor else (),
        "exclude": config.exclude,
        "columns": tuple(config.columns),
    }
    for setting, names in wanted.items():
        for name in names:
            if name not in known:
                message = f"source table {config.from_} has no column '{name}'"
                raise SourceTableMissingError(message, hint=f"Correct tables.{table}.{setting}.")


def primary_key_of(connection: Connection[Any], relation: Relation) -> tuple[str, ...]:
    """Return the columns of the declared primary key; none where there is no such key."""
    rows = _fetched(connection, _UNIQUE_KEYS, relation)
    return next((tuple(columns) for is_primary, columns in rows if is_primary), ())


def key_of(
    connection: Connection[Any], table: str, relation: Relation, config: TableConfig
) -> tuple[str, ...]:
    """Return the primary key of the settings, else the declared one. Raises: SourceError for neither."""
    key = config.primary_key or primary_key_of(connection, relation)
    if not key:
        hint = f"Set tables.{table}.primary_key to columns that identify a row."
        message = f"source table {config.from_} has no primary key; one that is DEFERRABLE does not count"
        raise SourceError(message, hint=hint)
    return tuple(key)


def guarantees_unique(connection: Connection[Any], relation: Relation, key: tuple[str, ...]) -> bool:
    """Return whether a unique index over some of `key` makes each key one row of what SELECT returns.

    Rows with a NULL in their key are rejected, so that it does not matter how the index takes NULLs. Children
    that inherit from a plain table are read with it, and its index knows nothing of their rows; that of a
    partitioned table covers its partitions.
    """
    if relation.kind == "r" and _fetched(connection, _HAS_CHILDREN, relation)[0][0]:
        return False
    rows = _fetched(connection, _UNIQUE_KEYS, relation)
    return any(set(unique) <= set(key) for _, unique in rows)


def _fetched(connection: Connection[Any], query: LiteralString, relation: Relation) -> list[tuple[Any, ...]]:
    return connection.execute(query, {"oid": relation.oid}).fetchall()


def identity_of(connection: Connection[Any], relation: Relation) -> str:
    """Return the server, database and table as one text that changes when any of them does (R13)."""
    row = connection.execute(_IDENTITY).fetchone()
    system, database = row if row is not None else ("?", "?")
    return f"postgres:{system}/{database}/{relation.oid}"
