"""The seed's six tables: settings, the oracle's hand-written SQL, and a live system that changes them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from iceberg_datamart.app.settings_file import default_config_text
from iceberg_datamart.demo.seed import create_tables, load
from support.oracles.oracle import Joined, Mirrored, Oracle

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    import psycopg

    from support.worlds.laptop import Laptop

# By which rows are chosen and joined; every primary key is called id.
KEYS = {
    "account": "account_id",
    "account_metadata": "account_id",
    "account_risk": "account_id",
    "queue": "queue_id",
    "settlement_transaction": "transaction_id",
    "adjustment": "adjustment_id",
}
_COLUMNS = {
    "account": "account_id, name, status, country, external_id::text, credit_limit, is_active, opened_on, "
    "tags, created_at, updated_at, id",
    "account_metadata": "account_id, legal_name, contact_email, preferences::text, opted_in, last_login_at, "
    "updated_at, id",
    "account_risk": "account_id, risk_score, risk_band, model_version, watchlist_hits, is_sanctioned, "
    "reviewed_on, updated_at, id",
    "queue": "queue_id, account_id, name, status, priority, is_paused, routing::text, opened_at, updated_at, "
    "id",
    "settlement_transaction": "transaction_id, queue_id, reference::text, amount, fee, currency, status, "
    "settled_on, memo, created_at, id",
    "adjustment": "adjustment_id, transaction_id, amount, reason, is_approved, evidence::text, effective_on, "
    "updated_at, id",
}
JOIN = """
    select a.account_id as account_account_id, a.name as account_name, a.status as account_status, a.country,
        a.external_id::text, a.credit_limit, a.is_active, a.opened_on, a.tags,
        a.created_at as account_created_at, a.updated_at as account_updated_at, a.id as account_id,
        m.legal_name, m.contact_email, m.preferences::text, m.opted_in, m.last_login_at,
        m.updated_at as account_metadata_updated_at, m.id as account_metadata_id,
        r.risk_score, r.risk_band, r.model_version, r.watchlist_hits, r.is_sanctioned, r.reviewed_on,
        r.updated_at as account_risk_updated_at, r.id as account_risk_id,
        q.queue_id as queue_queue_id, q.name as queue_name, q.status as queue_status, q.priority, q.is_paused,
        q.routing::text, q.opened_at, q.updated_at as queue_updated_at, q.id as queue_id,
        t.transaction_id, t.reference::text, t.amount, t.fee, t.currency,
        t.status as settlement_transaction_status, t.settled_on, t.memo,
        t.created_at as settlement_transaction_created_at, t.id as settlement_transaction_id
    from account as a
    join account_metadata as m on m.account_id = a.account_id
    join account_risk as r on r.account_id = a.account_id
    join queue as q on q.account_id = a.account_id
    join settlement_transaction as t on t.queue_id = q.queue_id
"""
# How each kind of row is copied as a new one; {moment} is the value of its cursor column.
_INSERTS = {
    "account": """
        insert into account (name, status, country, external_id, credit_limit, is_active, opened_on, tags,
            created_at, updated_at)
        select name || ' {word}', 'open', country, gen_random_uuid(), 10.25, not is_active, opened_on,
            tags || array['{word}', null], {moment}, {moment}
        from account {some}
    """,
    "account_metadata": """
        insert into account_metadata
        select a.account_id, 'Legal {word}', null, '{{"word": "{word}"}}', null, null, {moment}
        from account as a where account_id not in (select account_id from account_metadata)
    """,
    "account_risk": """
        insert into account_risk
        select a.account_id, 12.5, 'low', 3, 0, false, date '2025-06-01', {moment}
        from account as a where account_id not in (select account_id from account_risk)
    """,
    "queue": """
        insert into queue (account_id, name, status, priority, is_paused, routing, opened_at, updated_at)
        select nullif(account_id, {dice}), '{word}', status, priority, is_paused, routing, opened_at, {moment}
        from queue {some}
    """,
    "settlement_transaction": """
        insert into settlement_transaction (queue_id, reference, amount, fee, currency, status, settled_on,
            memo, created_at)
        select
            (select queue_id from queue order by md5(queue_id::text || t.transaction_id || '{word}') limit 1),
            gen_random_uuid(), amount + 0.01, fee, currency, status, settled_on, '{word}', {moment}
        from settlement_transaction as t {some}
    """,
    "adjustment": """
        insert into adjustment
            (transaction_id, amount, reason, is_approved, evidence, effective_on, updated_at)
        select transaction_id, -amount, '{word}', null, evidence, effective_on, {moment}
        from adjustment {some}
    """,
}
_UPDATES = {
    "account": "credit_limit = coalesce(credit_limit, 0) + 0.01, name = '{word}'",
    "account_metadata": "preferences = jsonb_build_object('{word}', {dice}), opted_in = not opted_in",
    "account_risk": "risk_score = mod(risk_score + 7.25, 100), watchlist_hits = watchlist_hits + 1",
    "queue": "priority = priority + 1, routing = null",
    "adjustment": "amount = amount + 0.01, reason = '{word}'",
}
_MOVE = "account_id = (select account_id from account order by md5(account_id::text || '{word}') limit 1)"


def open_settlements(laptop: Laptop, connection: psycopg.Connection[Any], rows: int) -> Oracle:
    """Fill the source with `rows` transactions, write the shipped settings, and return the oracle."""
    create_tables(connection)
    load(connection, rows)
    for table in KEYS:
        cursor = "created_at" if table == "settlement_transaction" else "updated_at"
        connection.execute(f"alter table {table} alter {cursor} drop not null")
    shipped = yaml.load(default_config_text(), Loader=yaml.BaseLoader)  # noqa: S506  (keeps the word `on`)
    for table in shipped["tables"].values():
        table.pop("reconcile", None)
    laptop.configure(shipped["tables"], shipped["marts"])
    mirrors = {
        name: Mirrored(name, ("id",), f"select {columns} from {name}") for name, columns in _COLUMNS.items()
    }
    joins = {"account_settlements": Joined(("queue_id", "transaction_id"), JOIN)}
    oracle = Oracle(connection, "public", mirrors, joins)
    oracle.prepare()
    return oracle


@dataclass
class Settlements:
    """A live system over the six tables; what it does depends on `dice` alone.

    A row that an open transaction holds is passed over, as a real system would wait for it.
    """

    connection: psycopg.Connection[Any]
    dice: random.Random

    def busy_hour(self) -> None:
        """Insert, update, move and delete in random order and number; never a settlement's update."""
        deeds: list[Callable[[], None]] = [
            lambda: self.insert(self.dice.choice(list(KEYS)), self.dice.randint(1, 6)),
            lambda: self.insert("settlement_transaction", self.dice.randint(5, 25)),
            lambda: self.update(self.dice.choice(list(_UPDATES)), self.dice.randint(1, 5)),
            lambda: self.move(self.dice.randint(1, 3)),
            lambda: self.delete(self.dice.choice(list(KEYS)), 1),
        ]
        for deed in self.dice.choices(deeds, weights=[4, 2, 5, 2, 1], k=self.dice.randint(4, 9)):
            deed()

    def insert(self, table: str, count: int, moment: str = "clock_timestamp()") -> None:
        """Insert up to `count` rows whose cursor is `moment`."""
        some = self._some(table, count, lock=False)
        self._execute("public", _INSERTS[table], moment=moment, some=f"where {some}")

    def update(self, table: str, count: int, moment: str = "clock_timestamp()") -> None:
        """Change the content of some rows, and set their cursor to `moment`."""
        self._change(table, _UPDATES[table], count, moment)

    def move(self, count: int, moment: str = "clock_timestamp()") -> None:
        """Give some queues to another account."""
        self._change("queue", _MOVE, count, moment)

    def change_without_cursor(self, table: str) -> None:
        """Change every row whose cursor is NULL; no cursor tells of it."""
        self._execute(
            "public", f"update {table} set {_UPDATES[table]} where updated_at is null", moment="null"
        )

    def delete(self, table: str, count: int) -> None:
        """Delete some rows, whatever still refers to them."""
        self._execute("public", f"delete from {table} where {self._some(table, count)}", moment="null")

    @contextmanager
    def open_transaction(self, other: psycopg.Connection[Any]) -> Iterator[None]:
        """Write in a transaction that stays open within the block; every cursor is its time of start."""
        with other.transaction():
            late = Settlements(other, self.dice)
            late.insert("settlement_transaction", 4, moment="now()")
            late.insert("adjustment", 2, moment="now()")
            late.update("account_risk", 3, moment="now()")
            late.move(2, moment="now()")
            yield

    def _change(self, table: str, sets: str, count: int, moment: str) -> None:
        text = f"update {table} set {sets}, updated_at = {moment} where {self._some(table, count)}"
        self._execute("public", text, moment=moment)

    def _some(self, table: str, count: int, *, lock: bool = True) -> str:
        """Return a predicate for `count` rows that the dice choose and nobody holds."""
        key, word = KEYS[table], self.dice.random()
        tail = "for update skip locked" if lock else ""
        return (
            f"{key} = any(array(select {key} from {table} order by md5({key}::text || '{word}') "
            f"limit {count} {tail}))"
        )

    def _execute(self, schema: str, text: str, **parts: str) -> None:
        said = text
        for name, value in {
            **parts,
            "word": f"w{self.dice.randint(0, 999)}",
            "dice": str(self.dice.randint(1, 20)),
        }.items():
            said = said.replace("{" + name + "}", value)
        self.connection.execute(f"set search_path = {schema}")
        self.connection.execute(said.replace("{{", "{").replace("}}", "}"))
