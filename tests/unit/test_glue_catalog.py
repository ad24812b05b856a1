"""What the catalog answers, as a table and its partitions."""

from __future__ import annotations

from typing import Any

import pytest

from iceberg_datamart.errors import SourceError
from iceberg_datamart.sources.glue.catalog import GluePartition, _partition

PLACE = "s3://bucket/t/d"


def partition(storage: dict[str, Any] | None, *, with_columns: bool = False) -> GluePartition:
    answer: dict[str, Any] = {"Values": ["2026-03-02"]}
    if storage is not None:
        answer["StorageDescriptor"] = storage
    return _partition("t", answer, with_columns=with_columns)


@pytest.mark.parametrize("storage", [None, {}, {"Location": ""}])
def test_a_partition_without_a_place_is_refused_by_its_values(storage: dict[str, Any] | None) -> None:
    with pytest.raises(SourceError, match=r"partition \(2026-03-02\) of Glue table 't'"):
        partition(storage)


def test_a_partition_has_its_own_serde_and_columns_where_it_says_so() -> None:
    assert partition({"Location": PLACE}) == GluePartition(("2026-03-02",), PLACE)
    serde = {"SerializationLibrary": "l", "Parameters": {"a": "b"}}
    found = partition({"Location": PLACE, "SerdeInfo": serde, "Columns": [{"Name": "id"}]}, with_columns=True)
    assert (found.serde, found.columns) == (("l", {"a": "b"}), ("id",))
