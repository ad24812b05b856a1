"""What somebody made that a predicate of the settings may call, and how it is made now (R19).

The server tells what a view depends on, and nothing of an expression alone; a view is not to be had where
transactions only read. So everything is taken that a name or sign in the predicate may mean.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection

# Names as PostgreSQL reads them, https://www.postgresql.org/docs/current/sql-syntax-lexical.html
_SIGN = r"[A-Za-z0-9_$\x80-\U0010ffff]"
_WORD = re.compile(f"{_SIGN}+")
# A call is `name (`, or `row.name` of a function of the row; comments may stand in between. Texts and
# comments are not left out: a name too many makes a comparison too many, a missed one leaves wrong rows.
_CALL = re.compile(rf'(?<!{_SIGN})({_SIGN}+)"?\s*(?:\(|--|/\*)')
_AFTER = re.compile(rf'(?:\.|\*/|\n)\s*"?({_SIGN}+)')
# What calls operators without their signs, and these.
_BY_WORDS = {"between", "case", "distinct", "ilike", "in", "like", "nullif", "similar"}
_UNWRITTEN = " = <> < <= > >= ~~ !~~ ~~* !~~* ~ !~"
# Functions of every signature by the names, since one more may be called in place of another; operators by
# their signs; all casts, for they need no sign. An extension's functions in C are other ones by another
# library, which the catalog does not tell of.
_CALLED = """
with words(word, names) as (
    select spelled::name, w = any(%(names)s)
    from unnest(%(words)s::text[]) as w
    cross join lateral unnest(array[w, lower(w), lower(w collate "C")]) as spelled
), schemas as (
    select oid from pg_namespace
    where nspname = any(current_schemas(true)) or nspname in (select word from words)
), called(class, object, function) as (
    select 'pg_proc'::regclass, p.oid, p.oid from pg_proc p
    where p.proname in (select word from words where names) and p.pronamespace in (select oid from schemas)
      and p.prokind = 'f' and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
  union all
    select 'pg_operator'::regclass, o.oid, o.oprcode from pg_operator o
    where o.oprnamespace in (select oid from schemas) and strpos(%(signs)s, o.oprname) > 0
  union all
    select 'pg_cast'::regclass, k.oid, k.castfunc from pg_cast k
)
select format('%%I.%%I', n.nspname, p.proname),
       concat_ws(' ', called.class::oid, called.object, p.oid, p.prolang, p.prosrc,
                 to_jsonb(p) ->> 'prosqlbody', p.probin, p.proconfig, p.proisstrict,
                 to_jsonb(p) ->> 'proargdefaults')
from called join pg_proc p on p.oid = called.function
join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
where called.object >= 16384 and not (
    l.lanname in ('internal', 'c')
    and exists (select from pg_depend d
                where d.deptype = 'e' and d.classid = called.class and d.objid = called.object))
"""


def calls_of(connection: Connection[Any], predicate: str) -> list[tuple[str, str]]:
    """Return the names of somebody's functions that `predicate` may call, and how each is made and called.

    What such a function calls itself is not looked for.
    """
    # Between every two quotes: which one opens a name is not known before texts and comments are.
    quoted = {part.replace("\0", '"') for part in predicate.replace('""', "\0").split('"')[1:]}
    names = quoted.union(_CALL.findall(predicate), _AFTER.findall(predicate))
    words = names.union(_WORD.findall(predicate))
    # `!=` is `<>` by the time that it is looked up.
    by_words = "!=" in predicate or any(word.lower() in _BY_WORDS for word in words)
    signs = predicate + _UNWRITTEN if by_words else predicate
    values = {"words": list(words), "names": list(names), "signs": signs}
    return sorted((str(name), str(made)) for name, made in connection.execute(_CALLED, values).fetchall())
