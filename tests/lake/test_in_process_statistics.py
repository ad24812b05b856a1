"""Values and bounds as the in-process engine writes them: exact, and never such that a row is passed over."""

from __future__ import annotations

import io
import math
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.conversions import from_bytes
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
    schema_to_pyarrow,
)

from iceberg_datamart.core.columns import Column
from iceberg_datamart.lake.in_process.file_statistics import _text_not_below, statistics_of
from iceberg_datamart.lake.types import iceberg_schema
from support.lakes.local_lake import LocalLake

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pyiceberg.schema import Schema

KINDS = {
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "decimal(5, 2)": st.decimals(-999, 999, places=2),
    "decimal(18, 0)": st.decimals(-(10**17), 10**17, places=0),
    "decimal(38, 9)": st.decimals(-(10**28), 10**28, places=9),
    "date": st.dates(),
    "time": st.times(),
    "timestamp": st.datetimes(),
    "timestamptz": st.datetimes(timezones=st.just(timezone.utc)),
    "string": st.text(max_size=40),
    "binary": st.binary(max_size=40),
    "list<int>": st.lists(st.integers(0, 9), max_size=3),
}
SCHEMA = iceberg_schema([Column(f"c{at}", kind) for at, kind in enumerate(KINDS)], ())
ROW = st.fixed_dictionaries({f"c{at}": st.none() | values for at, values in enumerate(KINDS.values())})


def footer_of(table: pa.Table, group: int = 3) -> Any:
    out = io.BytesIO()
    with pq.ParquetWriter(out, table.schema, store_decimal_as_integer=True) as writer:
        writer.write_table(table, row_group_size=group)
    return pq.read_metadata(io.BytesIO(out.getvalue()))


def of_pyiceberg(footer: Any, schema: Schema, properties: Mapping[str, str]) -> dict[str, Any]:
    plan = compute_statistics_plan(schema, dict(properties))
    return data_file_statistics_from_parquet_metadata(
        footer, plan, parquet_path_to_id_mapping(schema)
    ).to_serialized_dict()


@given(st.lists(ROW, min_size=1, max_size=8))
def test_statistics_are_those_of_pyiceberg(rows: list[dict[str, Any]]) -> None:
    footer = footer_of(pa.Table.from_pylist(rows, schema=schema_to_pyarrow(SCHEMA)))
    properties = {"write.metadata.metrics.column.c2": "counts", "write.metadata.metrics.column.c3": "none"}
    assert statistics_of(footer, SCHEMA, properties) == of_pyiceberg(footer, SCHEMA, properties)


@given(st.text(), st.integers(1, 8))
def test_a_text_that_is_cut_is_not_less_than_the_whole(value: str, length: int) -> None:
    found = _text_not_below(value, length)
    if found is None:
        assert set(value[:length]) == {chr(0x10FFFF)}
    else:
        assert found >= value.encode()
        assert len(found.decode()) <= length


def test_the_last_character_before_the_surrogates_can_be_cut() -> None:
    assert _text_not_below("ab\ud7ffc", 3) == "ab\ue000".encode()
    assert _text_not_below("a" + chr(0x10FFFF) * 3, 3) == b"b"


@pytest.mark.parametrize("long", ["~" * 5000, "", None])
def test_a_group_without_bounds_leaves_the_column_without_any(long: str | None) -> None:
    schema = iceberg_schema([Column("v", "string")], ())
    footer = footer_of(pa.table({"v": ["a", "b", "c", long]}, schema=schema_to_pyarrow(schema)))
    found = statistics_of(footer, schema, {})
    told = {} if long == "~" * 5000 else {1: b"c"}
    assert found["upper_bounds"] == told
    assert found["null_value_counts"] == {1: int(long is None)}


COLUMNS = [Column("id", "long"), *(Column(f"c{at}", kind) for at, kind in enumerate(KINDS))]
# One row each of what is hard: the edges of each type.
LAST = "make_timestamp(9223371331199999999)"
EDGES: dict[str, tuple[str, ...]] = {
    "boolean": ("true", "false"),
    "int": ("-2147483648", "2147483647"),
    "long": ("-9223372036854775808", "9223372036854775807"),
    "float": ("'NaN'", "'-Infinity'", "'-0.0'", "1e-45"),
    "double": ("'NaN'", "'Infinity'", "'-0.0'", "5e-324"),
    "decimal(5, 2)": ("-999.99", "999.99"),
    "decimal(18, 0)": ("-999999999999999999", "999999999999999999"),
    "decimal(38, 9)": ("-99999999999999999999999999999.999999999", "0.000000001"),
    "date": ("'0001-01-01'", "'9999-12-31'", "'294246-12-31'", "'4712-01-01 (BC)'"),
    "time": ("'00:00:00'", "'23:59:59.999999'"),
    "timestamp": ("'0001-01-01 00:00:00.000001'", LAST, "'1969-12-31 23:59:59.999999'"),
    "timestamptz": ("'0001-01-01 00:00:00.000001+00'", "make_timestamptz(9223371331199999999)"),
    "string": (
        "''",
        "E'\\n\\t\\'\"\\\\'",
        "chr(55295) || repeat('x', 20)",
        "repeat('ü', 5000)",
        "chr(1114111)",
    ),
    "binary": ("''", "'\\x00\\xFF'", "repeat('z', 9000)"),
    "list<int>": ("[]", "[1, NULL, 3]", "[NULL]"),
}


def edges(types: Mapping[str, str]) -> str:
    """Return a SELECT of the edges, and of NULL where a type has fewer."""
    rows = []
    for at in range(6):
        values = [
            f"({EDGES[kind][at] if at < len(EDGES[kind]) else 'NULL'})::{types[f'c{place}']} AS c{place}"
            for place, kind in enumerate(KINDS)
        ]
        rows.append(f"SELECT {at}::BIGINT AS id, {', '.join(values)}")
    return " UNION ALL ".join(rows)


def test_every_value_comes_back_as_it_was_given(tmp_path: Path) -> None:
    lake = LocalLake(tmp_path)
    lake.create(columns=COLUMNS)
    types = {row[0]: row[1] for row in lake.fetch(f"DESCRIBE FROM {lake.tables.relation('t')}")}
    select = edges(types)
    lake.connection.execute(f"CREATE TABLE given AS {select}")
    lake.change("SELECT * FROM given")
    lake.change("SELECT id + 10 AS id, * EXCLUDE (id) FROM given", "id = 5")
    differ = "SELECT count(*) FROM (({0}) EXCEPT ALL ({1}))"
    for first, last in ((0, 4), (10, 15)):
        found = f"{lake.tables.relation('t')} WHERE id BETWEEN {first} AND {last}"
        mine = f"SELECT id % 10, * EXCLUDE (id) FROM {found}"
        told = f"SELECT * FROM given WHERE id <= {last % 10}"
        assert lake.fetch(differ.format(mine, told)) == lake.fetch(differ.format(told, mine)) == [(0,)]
    signs = f"SELECT list(signbit(c3)) FROM {lake.tables.relation('t')} WHERE c3 = 0"
    assert lake.fetch(signs) == [([True, True],)]


def test_bounds_hold_every_value_of_the_file(tmp_path: Path) -> None:
    lake = LocalLake(tmp_path)
    lake.create(columns=COLUMNS)
    types = {row[0]: row[1] for row in lake.fetch(f"DESCRIBE FROM {lake.tables.relation('t')}")}
    lake.change(edges(types))
    table = lake.tables.load("t")
    (file,) = lake.tables.files(table, table.current_snapshot()).data
    bounded = {table.schema().find_column_name(key) for key in file.upper_bounds}
    # Of bytes that are longer than 4 KiB PyArrow keeps no bounds; lists have none.
    assert bounded == {"id", *(f"c{at}" for at in range(13))}
    timestamps = table.schema().find_field("c11")
    upper = from_bytes(timestamps.field_type, file.upper_bounds[timestamps.field_id])
    assert upper == 9223371331199999999
    decimals = table.schema().find_field("c7")
    lower = from_bytes(decimals.field_type, file.lower_bounds[decimals.field_id])
    assert lower == Decimal("-99999999999999999999999999999.999999999")


def test_python_has_the_same_values(tmp_path: Path) -> None:
    lake = LocalLake(tmp_path)
    lake.create(
        columns=[Column("id", "long"), Column("d", "date"), Column("t", "time"), Column("z", "timestamptz")]
    )
    lake.change(
        "SELECT 1::BIGINT AS id, '2024-02-29'::DATE AS d, '23:59:59.999999'::TIME AS t, "
        "'1969-12-31 23:59:59.999999+00'::TIMESTAMPTZ AS z"
    )
    early = datetime(1970, 1, 1, tzinfo=timezone.utc) - timedelta(microseconds=1)
    assert lake.rows_of_pyiceberg() == [(1, date(2024, 2, 29), time(23, 59, 59, 999999), early)]
    assert not math.isnan(lake.rows()[0][0])


@pytest.mark.parametrize("kind", ["float", "double"])
def test_nan_is_found_by_every_comparison_that_holds_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("iceberg_datamart.lake.in_process.data_files.ROW_GROUP_ROWS", 2)
    lake = LocalLake(tmp_path)
    lake.create(columns=[Column("id", "long"), Column("x", kind)])
    values = "(VALUES (1, '1'), (2, 'NaN'), (3, '2'), (4, '3'), (5, '-0.0'), (6, NULL)) AS given(id, x)"
    lake.change(f"SELECT id::BIGINT AS id, x::{kind} AS x FROM {values}")
    for where, ids in (
        ("x > 5", [2]),
        ("x >= 3", [2, 4]),
        ("x = 'NaN'", [2]),
        ("x IS NOT DISTINCT FROM 'NaN'", [2]),
        ("x NOT BETWEEN 0 AND 2", [2, 4]),
        ("x <> 1", [2, 3, 4, 5]),
        ("x < 1", [5]),
        ("x = 0", [5]),
        ("x IS NULL", [6]),
    ):
        found = lake.fetch(f"SELECT id FROM {lake.tables.relation('t')} WHERE {where} ORDER BY id")
        assert [row[0] for row in found] == ids, where
        placed = (
            f"{lake.tables.placed(lake.tables.load('t'))} SEMI JOIN (SELECT 'NaN'::{kind} AS key) ON x = key"
        )
        assert lake.fetch(f"SELECT id, _datamart_pos FROM {placed}") == [(2, 1)]


def test_every_value_is_found_by_the_bounds_of_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iceberg_datamart.lake.in_process.data_files.ROW_GROUP_ROWS", 1)
    lake = LocalLake(tmp_path)
    lake.create(columns=COLUMNS)
    types = {row[0]: row[1] for row in lake.fetch(f"DESCRIBE FROM {lake.tables.relation('t')}")}
    lake.change(edges(types))
    for place, kind in enumerate(KINDS):
        for at, value in enumerate(EDGES[kind]):
            literal = f"({value})::{types[f'c{place}']}"
            for comparison in ("=", ">=", "<=", "IS NOT DISTINCT FROM"):
                where = f"c{place} {comparison} {literal} AND id = {at}"
                found = lake.fetch(f"SELECT id FROM {lake.tables.relation('t')} WHERE {where}")
                assert found == [(at,)], (kind, where)
