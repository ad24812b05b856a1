"""What PostgreSQL's catalog says of which values a table's columns hold, whatever their cursor (R19)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iceberg_datamart.core.source.recipe import column_entry, with_hidden
from iceberg_datamart.sources.postgres.calls import calls_of
from iceberg_datamart.sources.postgres.catalog import PARTS
from iceberg_datamart.sources.postgres.relations import BELOW

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg import Connection

    from iceberg_datamart.sources.postgres.catalog import Relation
    from iceberg_datamart.sources.postgres.types import PostgresColumn, Wire

# The labels of enum `t`, and the parts of composite `t`.
_MADE_OF = """
        (select string_agg(quote_literal(e.enumlabel), ',' order by e.enumsortorder)
         from pg_enum e where e.enumtypid = t.oid),
        (select string_agg(concat_ws(' ', quote_ident(c.attname), c.atttypid, c.atttypmod), ','
                           order by c.attnum)
         from pg_attribute c where t.typtype = 'c' and c.attrelid = t.typrelid and c.attnum > 0
           and not c.attisdropped)
"""
# A column's type, and those that it is made of.
_TYPES = f"""
with recursive used as (
    select a.attnum, a.atttypid as type from pg_attribute a
    where a.attrelid = %(oid)s and a.attnum > 0 and not a.attisdropped
  union
    select used.attnum, parts.type from used cross join lateral ({PARTS}) as parts
), told as (
    select used.attnum, array[n.nspname, t.typname, t.typtypmod::text, {_MADE_OF}]::text as type
    from used join pg_type t on t.oid = used.type join pg_namespace n on n.oid = t.typnamespace
)
select a.attname as name,
       case when n.nspname = 'pg_catalog' then format_type(a.atttypid, a.atttypmod)
            else concat(n.nspname, '.', t.typname) end as shown,
       (select array_agg(told.type order by told.type) from told where told.attnum = a.attnum)::text as types,
       a.atttypmod as modifier,
       (select array[c.collname::text, c.collprovider::text, c.collisdeterministic::text]::text
        from pg_collation c where c.oid = a.attcollation and c.collname <> 'default') as collation,
       case when a.attgenerated <> '' then pg_get_expr(d.adbin, d.adrelid) end as generated
from pg_attribute a join pg_type t on t.oid = a.atttypid join pg_namespace n on n.oid = t.typnamespace
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = %(oid)s and a.attnum > 0 and not a.attisdropped
"""
_MONETARY = "select current_setting('lc_monetary')"
_VIEW = "select pg_get_viewdef(%(oid)s::oid)"
# What a view's query stands on: other views; somebody's functions, also behind operators and aggregates;
# somebody's types in it and in what it reads; all columns of what it reads, where it takes rows as values;
# how money is written, where it may write some.
_STANDS_ON = f"""
{BELOW}, views as (
    select c.oid, pg_get_viewdef(c.oid) as query
    from below join pg_class c on c.oid = below.relation where c.relkind = 'v'
), named as (
    select d.refclassid, d.refobjid from views join pg_rewrite w on w.ev_class = views.oid
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
), functions as (
    select p.oid from named join pg_proc p on refclassid = 'pg_proc'::regclass and p.oid = refobjid
  union
    select o.oprcode from named
    join pg_operator o on refclassid = 'pg_operator'::regclass and o.oid = refobjid
), called as (
    select oid from functions
  union
    select part from functions join pg_aggregate g on g.aggfnoid = functions.oid cross join lateral unnest(
        array[aggtransfn, aggfinalfn, aggcombinefn, aggmtransfn, aggminvtransfn, aggmfinalfn]::oid[]
    ) as part
), columns as (
    select a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod
    from below join pg_attribute a on a.attrelid = below.relation and a.attnum > 0 and not a.attisdropped
), used(type) as (
    select type from (
        select atttypid from columns
        union select refobjid from named where refclassid = 'pg_type'::regclass
    ) as seen(type)
  union
    select parts.type from used cross join lateral ({PARTS}) as parts
)
select query from views where oid <> %(oid)s::oid
union
select concat_ws(' ', p.oid, p.prosrc, to_jsonb(p) ->> 'prosqlbody', p.probin, p.proconfig, p.proisstrict,
                 to_jsonb(p) ->> 'proargdefaults')
from called join pg_proc p using (oid) where p.oid >= 16384
union
select array[t.oid::text, {_MADE_OF}]::text from used join pg_type t on t.oid = used.type where t.oid >= 16384
union
select array[attrelid::text, attnum::text, attname, atttypid::text, atttypmod::text]::text
from columns where exists (select from views where query like '%%.*%%')
union
select current_setting('lc_monetary') where exists (select from used where type = 'money'::regtype)
    or exists (select from views where query like '%%money%%')
"""


def recipe_of(
    connection: Connection[Any],
    relation: Relation,
    columns: Sequence[tuple[PostgresColumn, Wire]],
    key: Sequence[str],
    predicate: str | None,
) -> dict[str, str]:
    """Return what decides which values `columns` hold, and how each of them travels.

    Collations count where equality depends on them: in the key. Columns that are not read count where
    the `predicate` of soft deletes may name them.
    """
    found = connection.execute(_TYPES, {"oid": relation.oid}).fetchall()
    types = {name: (shown, (kinds, modifier, made)) for name, shown, kinds, modifier, _, made in found}
    collations = {name: collation for name, *_, collation, _ in found if name in key}
    recipe = {
        column_entry(column.name): with_hidden(
            types[column.name][0],
            *types[column.name][1],
            collations.get(column.name),
            (wire.type, wire.expression.as_string(None)),
        )
        for column, wire in columns
    }
    if predicate:
        read = {column.name for column, _ in columns}
        unread = {name: kind for name, kind in types.items() if name not in read}
        recipe.update(_soft_delete(connection, predicate, unread))
    if any(column.has_money for column, _ in columns):
        # What the number means, not only how it is written: of yen there are no hundredths.
        recipe["lc_monetary"] = str(connection.execute(_MONETARY).fetchall()[0][0])
    if relation.kind in {"v", "m"}:
        recipe["the view"] = with_hidden(
            "its query", connection.execute(_VIEW, {"oid": relation.oid}).fetchone()
        )
    if relation.kind == "v" and (below := connection.execute(_STANDS_ON, {"oid": relation.oid}).fetchall()):
        recipe["what the view stands on"] = with_hidden("views, functions, types and rows", *sorted(below))
    return recipe


def _soft_delete(
    connection: Connection[Any], predicate: str, unread: Mapping[str, tuple[str, object]]
) -> dict[str, str]:
    """Return what the predicate of soft deletes stands on beside columns that are read."""
    recipe = {}
    if named := {name: kind for name, kind in unread.items() if name in predicate}:
        recipe["what soft_delete reads"] = with_hidden(", ".join(sorted(named)), sorted(named.items()))
    if calls := calls_of(connection, predicate):
        recipe["what soft_delete calls"] = with_hidden(", ".join(sorted(dict(calls))), *calls)
    return recipe
