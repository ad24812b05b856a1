"""From which sequences an integer cursor's values come, where they stand, and whether they grow (R20)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row

from iceberg_datamart.core.source.reads import IntegerCursor, StoredPart
from iceberg_datamart.errors import SourceError

if TYPE_CHECKING:
    from psycopg import Connection

    from iceberg_datamart.sources.postgres.catalog import Relation

# The query of a view or materialized view, as the server parsed it; tables have no such rule.
_QUERY = "select ev_action::text from pg_rewrite where ev_class = %(oid)s::oid and ev_type = '1'"
# A column of a query that is one of a relation as it is says which, in `resorigtbl` and `resorigcol`:
# https://github.com/postgres/postgres/blob/REL_18_STABLE/src/include/nodes/primnodes.h
_TARGET = re.compile(
    r"\\.|(?P<brace>[{}])"
    r"|:resno (?P<number>\d+) :resname (?:\\.|[^\s\\])+ :ressortgroupref \d+"
    r" :resorigtbl (?P<relation>\d+) :resorigcol (?P<column>\d+) :resjunk false",
    re.DOTALL,
)
_DEPTH = 2  # of the braces around a column of the outermost query
# The columns that a view's query names; all of what it reads where it takes rows as values.
_NAMED = """
select distinct a.attrelid::int8, a.attnum
from pg_rewrite r
join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
     and d.refclassid = 'pg_class'::regclass and d.refobjid <> r.ev_class
join pg_attribute a on a.attrelid = d.refobjid and a.attnum > 0 and not a.attisdropped
where r.ev_class = %(oid)s::oid and r.ev_type = '1'
  and (a.attnum = d.refobjsubid or pg_get_viewdef(r.ev_class) like '%%.*%%')
"""
# The sequences that the columns own, also as identities, and those from which their defaults draw; likewise
# of partitions and children by inheritance, which may have their own, and of what a partition is a part of,
# by which rows may be inserted.
_SEQUENCES = """
with recursive below(relation, number) as (
    select * from unnest(%(relations)s::oid[], %(numbers)s::int2[])
  union
    select c.attrelid, c.attnum
    from below join pg_attribute a on a.attrelid = below.relation and a.attnum = below.number
    join pg_inherits i on i.inhparent = below.relation
    join pg_attribute c on c.attrelid = i.inhrelid and c.attname = a.attname
), fed(relation, number) as (
    select relation, number from below
  union
    select c.attrelid, c.attnum
    from below join pg_attribute a on a.attrelid = below.relation and a.attnum = below.number
    cross join lateral pg_partition_ancestors(below.relation) as ancestor
    join pg_attribute c on c.attrelid = ancestor.relid and c.attname = a.attname
), drawn(sequence, relation) as (
    select d.objid, d.refobjid
    from fed join pg_depend d on d.refobjid = fed.relation and d.refobjsubid = fed.number
    where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
  union
    select d.refobjid, f.adrelid
    from fed join pg_attrdef f on f.adrelid = fed.relation and f.adnum = fed.number
    join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid
    where d.refclassid = 'pg_class'::regclass
)
select c.oid::int8 as oid, c.relfilenode::int8 as file, concat(n.nspname, '.', c.relname) as name,
       s.seqcache as cache, s.seqincrement as increment, s.seqcycle as cycles,
       told.is_told, case when told.is_told then pg_sequence_last_value(c.oid) end as last,
       array(select concat(f.relnamespace::regnamespace, '.', f.relname)
             from drawn join pg_class f on f.oid = drawn.relation
             where drawn.sequence = c.oid order by f.oid) as tables
from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
cross join lateral (select has_sequence_privilege(c.oid, 'USAGE, SELECT') as is_told) as told
where c.oid in (select sequence from drawn)
order by c.oid
"""


@dataclass(frozen=True)
class Sequence:
    """A sequence that columns of `tables` draw from; `last` is None where nothing was drawn, or is not told.

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
    tables: list[str]


@dataclass(frozen=True)
class DrawnFrom:
    """The sequences that can give a column of `relation` its values.

    `is_computed` says that a view computes the column: from which of the columns that it reads is not known.
    """

    relation: str
    sequences: tuple[Sequence, ...]
    is_computed: bool = False
    is_view: bool = False

    @property
    def parts(self) -> tuple[StoredPart, ...]:
        """Return the files that they are stored in."""
        return tuple(StoredPart(found.oid, found.file, found.name) for found in self.sequences)

    @property
    def names(self) -> str:
        """Return their names."""
        return " and ".join(map(self.named, self.sequences))

    def named(self, sequence: Sequence) -> str:
        """Return a sequence's name, with a table that draws from it where `relation` itself does not."""
        if self.relation in sequence.tables:
            return sequence.name
        return f"{sequence.name} (of {sequence.tables[0]})"

    def of_one_column(self) -> bool:
        """Return whether a single column of a single table has two of them."""
        tables = [table for sequence in self.sequences for table in sequence.tables]
        return not self.is_computed and len(tables) != len(set(tables))


def sequences_of(connection: Connection[Any], relation: Relation, number: int) -> DrawnFrom:
    """Return the sequences that can give the column `number` of a table or view its values."""
    columns, is_computed = _behind(connection, (relation.oid, number))
    found = {"relations": [oid for oid, _ in columns], "numbers": [position for _, position in columns]}
    with connection.cursor(row_factory=class_row(Sequence)) as cursor:
        sequences = tuple(cursor.execute(_SEQUENCES, found))
    return DrawnFrom(
        f"{relation.schema}.{relation.table}", sequences, is_computed, relation.kind in {"v", "m"}
    )


def _behind(connection: Connection[Any], column: tuple[int, int]) -> tuple[set[tuple[int, int]], bool]:
    """Return a column, those that views take its values from, and whether a view computes any of them."""
    found: set[tuple[int, int]] = set()
    waiting, is_computed = [column], False
    while waiting:
        oid, number = waiting.pop()
        if (oid, number) in found:
            continue
        found.add((oid, number))
        query = connection.execute(_QUERY, {"oid": oid}).fetchone()
        if query is None:
            continue
        origin = origin_of(query[0], number)
        if origin is not None:
            waiting.append(origin)
            continue
        is_computed = True
        waiting += connection.execute(_NAMED, {"oid": oid}).fetchall()
    return found, is_computed


def origin_of(query: str, number: int) -> tuple[int, int] | None:
    """Return the relation and column that a view's column `number` is; None where the view computes it."""
    depth = 0
    for found in _TARGET.finditer(query):
        if found["brace"]:
            depth += 1 if found["brace"] == "{" else -1
        elif found["number"] and depth == _DEPTH and int(found["number"]) == number:
            origin = int(found["relation"]), int(found["column"])
            return origin if all(origin) else None
    return None


def integers_of(table: str, cursor: str, drawn: DrawnFrom, greatest: int | None) -> IntegerCursor:
    """Return where an integer cursor with the value `greatest` stands.

    Raises SourceError where its numbers need not grow with time. A session with a cache takes numbers ahead
    and may use them at any later time; so does a program that fills the gaps of a larger increment. Of two
    sequences either may give the smaller numbers. Those of several tables, and what a view computes, are no
    error, for they may be harmless.
    """
    if drawn.of_one_column():
        raise _two_sequences(table, cursor, drawn)
    for found in drawn.sequences:
        if not drawn.is_computed and (property_ := _unordered(found)) is not None:
            raise _unordered_sequence(table, cursor, drawn.named(found), found.name, property_)
    if not drawn.sequences:
        return IntegerCursor(greatest)
    if len(drawn.sequences) > 1:
        return IntegerCursor(greatest, unordered=_several(table, cursor, drawn))
    (found,) = drawn.sequences
    hidden = None if found.is_told else found.name
    if not drawn.is_computed:
        # What a view shows may become less without that its tables' rows do: its greatest value counts, too.
        is_ahead = drawn.is_view and (found.last or 0) >= (greatest or 0)
        return IntegerCursor(greatest, None if is_ahead else found.last, hidden)
    return IntegerCursor(greatest, None, hidden, _doubt(table, cursor, drawn, greatest))


def _several(table: str, cursor: str, drawn: DrawnFrom) -> str:
    smaller = f"{drawn.names}, of which one may give smaller numbers than the other gave"
    if drawn.is_computed:
        return f"a view computes its cursor '{cursor}', perhaps from the sequences {smaller}: " + _other(
            table
        )
    return (
        f"its cursor '{cursor}' draws from the sequences {smaller}: let all tables draw from one and drop "
        f"the other, or set tables.{table}.cursor to a timestamp column"
    )


def _doubt(table: str, cursor: str, drawn: DrawnFrom, greatest: int | None) -> str | None:
    """Return why values that a view computes, perhaps from its one sequence, need not grow; else None."""
    (found,) = drawn.sequences
    property_ = _unordered(found)
    if property_ is not None:
        what = f"with {property_}"
    elif found.last is not None and greatest is not None and found.last < greatest:
        what = f"which stands at {found.last}, below the greatest value {greatest}"
    else:
        return None
    perhaps = f"a view computes its cursor '{cursor}', perhaps from sequence {drawn.named(found)}"
    return f"{perhaps} {what}: {_other(table)}"


def _other(table: str) -> str:
    return f"set tables.{table}.cursor to a column that the view takes unchanged, or to a timestamp column"


def _two_sequences(table: str, cursor: str, drawn: DrawnFrom) -> SourceError:
    message = (
        f"cursor column '{cursor}' of table '{table}' has the sequences {drawn.names}: "
        "one of them may give smaller numbers than the other gave, which would never be read"
    )
    hint = (
        "Drop the one that is not drawn from, or run ALTER SEQUENCE … OWNED BY NONE on it; or set "
        f"tables.{table}.cursor to a timestamp column, or leave it out to read the whole table."
    )
    return SourceError(message, hint=hint)


def _unordered_sequence(table: str, cursor: str, named: str, sequence: str, property_: str) -> SourceError:
    message = (
        f"cursor column '{cursor}' of table '{table}' draws from sequence {named} with {property_}: "
        "rows that are written later may have smaller numbers, and would never be read"
    )
    hint = (
        f"Set tables.{table}.cursor to a timestamp column, or leave it out to read the whole table; or "
        f"run ALTER SEQUENCE {sequence} INCREMENT 1 CACHE 1 NO CYCLE and let all sessions reconnect."
    )
    return SourceError(message, hint=hint)


def _unordered(sequence: Sequence) -> str | None:
    """Return the property by which a sequence's numbers need not grow; None where they do."""
    if sequence.cache > 1:
        return f"CACHE {sequence.cache}"
    if sequence.increment != 1:
        return f"INCREMENT {sequence.increment}"
    return "CYCLE" if sequence.cycles else None
