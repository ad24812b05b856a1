"""What a live settlement system does to its tables between two runs, told in counts."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql
from psycopg.pq import TransactionStatus

from iceberg_datamart.demo.rows import KEYS, insert, prepare_dice, take_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import psycopg
    from typing_extensions import LiteralString

    Connection = psycopg.Connection[Any]

# Rows that an open transaction holds are passed over: a change never waits for a late commit.
# The array makes the server choose once; a plain IN may choose, and lock, again for every row.
_CHOSEN = """
    {key} = any(array(
        select {key} from public.{table} as chosen where chosen.updated_at < {began} and {condition}
        order by hashint8extended({key}, {seed}) limit {count} for update of chosen skip locked))
"""
_OWNED = "chosen.account_id is not null"
_IN_USE = """
    chosen.account_id is not null
    and exists (select from public.settlement_transaction as t where t.queue_id = chosen.queue_id)
"""
_DELETE = "delete from public.{table} where {chosen}"
_RESTATE = """
    update public.account set status = case status when 'open' then 'dormant' else 'open' end,
        credit_limit = coalesce(credit_limit, 0) + 0.01, updated_at = {moment}
    where {chosen}
"""
_RESCORE = """
    update public.account_risk set risk_score = mod(risk_score + 7.25, 100),
        watchlist_hits = watchlist_hits + 1, updated_at = {moment}
    where {chosen}
"""
_APPROVE = """
    update public.adjustment set is_approved = is_approved is not true, amount = amount + 0.01,
        updated_at = {moment}
    where {chosen}
"""
_TIE = """
    update public.account_metadata set updated_at = now(),
        preferences = jsonb_set(preferences, array['revision'],
            to_jsonb(coalesce((preferences ->> 'revision')::integer, 0) + 1))
    where {chosen}
"""
_MOVE = """
    update public.queue set updated_at = {moment},
        account_id = coalesce(
            (select min(a.account_id) from public.account as a where a.account_id > queue.account_id),
            (select min(a.account_id) from public.account as a))
    where {chosen}
"""
_SCATTER = """
    with numbered as (
        select account_id, row_number() over (order by account_id) as i, count(*) over () as total
        from public.account)
    update public.account set credit_limit = coalesce(credit_limit, 0) + 0.01, updated_at = clock_timestamp()
    from numbered
    where account.account_id = numbered.account_id and i * %(n)s / total > (i - 1) * %(n)s / total
"""


@dataclass(frozen=True)
class ChangeSummary:
    """How many rows of each kind a `change` touched; no row counts for two kinds."""

    accounts_inserted: int
    queues_inserted: int
    transactions_inserted: int
    adjustments_inserted: int
    accounts_updated: int
    risks_updated: int
    adjustments_updated: int
    metadata_tied: int
    queues_moved: int
    queues_deleted: int
    adjustments_deleted: int


def change(connection: Connection, seed: int, size: int = 100) -> ChangeSummary:
    """Insert `size` settlement transactions and make the other changes of a busy hour; return the counts.

    Each kind is one transaction, at the server's clock. New accounts come with metadata and risk. Updates
    touch one side only; `metadata_tied` rows share one `updated_at`; moved queues go to another account.
    Settlement transactions are never updated or moved: their cursor, created_at, would not show it.
    Raises: ValueError where the connection is in a transaction, which would put off every commit.
    """
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        message = "change() commits each kind by itself: commit or roll back the open transaction first"
        raise ValueError(message)
    few, some = max(1, size // 50), max(2, size // 10)
    with connection.transaction():
        live = _LiveSystem(connection, seed, _one(connection, sql.SQL("select clock_timestamp()")))
    return ChangeSummary(
        accounts_inserted=live.open_accounts(few),
        queues_inserted=live.insert("queue", some, parent="account"),
        transactions_inserted=live.insert("settlement_transaction", size, parent="queue"),
        adjustments_inserted=live.insert("adjustment", some, parent="settlement_transaction"),
        accounts_updated=live.execute(_RESTATE, "account", "account_id", some),
        risks_updated=live.execute(_RESCORE, "account_risk", "account_id", some),
        adjustments_updated=live.execute(_APPROVE, "adjustment", "adjustment_id", some),
        metadata_tied=live.execute(_TIE, "account_metadata", "account_id", some),
        queues_moved=live.execute(_MOVE, "queue", "queue_id", few, _OWNED),
        queues_deleted=live.execute(_DELETE, "queue", "queue_id", few, _IN_USE),
        adjustments_deleted=live.execute(_DELETE, "adjustment", "adjustment_id", few),
    )


@contextmanager
def late_commit(connection: Connection, seed: int = 7) -> Iterator[datetime]:
    """Yield the cursor value of rows that stay invisible until the block ends, and commit them then.

    Two settlement transactions and an adjustment are new, three risks changed. A run inside the block sees
    none of them and later changes, so its watermark must stay below. The connection serves nothing else.
    """
    with connection.transaction():
        began = _one(connection, sql.SQL("select now()"))
        live = _LiveSystem(connection, seed, began, moment="now()")
        live.insert("settlement_transaction", 2, parent="queue")
        live.insert("adjustment", 1, parent="settlement_transaction")
        live.execute(_RESCORE, "account_risk", "account_id", 3)
        yield began


def clustered_change(connection: Connection, n: int, seed: int = 7) -> int:
    """Insert the next `n` settlement transactions, whose keys stand side by side; return how many."""
    with connection.transaction():
        began = _one(connection, sql.SQL("select clock_timestamp()"))
        return _LiveSystem(connection, seed, began).insert("settlement_transaction", n, parent="queue")


def scattered_change(connection: Connection, n: int) -> int:
    """Update `n` accounts spread evenly over all keys, at most every one; return how many."""
    with connection.transaction():
        return connection.execute(_SCATTER, {"n": n}).rowcount


@dataclass(frozen=True)
class _LiveSystem:
    """One connection's writes; rows changed at or after `began` are left alone by later updates."""

    connection: Connection
    seed: int
    began: datetime
    moment: LiteralString = "clock_timestamp()"

    def open_accounts(self, count: int) -> int:
        with self.connection.transaction():
            prepare_dice(self.connection, self.seed)
            numbers = take_numbers(self.connection, "account", count)
            for table in ("account_metadata", "account_risk"):
                insert(self.connection, table, numbers, self.seed, sql.SQL(self.moment))
            return insert(self.connection, "account", numbers, self.seed, sql.SQL(self.moment))

    def insert(self, table: str, count: int, *, parent: str) -> int:
        with self.connection.transaction():
            prepare_dice(self.connection, self.seed)
            greatest = sql.SQL("select coalesce(max({}), 1) from {}")
            key, name = sql.Identifier(KEYS[parent]), sql.Identifier("public", parent)
            parents = _one(self.connection, greatest.format(key, name))
            numbers = take_numbers(self.connection, table, count, parents)
            return insert(self.connection, table, numbers, self.seed, sql.SQL(self.moment))

    def execute(
        self, statement: LiteralString, table: str, key: str, count: int, condition: LiteralString = "true"
    ) -> int:
        """Run the statement on `count` rows that the seed chooses; return how many there were."""
        chosen = sql.SQL(_CHOSEN).format(
            key=sql.Identifier(key),
            table=sql.Identifier(table),
            began=sql.Literal(self.began),
            condition=sql.SQL(condition),
            seed=sql.Literal(self.seed),
            count=sql.Literal(count),
        )
        composed = sql.SQL(statement).format(
            table=sql.Identifier(table), chosen=chosen, moment=sql.SQL(self.moment)
        )
        with self.connection.transaction():
            return self.connection.execute(composed).rowcount


def _one(connection: Connection, query: sql.SQL | sql.Composed) -> Any:
    row = connection.execute(query).fetchone()
    return row[0] if row else None
