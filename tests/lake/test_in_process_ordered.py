"""A table's first rows lie in the order of its key; where they nearly come so, not all of them are sorted."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.changes import Append, Lineage
from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.sql.reserved import LINEAGE
from iceberg_datamart.lake.in_process.ordered import OutOfOrderError, in_order
from iceberg_datamart.lake.in_process.session import Session
from iceberg_datamart.lake.in_process.writing import Writing
from support.fakes.ports import NOON
from support.lakes.local_lake import LocalLake, ordered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Row = tuple[Any, ...]
SCHEMA = pa.schema([("a", pa.int64()), ("b", pa.string()), ("v", pa.int64())])
COLUMNS = (Column("id", "long", nullable=False), Column("v", "string"))


def reader(batches: list[list[Row]]) -> pa.RecordBatchReader:
    made = [
        pa.RecordBatch.from_pylist([dict(zip("abv", row, strict=True)) for row in b], SCHEMA) for b in batches
    ]
    return pa.RecordBatchReader.from_batches(SCHEMA, made)


def read(batches: list[list[Row]]) -> list[Row]:
    with reader(batches) as rows:
        return [tuple(row.values()) for batch in in_order(rows, ["a", "b"]) for row in batch.to_pylist()]


def key(row: Row) -> tuple[Any, ...]:
    """NULL is behind all values."""
    return tuple((value is None, value or 0) for value in row[:1]) + tuple(
        (value is None, value or "") for value in row[1:2]
    )


@given(
    st.lists(
        st.lists(
            st.tuples(st.none() | st.integers(0, 9), st.none() | st.sampled_from("abc"), st.integers(0, 99)),
            max_size=4,
        ),
        max_size=6,
    )
)
def test_rows_are_sorted_or_refused_and_none_is_lost(batches: list[list[Row]]) -> None:
    rows = [row for batch in batches for row in batch]
    try:
        found = read(batches)
    except OutOfOrderError:
        assert rows != sorted(rows, key=key)
    else:
        assert [row[:2] for row in found] == [row[:2] for row in sorted(rows, key=key)]
        assert ordered(found) == ordered(rows)


def test_a_row_may_come_a_batch_too_late_and_no_later() -> None:
    assert [row[0] for row in read([[(1, "", 0), (4, "", 0)], [(2, "", 0), (3, "", 0)]])] == [1, 2, 3, 4]
    with pytest.raises(OutOfOrderError):
        read([[(2, "", 0)], [(3, "", 0)], [(1, "", 0)]])
    with pytest.raises(OutOfOrderError):
        read([[(1, "b", 0)], [(2, "a", 0)], [(1, "a", 0)]])


def test_what_arrow_cannot_sort_is_left_to_duckdb() -> None:
    lists = pa.table({"a": [[1], [2]]}).to_reader()
    with pytest.raises(OutOfOrderError):
        in_order(lists, ["a"]).read_all()


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    found = LocalLake(tmp_path)
    found.create(columns=(*COLUMNS, *LINEAGE))
    return found


@pytest.fixture
def session() -> Iterator[Session]:
    with closing(Session()) as found:
        yield found


def appended(lake: LocalLake, session: Session, select: str) -> list[int]:
    """Commit the rows as the first of a table; return its ids as they lie in their files."""
    staging = lake.staging()
    append = Append("t", f"({select})", ["id", "v"], Lineage("run-1", NOON), order=["id"])
    staging.publish(Writing(session, lake.tables, staging).append(append, {}))
    (file,) = lake.tables.files(lake.tables.load("t"), lake.tables.load("t").current_snapshot()).data
    found = lake.tables.load("t").io.new_input(file.path).open()
    return list(pq.read_table(found, columns=["id"])["id"].to_pylist())


@pytest.mark.parametrize(
    ("select", "are_sorted"),
    [
        ("SELECT i AS id, 'v' || i AS v FROM range(250000) r(i)", False),
        ("SELECT xor(i, 1023) AS id, 'v' || i AS v FROM range(262144) r(i)", False),
        ("SELECT 249999 - i AS id, 'v' || i AS v FROM range(250000) r(i)", True),
    ],
)
def test_rows_lie_in_the_order_of_their_key(
    lake: LocalLake, session: Session, caplog: pytest.LogCaptureFixture, select: str, *, are_sorted: bool
) -> None:
    caplog.set_level(logging.DEBUG, "iceberg_datamart.lake.in_process.writing")
    found = appended(lake, session, select)
    assert found == list(range(len(found)))
    assert ("are sorted" in caplog.text) == are_sorted
    # One data file, its manifest, the list of them: a first attempt leaves nothing behind.
    assert len(lake.files()) == 3


def test_a_join_comes_in_the_order_of_its_largest_table(lake: LocalLake, session: Session) -> None:
    appended(lake, session, "SELECT i AS id, 'v' || i % 10 AS v FROM range(500000) r(i)")
    few = "(SELECT 'v' || i AS v, repeat('x', 100) AS x FROM range(10) r(i))"
    join = f"SELECT * FROM {few} AS few JOIN {lake.tables.relation('t')} AS t ON few.v = t.v"
    with closing(session.streamed(join)) as rows:
        found = rows.read_all()["id"].to_pylist()
    assert found == list(range(500000))
