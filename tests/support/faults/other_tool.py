"""Another tool at work on the shop's tables: it maintains them, and rolls them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.lake.runtime import GLUE_4_0, present_runtime

if TYPE_CHECKING:
    from support.worlds.laptop import Laptop

MART = "customer_purchases"
_ALL = (
    "rewrite_data_files(table => '{}', options => map('rewrite-all', 'true'))",
    "rewrite_position_delete_files(table => '{}', options => map('rewrite-all', 'true'))",
    "rewrite_manifests(table => '{}')",
    "expire_snapshots(table => '{}', older_than => timestamp '2100-01-01 00:00:00', retain_last => 1)",
)
# Iceberg 1.0 has no procedure for position deletes.
MAINTENANCE = tuple(
    call for call in _ALL if "position_delete" not in call or present_runtime() is not GLUE_4_0
)


def roll_back(laptop: Laptop, table: str, snapshot_id: int) -> None:
    laptop.spark_sql(f"call datamart.system.rollback_to_snapshot('datamart.datamart.{table}', {snapshot_id})")


def maintain(laptop: Laptop, calls: tuple[str, ...]) -> None:
    """Let another tool maintain the mirrors and the mart."""
    for table in ("customer", "purchase", MART):
        for call in calls:
            laptop.spark_sql("call datamart.system." + call.format(f"datamart.datamart.{table}"))


def maintain_away(laptop: Laptop) -> None:
    """Let another tool compact and expire until no snapshot of this one is left."""
    maintain(laptop, (MAINTENANCE[0], MAINTENANCE[-1]))
    for table in ("customer", "purchase", MART):
        assert [found["run_id"] for found in laptop.history(table)] == [None]
