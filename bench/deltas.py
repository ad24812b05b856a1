"""What changes in the source before each operation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iceberg_datamart.demo.changes import clustered_change, scattered_change

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

FULL, NOTHING, ACCOUNTS, CLUSTERED, SCATTERED = "full", "nothing", "accounts", "clustered", "scattered"
# Rows are spread over the keys of accounts, or of queues where there are not enough accounts.
_SCATTER_QUEUES = """
    with numbered as (
        select id, row_number() over (order by id) as i, count(*) over () as total from public.queue)
    update public.queue set priority = priority + 1, updated_at = clock_timestamp()
    from numbered
    where queue.id = numbered.id and i * %(n)s / total > (i - 1) * %(n)s / total
"""


@dataclass(frozen=True)
class Delta:
    """A kind of change and its number of rows."""

    kind: str
    rows: int = 0

    def __str__(self) -> str:
        """Return the operation's name."""
        if self.kind == FULL:
            return "full load"
        if self.kind == NOTHING:
            return "nothing changed"
        if self.kind == ACCOUNTS:
            return f"{self.rows} accounts"
        return f"{self.rows // 1000}k {self.kind}"

    def make(self, connection: Connection, seed: int) -> bool:
        """Change the source; return False, and change nothing, where it has too few rows for that."""
        if self.kind == CLUSTERED:
            clustered_change(connection, self.rows, seed)
        if self.kind in {ACCOUNTS, SCATTERED}:
            return self._scatter(connection)
        return True

    def _scatter(self, connection: Connection) -> bool:
        if self.rows <= _count(connection, "select count(*) from public.account"):
            scattered_change(connection, self.rows)
            return True
        if self.kind == SCATTERED and self.rows <= _count(connection, "select count(*) from public.queue"):
            connection.execute(_SCATTER_QUEUES, {"n": self.rows})
            return True
        return False


FULL_LOAD, QUIET, TEN_ACCOUNTS = Delta(FULL), Delta(NOTHING), Delta(ACCOUNTS, 10)
CLUSTERED_1K, SCATTERED_1K = Delta(CLUSTERED, 1_000), Delta(SCATTERED, 1_000)
CLUSTERED_10K, SCATTERED_10K = Delta(CLUSTERED, 10_000), Delta(SCATTERED, 10_000)
CLUSTERED_100K, SCATTERED_100K = Delta(CLUSTERED, 100_000), Delta(SCATTERED, 100_000)
DELTAS = (
    *(FULL_LOAD, QUIET, TEN_ACCOUNTS, CLUSTERED_1K, SCATTERED_1K),
    *(CLUSTERED_10K, SCATTERED_10K, CLUSTERED_100K, SCATTERED_100K),
)


def _count(connection: Connection, query: Any) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
