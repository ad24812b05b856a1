"""Rows of the six tables, made by the server itself: the same seed and numbers give the same values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

if TYPE_CHECKING:
    import psycopg
    from typing_extensions import LiteralString

    Connection = psycopg.Connection[Any]

# Inlined by the planner, so a million throws cost what a million expressions cost. The mask clears the
# sign bit: abs() of the least bigint is an error.
_DICE = """
    create or replace function pg_temp.dice(id bigint, topic text, sides bigint) returns bigint
    language sql immutable
    return (hashint8extended(id, hashtextextended(topic, {seed})) & 9223372036854775807) % sides
"""

# In every statement: `id` is the row's number, `moment` the value of its cursor column.
_ROWS: dict[str, LiteralString] = {
    "account": """
        select id,
            (array['Ada', 'Zoë', 'Łukasz', 'Noor', 'O''Brien', 'Müller', 'Søren', '佐藤'])
                [1 + pg_temp.dice(id, 'given', 8)] || ' '
                || (array['Trading', 'Logistics', 'Foods', 'Energy', 'Textiles'])
                [1 + pg_temp.dice(id, 'trade', 5)] || ' ' || id,
            (array['open', 'open', 'open', 'dormant', 'closed'])[1 + pg_temp.dice(id, 'status', 5)],
            (array['DE', 'FR', 'GB', 'IN', 'JP', 'US'])[1 + pg_temp.dice(id, 'country', 6)],
            md5({seed} || ' account ' || id)::uuid,
            case when pg_temp.dice(id, 'limit', 5) > 0
                then (pg_temp.dice(id, 'credit', 1000000) * 100)::numeric / 100 end,
            pg_temp.dice(id, 'active', 10) > 0,
            date '2015-01-01' + pg_temp.dice(id, 'opened', 3600)::integer,
            case pg_temp.dice(id, 'tags', 3)
                when 0 then array[]::text[] when 1 then array['retail']
                else array['export', 'key, account'] end,
            moment - pg_temp.dice(id, 'age', 31536000) * interval '1 second',
            moment
        from {moments}
    """,
    # One account in forty has no metadata and one in fifty no risk: an inner join drops them.
    "account_metadata": """
        select id,
            'Account ' || id
                || (array[' GmbH', ' Ltd', ' Pvt. Ltd', ' "K.K."'])[1 + pg_temp.dice(id, 'form', 4)],
            case when pg_temp.dice(id, 'mail', 8) > 0 then 'desk' || id || '@example.com' end,
            jsonb_build_object('language', (array['de', 'en', 'ja'])[1 + pg_temp.dice(id, 'language', 3)],
                'digest', pg_temp.dice(id, 'digest', 2) = 1, 'limits', jsonb_build_array(id % 7, null)),
            case pg_temp.dice(id, 'opted', 3) when 0 then null when 1 then false else true end,
            case when pg_temp.dice(id, 'login', 4) > 0 then (moment at time zone 'UTC')
                - pg_temp.dice(id, 'idle', 86400000000) * interval '1 microsecond' end,
            moment
        from {moments} where pg_temp.dice(id, 'no metadata', 40) > 0
    """,
    "account_risk": """
        select id, score / 100.0,
            case when score < 3000 then 'low' when score < 8000 then 'medium' else 'high' end,
            3 + pg_temp.dice(id, 'model', 3)::integer, pg_temp.dice(id, 'hits', 4)::integer, score > 9900,
            case when pg_temp.dice(id, 'reviewed', 6) > 0
                then (moment at time zone 'UTC')::date - pg_temp.dice(id, 'review', 90)::integer end,
            moment
        from {moments}, lateral (select pg_temp.dice(id, 'score', 10001)) as risk (score)
        where pg_temp.dice(id, 'no risk', 50) > 0
    """,
    # One queue in two hundred is not yet given to an account.
    "queue": """
        select id,
            case when pg_temp.dice(id, 'owned', 200) > 0 then 1 + pg_temp.dice(id, 'account', {parents}) end,
            (array['daily', 'instant', 'weekly', 'net-30'])[1 + pg_temp.dice(id, 'name', 4)] || ' #' || id,
            (array['ready', 'draining', 'held'])[1 + pg_temp.dice(id, 'status', 3)],
            pg_temp.dice(id, 'priority', 10)::integer, pg_temp.dice(id, 'paused', 12) = 0,
            case pg_temp.dice(id, 'routing', 3)
                when 0 then jsonb_build_object('rail', 'sepa')
                when 1 then jsonb_build_object('rail', 'swift', 'cut_off', '16:30') end,
            (moment at time zone 'UTC') - pg_temp.dice(id, 'opened', 7776000) * interval '1 second',
            moment
        from {moments}
    """,
    "settlement_transaction": """
        select id, 1 + pg_temp.dice(id, 'queue', {parents}), md5({seed} || ' settlement ' || id)::uuid,
            (pg_temp.dice(id, 'amount', 100000000) - 5000000)::numeric / 100,
            case when pg_temp.dice(id, 'fee', 4) > 0
                then pg_temp.dice(id, 'cents', 100000)::numeric / 10000 end,
            (array['EUR', 'EUR', 'USD', 'GBP', 'INR', 'JPY'])[1 + pg_temp.dice(id, 'currency', 6)],
            case when settled then 'settled' else 'pending' end,
            case when settled
                then (moment at time zone 'UTC')::date + pg_temp.dice(id, 'days', 3)::integer end,
            case when pg_temp.dice(id, 'memo', 5) = 0 then 'Invoice ' || id || ', "net 30"' end,
            moment
        from {moments}, lateral (select pg_temp.dice(id, 'settled', 10) > 0) as state (settled)
    """,
    "adjustment": """
        select id, 1 + pg_temp.dice(id, 'transaction', {parents}),
            (pg_temp.dice(id, 'amount', 2000000) - 1000000)::numeric / 100,
            (array['chargeback', 'duplicate', 'fee waived', 'late; "goodwill"'])
                [1 + pg_temp.dice(id, 'why', 4)],
            case pg_temp.dice(id, 'approved', 4) when 0 then null when 1 then false else true end,
            case when pg_temp.dice(id, 'evidence', 4) = 0
                then jsonb_build_object('ticket', id, 'pages', array[id % 5, id % 9]) end,
            (moment at time zone 'UTC')::date + pg_temp.dice(id, 'effective', 30)::integer,
            moment
        from {moments}
    """,
}
TABLES = tuple(_ROWS)
# Columns by which rows are numbered and joined; account_metadata and account_risk take theirs from account.
KEYS = {
    "account": "account_id",
    "queue": "queue_id",
    "settlement_transaction": "transaction_id",
    "adjustment": "adjustment_id",
}
_TAKE = "select setval(s, nextval(s) + %s - 1) from (select pg_get_serial_sequence(%s, %s)) as its (s)"


@dataclass(frozen=True)
class Numbers:
    """The row numbers from `first` to `last`, both included, whose parents are 1 to `parents`."""

    first: int
    last: int
    parents: int = 1


def prepare_dice(connection: Connection, seed: int) -> None:
    """Make the session's `pg_temp.dice(id, topic, sides)`, which throws 0 to sides - 1."""
    connection.execute(sql.SQL(_DICE).format(seed=sql.Literal(seed)))


def take_numbers(connection: Connection, table: str, count: int, parents: int = 1) -> Numbers:
    """Take the next `count` numbers of the table's sequence, whether or not others commit theirs."""
    row = connection.execute(_TAKE, [count, f"public.{table}", KEYS[table]]).fetchone()
    last = int(row[0]) if row else count
    return Numbers(last - count + 1, last, parents)


def insert(connection: Connection, table: str, numbers: Numbers, seed: int, moment: sql.Composable) -> int:
    """Insert the rows of these numbers, `moment` an expression over `id`; return how many there are."""
    moments = sql.SQL("(select id, {} as moment from generate_series({}::bigint, {}) as id) as numbered")
    rows = sql.SQL(_ROWS[table]).format(
        seed=sql.Literal(seed),
        parents=sql.Literal(numbers.parents),
        moments=moments.format(moment, numbers.first, numbers.last),
    )
    statement = sql.SQL("insert into {} {}").format(sql.Identifier("public", table), rows)
    return connection.execute(statement).rowcount
