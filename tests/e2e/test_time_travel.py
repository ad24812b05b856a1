"""Any runs, any rollbacks: one more run is exact, and every snapshot of the mart is still its join."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support.faults.other_tool import MART
from support.oracles.oracle import SHADOW, assert_same, rows_of
from support.shops.reruns import KEY, equal, newest, rows_at
from support.shops.shop import JOIN, oracle_of
from support.shops.shop_rules import UNCHANGED, outcomes

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.shops.loaded_shop import LoadedShop
    from support.worlds.laptop import Databases, Laptop

    Connection = psycopg.Connection[Any]

MIRRORS = ("customer", "purchase")
CHANGES = {
    "rename": "update customer set name = name || '{n}', updated_at = clock_timestamp() "
    "where mod(customer_id, 5) = mod({n}, 5)",
    "buy": "insert into purchase (customer_id, amount, updated_at) "
    "select 1 + mod(i * {n}, 22), i, clock_timestamp() from generate_series(1, 3) as i",
    "join": "insert into customer (name, updated_at) values ('new {n}', clock_timestamp())",
    "move": "update purchase set customer_id = 1 + mod(customer_id + {n}, 22), "
    "updated_at = clock_timestamp() where mod(purchase_id, 9) = mod({n}, 9)",
    "tie": "update purchase set amount = amount + {n}, updated_at = (select max(updated_at) from purchase) "
    "where mod(purchase_id, 11) = mod({n}, 11)",
    "delete": "delete from purchase where mod(purchase_id, 13) = mod({n}, 13)",
    "leave": "delete from customer where customer_id = 1 + mod({n}, 20)",
}
ROUNDS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(sorted(CHANGES)), min_size=1, max_size=4),
        st.sampled_from(["incremental", "incremental", "full"]),
    ),
    min_size=2,
    max_size=3,
)
ROLLBACKS = st.lists(
    st.dictionaries(st.sampled_from([*MIRRORS, MART]), st.sampled_from([1, 2, 3, 0]), min_size=1),
    min_size=2,
    max_size=2,
)


@dataclass
class Travel:
    """A shop; for each snapshot of a mirror, what it must hold, kept in PostgreSQL; the joins of the mart."""

    laptop: Laptop
    connection: Connection
    oracle: Oracle
    kept: dict[tuple[str, int], str] = field(default_factory=dict)
    joins: dict[int, list[dict[str, Any]]] = field(default_factory=dict)

    def change(self, kinds: list[str], number: int) -> None:
        for kind in kinds:
            self.connection.execute(CHANGES[kind].format(n=number))

    def run(self, load_type: str, compared: tuple[str, ...] = ()) -> None:
        """Run, and compare with PostgreSQL; of `compared` mirrors deletes are seen, too."""
        self.laptop.run("--load-type", load_type)
        for table in MIRRORS:
            self.oracle.follow(full=load_type == "full" or table in compared, tables=[table])
        self.keep()

    def keep(self) -> None:
        """Compare with PostgreSQL, and keep what each table's present snapshot must hold."""
        self.oracle.check(self.laptop)
        for table in MIRRORS:
            copy = self.kept.setdefault((table, newest(self.laptop, table)), f"copy {len(self.kept)}")
            self.connection.execute(f'drop table if exists "{copy}"')
            self.connection.execute(f'create table "{copy}" as select * from "{SHADOW}"."{table}"')
        self.joins.setdefault(newest(self.laptop, MART), rows_of(self.connection, JOIN, SHADOW))

    def roll_back(self, table: str, steps: int) -> bool:
        """Go back some snapshots; return whether that undid a full load or reconcile that found something."""
        history = self.laptop.history(table)
        at = min(steps, len(history) - 1)
        target = history[at]["snapshot_id"]
        ended = self.laptop.command("rollback", table, "--to-snapshot", str(target))
        assert ended.exit_code == 0, ended.stderr
        if table == MART:
            return False
        self.connection.execute(f'delete from "{SHADOW}"."{table}"')
        self.connection.execute(
            f'insert into "{SHADOW}"."{table}" select * from "{self.kept[table, target]}"'
        )
        return any(
            each["load_type"] in {"full", "reconcile"}
            and each["inserted"] + each["updated"] + each["deleted"]
            for each in history[:at]
        )


@settings(
    max_examples=2,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(rounds=ROUNDS, rollbacks=ROLLBACKS)
def test_r4_r8_after_any_runs_and_rollbacks_one_run_is_exact_and_every_mart_snapshot_is_its_join(
    databases: Databases,
    loaded_shop: LoadedShop,
    rounds: list[tuple[list[str], str]],
    rollbacks: list[dict[str, int]],
) -> None:
    laptop = loaded_shop.restored()
    with databases.connected(loaded_shop.database) as connection:
        travel = Travel(laptop, connection, oracle_of(connection))
        for table in laptop.settings["tables"].values():
            table["max_delete_fraction"] = 1.0
        laptop.save()
        travel.keep()
        for number, (kinds, load_type) in enumerate(rounds, 1):
            travel.change(kinds, number)
            travel.run(load_type)
        for number, steps in enumerate(rollbacks, 10):
            compared = tuple(table for table, each in steps.items() if travel.roll_back(table, each))
            if number % 2:
                travel.change(["buy", "rename"], number)
            travel.run("incremental", compared)
        assert outcomes(laptop.run()) == UNCHANGED
        for snapshot in laptop.history(MART):
            place = snapshot["snapshot_id"]
            assert equal(laptop, place) == snapshot["rows"] == len(travel.joins[place])
            assert_same(f"{MART} at {place}", rows_at(laptop, MART, place), travel.joins[place], KEY)
