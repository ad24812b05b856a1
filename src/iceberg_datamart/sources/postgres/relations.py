"""The relations under a relation, partitions and views too: who writes them (R15), who locks them (R16)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.rows import namedtuple_row

if TYPE_CHECKING:
    from psycopg import Connection

_LONGEST_QUERY = 120  # characters
# A WITH clause: `below` is a relation, its partitions, children by inheritance, and what views read; a
# materialized view holds its rows itself. `links` are the transactions in which a part became one of its
# parent, and so on up. A partition whose DETACH … CONCURRENTLY waits is read no more.
BELOW = """
with recursive reached(relation, links) as (
    select %(oid)s::oid, ''
  union
    select next.relation, reached.links || next.link from reached cross join lateral (
        select i.inhrelid as relation, '.' || i.xmin::text as link
        from pg_inherits i where i.inhparent = reached.relation and not i.inhdetachpending
      union all
        select d.refobjid, ''
        from pg_class v join pg_rewrite r on r.ev_class = v.oid
        join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
             and d.refclassid = 'pg_class'::regclass
        where v.oid = reached.relation and v.relkind = 'v'
    ) as next
), below as (
    select relation, ltrim(string_agg(links, '' order by links), '.') as links from reached group by relation
)
"""
# A subscription may name a partition or the table that it is a part of.
_ELSEWHERE = f"""
{BELOW}
select format('%%I.%%I', n.nspname, c.relname), c.relkind::text
from below join pg_class c on c.oid = below.relation join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('f', 'm')
   or exists (select from pg_subscription_rel s
              where s.srrelid = c.oid or s.srrelid in (select a.relid from pg_partition_ancestors(c.oid) a))
order by c.relkind, 1
"""
# Only ACCESS EXCLUSIVE keeps readers away, also one that itself waits for a reader: then those hold it up.
_HOLDERS = f"""
{BELOW}, conflicting as (
    select l.pid, l.granted, l.virtualtransaction
    from pg_locks l join below on below.relation = l.relation
    where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock'
      and l.database = (select oid from pg_database where datname = current_database())
      and l.pid is distinct from pg_backend_pid()
), holding as (
    select pid, virtualtransaction from conflicting where granted
  union
    select unnest(pg_blocking_pids(pid)), null from conflicting where not granted
)
select distinct h.pid, a.usename::text as "user", a.application_name, a.state, p.gid,
       date_trunc('second', a.xact_start) as since, left(a.query, {_LONGEST_QUERY}) as query
from holding h left join pg_stat_activity a on a.pid = h.pid
left join pg_locks x on h.pid is null and x.pid is null and x.locktype = 'transactionid'
     and x.virtualtransaction = h.virtualtransaction
left join pg_prepared_xacts p on p.transaction = x.transactionid
where h.pid is distinct from pg_backend_pid() and h.pid is distinct from 0
limit 3
"""
# What the snapshot's session reads, and the other did not lock before.
_UNCOVERED = """
select format('%%I.%%I', c.relnamespace::regnamespace, c.relname)
from pg_locks read join pg_class c on c.oid = read.relation
where read.pid = %(point)s and read.locktype = 'relation' and c.relkind in ('r', 'p', 'm', 'f', 'v')
  and c.relnamespace <> 'pg_catalog'::regnamespace
  and read.database = (select oid from pg_database where datname = current_database())
  and not exists (select from pg_locks held where held.pid = pg_backend_pid() and held.locktype = 'relation'
                  and held.database = read.database and held.relation = read.relation and held.granted)
"""
_WHY = {
    "f": "{} is a foreign table: its writers are another server's transactions",
    "m": "{} is a materialized view: its rows appear when it is refreshed",
}
_SUBSCRIBED = "{} is filled by a subscription: its rows arrive after their writers committed elsewhere"


def written_elsewhere(connection: Connection[Any], oid: int) -> str | None:
    """Return why the writers of a relation, or of one under it, cannot be seen here; None where they can."""
    row = connection.execute(_ELSEWHERE, {"oid": oid}).fetchone()
    return None if row is None else _WHY.get(row[1], _SUBSCRIBED).format(row[0])


def holders(connection: Connection[Any], oid: int) -> tuple[str, ...]:
    """Return who keeps readers away from a relation or from one under it, as people look for them."""
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        return tuple(map(_holder, cursor.execute(_HOLDERS, {"oid": oid}).fetchall()))


def uncovered(guard: Connection[Any], point: Connection[Any]) -> str | None:
    """Return a relation that `point` has locked and `guard` has not; None where there is none."""
    (pid,) = point.execute("select pg_backend_pid()").fetchall()[0]
    row = guard.execute(_UNCOVERED, {"point": pid}).fetchone()
    return None if row is None else str(row[0])


def _holder(row: Any) -> str:
    if row.pid is None or row.gid is not None:
        return f"prepared transaction '{row.gid}'"
    program = f" '{row.application_name}'" if row.application_name else ""
    query = " ".join((row.query or "").split())
    return f"session {row.pid}{program} of {row.user}, {row.state} since {row.since}: {query}"
