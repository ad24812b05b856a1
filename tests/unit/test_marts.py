"""What a mart's maintenance reads of the mart."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from iceberg_datamart.core.mart.shape import MirrorShape, mart_shape
from iceberg_datamart.core.settings.model import MartConfig
from iceberg_datamart.core.sql.spark import SPARK
from iceberg_datamart.core.state.commit import MartState
from iceberg_datamart.lake.marts import MartJoin
from iceberg_datamart.ports import ConsumedMirror, MartMaintenance

if TYPE_CHECKING:
    from iceberg_datamart.lake.engine import Engine

CONFIG = {
    "from": "account",
    "joins": [{"table": "queue", "on": ["account_id"]}],
    "expressions": {"title": "upper(name)"},
}
MIRRORS = {
    "account": MirrorShape(("account_id", "name"), ("account_id",)),
    "queue": MirrorShape(("queue_id", "account_id", "priority"), ("queue_id",)),
}


class Named:
    """An engine whose tables are their names."""

    dialect = SPARK

    def table(self, name: str, snapshot_id: int | None = None) -> str:
        return f"{name}_{snapshot_id}"


def read_of_the_mart(changed: list[str] | None) -> list[str]:
    """Return the columns of the mart that are read for a change of some mirrors."""
    shape = mart_shape("mart", MartConfig.model_validate(CONFIG), MIRRORS)
    mirrors = [ConsumedMirror("account", 1), ConsumedMirror("queue", 2)]
    maintenance = MartMaintenance(shape, mirrors, changed, None, MartState("run", shape.definition, {}))
    sides = MartJoin(cast("Engine", Named()), maintenance)._sides([])
    assert sides.columns == shape.columns
    return list(sides.of_old)


def test_only_keys_expressions_and_what_changed_mirrors_show_are_read_of_a_mart_that_is_its_join() -> None:
    assert read_of_the_mart(["queue"]) == ["account_id", "queue_id", "priority", "title"]
    assert read_of_the_mart(["account"]) == ["account_id", "name", "queue_id", "title"]


def test_r8_all_columns_are_read_of_a_mart_that_is_not_known_to_be_its_join() -> None:
    assert read_of_the_mart(None) == ["account_id", "name", "queue_id", "priority", "title"]
