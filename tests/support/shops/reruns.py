"""The shop's mart as it was at its snapshots: computed again by `rerun`, and read by PyIceberg."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.faults.other_tool import MART
from support.worlds.laptop import LINEAGE

if TYPE_CHECKING:
    from support.worlds.laptop import Ended, Laptop

    Row = dict[str, Any]

KEY = ("customer_id", "purchase_id")


def rerun(laptop: Laptop, snapshot_id: int, *arguments: str) -> Ended:
    return laptop.command("rerun", "--snapshot-id", str(snapshot_id), *arguments)


def equal(laptop: Laptop, snapshot_id: int) -> int:
    """Assert that the mart's snapshot is its join still; return its rows."""
    ended = rerun(laptop, snapshot_id)
    assert ended.exit_code == 0, f"{ended.stdout}\n{ended.stderr}"
    found = ended.report["marts"][MART]
    assert (found["result"], found["missing"], found["stale"], found["extra"]) == ("equal", 0, 0, 0)
    assert found["held"] == found["expected"]
    return int(found["held"])


def rows_at(laptop: Laptop, name: str, snapshot_id: int | None) -> list[Row]:
    """Return a table's rows as of a snapshot, as PyIceberg reads them, without lineage columns."""
    found = laptop.table(name).scan(snapshot_id=snapshot_id).to_arrow().to_pylist()
    return [{column: value for column, value in row.items() if column not in LINEAGE} for row in found]


def newest(laptop: Laptop, table: str) -> int:
    return int(laptop.history(table)[0]["snapshot_id"])
