"""The shop in a storm: people write, runs fail and crash, other tools interfere; and what must hold after."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from iceberg_datamart.crash_points import Trap
from support.faults.crashed_runs import crashed
from support.oracles.oracle import assert_same, rows_of
from support.shops.shop import MARTS, SCHEMA, TABLES
from support.shops.shop_rules import prepared
from support.shops.stormy_columns import DEEDS, StormyColumns

if TYPE_CHECKING:
    import random

    import psycopg

    from support.worlds.laptop import Ended, Laptop

    Connection = psycopg.Connection[Any]
    Row = dict[str, Any]

KEYS = {"customer": ("customer_id",), "purchase": ("purchase_id",)}
MART, MART_KEY = "customer_purchases", ("customer_id", "purchase_id")
_GONE = "amount < 0"
_SELECTS = {
    "customer": "select customer_id, name, updated_at{more} from customer",
    "purchase": f"select purchase_id, customer_id, amount, updated_at{{more}} from purchase "
    f"where ({_GONE}) is not true",
}
_JOIN = f"""
    select c.customer_id, name, c.updated_at as customer_updated_at, purchase_id, amount,
        p.updated_at as purchase_updated_at{{more}}
    from customer as c, purchase as p where p.customer_id = c.customer_id and ({_GONE}) is not true
"""


@dataclass
class Tally:
    """What happened in all storms: operations and faults by kind, and what the comparisons found."""

    operations: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    comparisons: int = 0
    rows: int = 0
    losses: int = 0
    doubles: int = 0


@dataclass
class Storm:
    """One shop, its lake, and two sessions of its database; `dice` choose rows and places.

    `deleted` are keys that the source once had: no cursor tells that they went. `hidden` says whether
    something happened to a mirror that only a full load can find. `remade` are tables with columns that
    are others under their names since the last comparison.
    """

    laptop: Laptop
    connection: Connection
    other: Connection
    dice: random.Random
    tally: Tally
    deleted: dict[str, set[tuple[Any, ...]]] = field(default_factory=lambda: {name: set() for name in KEYS})
    hidden: bool = False
    ever_hidden: bool = False
    late: bool = False
    broken: str | None = None
    remade: set[str] = field(default_factory=set)

    @cached_property
    def columns(self) -> StormyColumns:
        return StormyColumns(self.connection, self.dice)

    def open(self) -> None:
        """Fill the source, and run for the first time."""
        self.connection.execute(SCHEMA.read_bytes())
        tables = {name: {**table, "max_delete_fraction": 1.0} for name, table in TABLES.items()}
        tables["purchase"]["soft_delete"] = _GONE
        self.laptop.configure(tables, dict(MARTS))
        self.laptop.run()

    # --- people write

    def insert(self, table: str, moment: str = "clock_timestamp()") -> None:
        """Insert a few rows whose cursor is `moment`."""
        texts = {
            "customer": f"insert into customer (name, updated_at) select 'new', {moment} from {{some}}",
            "purchase": "insert into purchase (customer_id, amount, updated_at) "
            f"select 1 + mod(i * 7, 23), i * 1.5, {moment} from {{some}}",
        }
        some = f"generate_series(1, {self.dice.randint(1, 4)}) as i"
        self._write(texts[table].format(some=some))

    def update(self, table: str, moment: str = "clock_timestamp()") -> None:
        """Change a few rows and set their cursor to `moment`."""
        sets = {"customer": "name = name || '*'", "purchase": "amount = abs(amount) + 0.01"}[table]
        more = self.columns.sets(table)
        self._write(f"update {table} set {sets}{more}, updated_at = {moment} where {self._some(table)}")

    def tie(self, table: str) -> None:
        """Write rows at exactly the mirror's watermark."""
        watermark = self.laptop.status()["tables"][table]["watermark"]
        moment = "clock_timestamp()" if watermark is None else f"timestamptz '{watermark}'"
        self.insert(table, moment)
        self.update(table, moment)

    def move(self) -> None:
        """Give purchases to another customer."""
        sets = f"customer_id = {self.dice.randint(1, 25)}, updated_at = clock_timestamp()"
        self._write(f"update purchase set {sets} where {self._some('purchase')}")

    def soft_delete(self) -> None:
        """Mark purchases as deleted, or take the mark away."""
        some = self._some("purchase")
        self._write(f"update purchase set amount = -amount, updated_at = clock_timestamp() where {some}")

    def hard_delete(self, table: str) -> None:
        """Delete rows: nothing but a full load tells."""
        key = KEYS[table][0]
        gone = self._write(f"delete from {table} where {self._some(table)} returning {key}")
        self.deleted[table] |= set(gone)

    def rekey(self) -> None:
        """Give a purchase another primary key: to a mirror, a deleted row and a new one."""
        some = self._some("purchase", 1)
        self.deleted["purchase"] |= set(self._write(f"select purchase_id from purchase where {some}"))
        sets = "purchase_id = nextval('purchase_purchase_id_seq'), updated_at = clock_timestamp()"
        self._write(f"update purchase set {sets} where {some}")

    def silent_update(self) -> None:
        """Change rows and leave their cursor as it was."""
        self._write(f"update customer set name = name || '~' where {self._some('customer')}")
        self._hide()

    def change_a_column(self, table: str, deed: str | None = None) -> None:
        """Add, drop, rename, widen or remake a column, and write into those that are there."""
        if self.late:
            self.commit_late()  # its locks would keep ALTER TABLE waiting
        deed = deed or self.dice.choice(DEEDS)
        self.tally.operations[f"{deed} a column"] += 1
        getattr(self.columns, deed)(table)
        if deed != "widen":
            self.remade.add(table)
        self.update(table)

    def begin_late(self) -> None:
        """Write in a transaction that stays open, and whose cursor values are those of its start."""
        self.other.execute("begin")
        self.other.execute("insert into purchase (customer_id, amount, updated_at) values (1, 77, now())")
        sets = "name = name || '!', updated_at = now()"
        self.other.execute(f"update customer set {sets} where {self._some('customer', 1)}")
        self.late = True

    def commit_late(self) -> None:
        """Commit what the open transaction wrote."""
        self.other.execute("commit")
        self.late = False

    # --- runs

    def run(self, *arguments: str) -> Ended:
        """Run; only a table that was broken on purpose may fail."""
        self._look_back()
        ended = self.laptop.command("run", *arguments)
        chosen = arguments[arguments.index("--table") + 1] if "--table" in arguments else self.broken
        expected = 1 if self.broken is not None and chosen == self.broken else 0
        assert ended.exit_code == expected, f"{ended.stdout}\n{ended.stderr}"
        if expected:
            outcomes = {name: part["outcome"] for name, part in ended.report["tables"].items()}
            assert {name for name, outcome in outcomes.items() if outcome == "failed"} == {self.broken}
        return ended

    def crash(self, point: str, visit: int, *arguments: str) -> bool:
        """Run until `point` is reached for the `visit`-th time; return whether it was."""
        self._look_back()
        ended = crashed(self.laptop, Trap(point, visit), *arguments)
        self.tally.faults[f"crash at {point}"] += ended
        return ended

    def overtake(self) -> None:
        """Let a run read, another one run meanwhile, and the first go on."""
        self._look_back()
        with prepared(self.laptop) as slow:
            self.update("customer")
            self.insert("purchase")
            self.run()
            report = slow()
        assert self.broken is not None or report.exit_code in {0, 75}, report
        self.tally.faults["overtaken run"] += 1

    def maintain(self, engine: str, point: str = "", visit: int = 1) -> None:
        """Compact and expire as much as may be, where `point` does not end it before."""
        keep = self.dice.randint(1, 3)
        days = self.dice.choice([0, 7])
        self.laptop.settings["maintain"] = {"keep_snapshots": keep, "keep_days": days, "min_files": 2}
        self.laptop.save()
        if point:
            crash = crashed(self.laptop, Trap(point, visit), "--engine", engine, verb="maintain")
            self.tally.faults[f"crash of maintain at {point}"] += crash
            return
        ended = self.laptop.command("maintain", "--engine", engine)
        assert ended.exit_code == 0, f"{ended.stdout}\n{ended.stderr}"
        for part in ended.report["tables"].values():
            self.tally.operations[f"maintain: {part['outcome']}"] += 1

    # --- faults

    def break_table(self, table: str) -> None:
        """Take the source table away."""
        self.connection.execute(f"alter table {table} rename to {table}_elsewhere")
        self.broken = table
        self.tally.faults["source table gone"] += 1

    def mend_table(self) -> None:
        self.connection.execute(f"alter table {self.broken}_elsewhere rename to {self.broken}")
        self.broken = None

    def roll_back(self, table: str) -> None:
        """Set a mirror or the mart back to any of its ancestors, by Iceberg's own procedure."""
        ids = [snapshot["snapshot_id"] for snapshot in self.laptop.history(table)[1:]]
        if not ids:
            return  # Iceberg 1.0 fails to roll back to the current snapshot
        chosen = self.dice.choice(ids)
        self._call(f"rollback_to_snapshot('datamart.datamart.{table}', {chosen})")
        self.hidden = self.hidden or self.ever_hidden
        self.tally.faults["rollback of the mart" if table == MART else "rollback of a mirror"] += 1

    def rewind_timestamp(self) -> None:
        """Set the timestamp file back by hand."""
        self.laptop.timestamp_file.write_text("last_load_timestamp\n2025-03-01 10:05:00\n")
        self.tally.faults["timestamp file rewound"] += 1

    def remove_timestamp(self) -> None:
        self.laptop.timestamp_file.unlink(missing_ok=True)
        self.tally.faults["timestamp file removed"] += 1

    def compact(self, table: str) -> None:
        """Rewrite all data files with another tool."""
        self._call(
            f"rewrite_data_files(table => 'datamart.datamart.{table}', options => map('rewrite-all', 'true'))"
        )
        self.tally.faults["foreign compaction"] += 1

    def expire(self, table: str) -> None:
        """Expire the history with another tool, but for a few snapshots."""
        older = "older_than => timestamp '2100-01-01 00:00:00'"
        keep = self.dice.randint(1, 3)
        self._call(f"expire_snapshots(table => 'datamart.datamart.{table}', {older}, retain_last => {keep})")
        self.tally.faults["foreign expiry"] += 1

    def foreign_write(self, kind: str) -> None:
        """Change a mirror with another tool, as nobody should."""
        mirror, now = "datamart.datamart.customer", "timestamp '2030-01-01 00:00:00'"
        known = {"customer_id": str(self.dice.randint(1000, 9999)), "updated_at": now, "_merged_at": now}
        known |= {"name": "'x'", "_run_id": "'x'"}
        names = [column.name for column in self.laptop.table("customer").schema().fields]
        row = [known.get(name, "null") for name in names]
        texts = {
            "insert": f"insert into {mirror} values ({', '.join(row)})",
            "update": f"update {mirror} set name = 'by a stranger' where customer_id <= 3",
            "delete": f"delete from {mirror} where customer_id in (4, 5)",
        }
        self.laptop.spark_sql(texts[kind])
        self._hide()
        self.tally.faults[f"foreign {kind}"] += 1

    # --- what must hold

    def settle(self) -> None:
        """End what is open, run, compare as far as cursors tell; then all after a reconcile or full load."""
        if self.late:
            self.commit_late()
        if self.broken is not None:
            self.mend_table()
        self.change_a_column(self.dice.choice(sorted(KEYS)))
        self.run()
        mirrors = {name: self.laptop.rows(name) for name in KEYS}
        if not self.hidden:
            for name, found in mirrors.items():
                self._compare(name, self._shown(found, name), self._expected(name), self.deleted[name])
        self._compare(MART, self.laptop.rows(MART), joined(mirrors), set())
        ended = self.laptop.command(*self.dice.choice([("reconcile",), ("run", "--load-type", "full")]))
        assert ended.exit_code == 0, f"{ended.stdout}\n{ended.stderr}"
        for name, key in KEYS.items():
            assert_same(name, self._shown(self.laptop.rows(name), name), self._expected(name), key)
        more = "".join(f", {column}" for name in KEYS for column in self.columns.present(name))
        expected = rows_of(self.connection, _JOIN.format(more=more), "public")
        names = expected[0] if expected else ()
        found = [{column: row[column] for column in names} for row in self.laptop.rows(MART)]
        assert_same(MART, found, expected, MART_KEY)
        self.tally.comparisons += 3
        self.hidden = False
        self.remade = set()

    def _compare(self, name: str, found: list[Row], expected: list[Row], allowed: set[Any]) -> None:
        """Assert that all `expected` rows are there once, and no others but those of `allowed` keys."""
        key = KEYS.get(name, MART_KEY)
        has = Counter(tuple(row[column] for column in key) for row in found)
        rows = {tuple(row[column] for column in key): row for row in found}
        needs = {tuple(row[column] for column in key): row for row in expected}
        lost = {place: row for place, row in needs.items() if rows.get(place) != row}
        doubled = {place: times for place, times in has.items() if times > 1}
        extra = set(rows) - set(needs) - allowed
        self.tally.comparisons += 1
        self.tally.rows += len(needs)
        self.tally.losses += len(lost)
        self.tally.doubles += len(doubled) + len(extra)
        shown = {place: (rows.get(place), row) for place, row in list(lost.items())[:5]}
        assert not lost, f"{name}: {len(lost)} rows are missing or stale: {shown}"
        assert not doubled, f"{name}: doubled: {doubled}"
        assert not extra, f"{name}: too much: {sorted(extra)[:5]}"

    def _expected(self, name: str) -> list[Row]:
        more = "".join(f", {column}" for column in self.columns.present(name))
        return rows_of(self.connection, _SELECTS[name].format(more=more), "public")

    def _shown(self, rows: list[Row], name: str) -> list[Row]:
        """Return a mirror's rows without the columns that are gone from the source."""
        present = set(self.columns.present(name))
        return [
            {c: v for c, v in row.items() if not c.startswith(f"{name}_") or c in {*present, *KEYS[name]}}
            for row in rows
        ]

    def _look_back(self) -> None:
        """Know that a column recreated is not noticed where the mirror's history says nothing any more."""
        for table in self.remade:
            if not any(snapshot["run_id"] for snapshot in self.laptop.history(table)):
                self._hide()

    def _hide(self) -> None:
        self.hidden = self.ever_hidden = True

    def _write(self, text: str) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(text)
        return cursor.fetchall() if cursor.description else []

    def _some(self, table: str, count: int = 3) -> str:
        """Return a predicate for some rows that the dice choose and no open transaction holds."""
        key, word = KEYS[table][0], self.dice.random()
        rows = f"select {key} from {table} order by md5({key}::text || '{word}') limit {count}"
        return f"{key} = any (array({rows} for update skip locked))"

    def _call(self, text: str) -> None:
        self.laptop.spark_sql(f"call datamart.system.{text}")


def joined(mirrors: dict[str, list[Row]]) -> list[Row]:
    """Return the join of the mirrors' own rows, all columns, as the mart must hold it."""
    customers = {row["customer_id"]: row for row in mirrors["customer"]}
    return [
        {
            "customer_id": row["customer_id"],
            "name": customers[row["customer_id"]]["name"],
            "customer_updated_at": customers[row["customer_id"]]["updated_at"],
            "purchase_id": row["purchase_id"],
            "amount": row["amount"],
            "purchase_updated_at": row["updated_at"],
            **{c: v for c, v in customers[row["customer_id"]].items() if c.startswith("customer_")},
            **{c: v for c, v in row.items() if c.startswith("purchase_")},
        }
        for row in mirrors["purchase"]
        if row["customer_id"] in customers
    ]
