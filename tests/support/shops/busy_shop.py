"""The shop as a living source: every change touches whatever a run has to get right."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]


class BusyShop:
    """A loaded shop; each change reaches every crash point."""

    def __init__(self, laptop: Laptop, connection: Connection, oracle: Oracle) -> None:
        self.laptop, self.connection, self.oracle = laptop, connection, oracle
        self._digits = count(13)

    def change(self) -> None:
        """Insert, update, move, delete, tie with the watermark, forget a cursor."""
        self.connection.execute("""
            update customer set name = name || '+', updated_at = clock_timestamp()
                where customer_id = any (array(select customer_id from customer order by random() limit 3));
            insert into customer (name, updated_at) select 'tied', max(updated_at) from customer;
            update customer set name = name || '?', updated_at = null where customer_id = 20;
            update purchase set customer_id = 1 + mod(purchase_id, 19), updated_at = clock_timestamp()
                where purchase_id = any (array(select purchase_id from purchase order by random() limit 3));
            insert into purchase (customer_id, amount, updated_at)
                select mod(i, 19) + 1, random() * 1000, clock_timestamp() from generate_series(1, 5) as i;
            delete from purchase
                where purchase_id = any (array(select purchase_id from purchase order by random() limit 2))
        """)

    def widen(self) -> None:
        """Change a column's type, so that mirror and mart have to follow."""
        self.connection.execute(f"alter table purchase alter amount type numeric({next(self._digits)}, 2)")

    def make_good(self, *, full: bool, compared: tuple[str, ...] = ()) -> dict[str, Any]:
        """Run once more; then the tables are as if nothing had happened. Return the run's report."""
        report = self.laptop.run(*load_type(full=full))
        self.check(full=full, compared=compared)
        return report

    def check(self, *, full: bool, compared: tuple[str, ...] = ()) -> None:
        """Assert that the tables are as a run leaves them.

        Those of `compared` have changed so that any run compares all of their rows.
        """
        self.oracle.follow(full=full)
        self.oracle.follow(full=True, tables=compared)
        self.oracle.check(self.laptop, against_source=full)


def load_type(*, full: bool) -> tuple[str, ...]:
    return ("--load-type", "full") if full else ()
