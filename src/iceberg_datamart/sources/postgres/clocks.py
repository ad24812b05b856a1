"""Views whose rows change though nobody writes: their queries ask a clock, or draw at random."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iceberg_datamart.sources.postgres.relations import BELOW

if TYPE_CHECKING:
    from psycopg import Connection

# The queries as the server parsed them: a call says which function, CURRENT_DATE to LOCALTIMESTAMP have the
# numbers 0 to 8, https://github.com/postgres/postgres/blob/REL_18_STABLE/src/include/nodes/primnodes.h
# Constants are bytes there, and blanks in names have backslashes: neither looks like a call. Of functions
# that people made nothing tells whether they ask a clock: most are volatile, for that is what goes unsaid.
_CLOCKS = f"""
{BELOW}
select format('%%I.%%I', n.nspname, c.relname), asked.what
from below join pg_class c on c.oid = below.relation and c.relkind = 'v'
join pg_namespace n on n.oid = c.relnamespace
join pg_rewrite r on r.ev_class = c.oid and r.ev_type = '1'
cross join lateral (
    select p.proname || '()' as what
    from regexp_matches(r.ev_action::text, ':funcid (\\d+)', 'g') as call
    join pg_proc p on p.oid = call[1]::oid
    where p.oid < 16384
      and (p.provolatile = 'v' or p.proname in ('now', 'transaction_timestamp', 'statement_timestamp')
           or p.proname = 'age' and p.pronargs = 1 and p.prorettype = 'interval'::regtype)
  union all
    select 'CURRENT_TIMESTAMP or the like'
    from regexp_matches(r.ev_action::text, '{{SQLVALUEFUNCTION :op [0-8] ', 'g')
) as asked
order by 1, 2 limit 1
"""


def asks_a_clock(connection: Connection[Any], oid: int) -> str | None:
    """Return why the rows of a view change though nobody writes; None where they do not."""
    row = connection.execute(_CLOCKS, {"oid": oid}).fetchone()
    return None if row is None else f"the view {row[0]} asks {row[1]}"
