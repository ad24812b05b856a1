"""The width of rows at a real PostgreSQL: measured by what looks at them anyway; wide rows come apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.settings.model import PostgresSource, TableConfig
from iceberg_datamart.core.source.slices import Slices
from iceberg_datamart.core.source.widths import WIDE
from iceberg_datamart.core.state.watermark import ReadWindow, Watermark
from iceberg_datamart.sources.postgres.session import PostgresSession

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from iceberg_datamart.sources.postgres.table import PostgresTable
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

MEGABYTE = 2**20
EVERYTHING = ReadWindow()
# What one megabyte of text is, as a value of each type; some are stored in a hundredth of it.
WIDE_VALUES = {
    "text": "repeat('x', 1048576)",
    "varchar": "repeat('x', 1048576)",
    "char(1048576)": "'x'",
    "bytea": "convert_to(repeat('x', 1048576), 'UTF8')",
    "json": "to_json(repeat('x', 1048576))",
    "jsonb": "to_jsonb(repeat('x', 1048576))",
    "text[]": "array[repeat('x', 1048576)]",
    "int[]": "array_fill(10, array[400000])",
    "tsvector": "(select string_agg(lpad(n::text, 20, 'x'), ' ') from generate_series(1, 45000) n)::tsvector",
}


@pytest.fixture
def session(laptop: Laptop) -> Iterator[PostgresSession]:
    found = PostgresSession("prd", PostgresSource(type="postgres", url=laptop.url))
    yield found
    found.close()


def described(session: PostgresSession, name: str) -> PostgresTable:
    settings = {"source": "prd", "from": f"public.{name}", "cursor": "id"}
    return session.describe(name, TableConfig.model_validate(settings))


@pytest.mark.parametrize("window", [EVERYTHING, ReadWindow(Watermark(CursorKind.INTEGER, 0))])
def test_a_value_of_any_type_counts_with_all_its_bytes(
    session: PostgresSession, connection: Connection, window: ReadWindow
) -> None:
    tables = {}
    for number, (kind, value) in enumerate(WIDE_VALUES.items()):
        connection.execute(f"create table t{number} (id int primary key, v {kind})")
        connection.execute(f"insert into t{number} select 1, {value}")
        connection.execute(f"insert into t{number} values (2, null)")
        tables[kind] = described(session, f"t{number}")
    connection.execute("create table narrow (id int primary key, at timestamptz, v numeric(9, 2))")
    connection.execute("insert into narrow values (1, now(), 1)")
    narrow = described(session, "narrow")
    session.pin_snapshot()
    for kind, table in tables.items():
        table.probe(window)
        assert 0.9 * MEGABYTE < table.read(window).widest < 2 * MEGABYTE, kind
        slicing, found = table.digests()
        read = table.read_slices(Slices(slicing, tuple(found), 2))
        assert 0.9 * MEGABYTE < read.widest < 2 * MEGABYTE, kind
        assert read.apart is None, "of few rows it does not matter how many are fetched at a time"
    narrow.probe(window)
    assert narrow.read(window).widest < 100


def test_of_many_rows_the_wide_ones_are_read_apart_and_each_once(
    session: PostgresSession, connection: Connection
) -> None:
    connection.execute("create table t (id int primary key, v text)")
    connection.execute("insert into t select n, 'v' from generate_series(1, 20000) n")
    connection.execute(f"update t set v = repeat('x', {2 * WIDE}) where id in (7, 19999)")
    table = described(session, "t")
    session.pin_snapshot()
    table.probe(EVERYTHING)
    read = table.read(EVERYTHING)
    assert read.widest > 2 * WIDE
    assert read.apart is not None
    counts = [
        connection.execute(f"select count(*) from {read.relation} where {predicate}").fetchall()[0][0]
        for predicate in (*read.predicates, read.apart)
    ]
    assert (sum(counts), counts[-1]) == (20_000, 2)
    slicing, found = table.digests()
    slices = Slices(slicing, tuple(found), 20_000)
    assert table.read_slices(slices).apart is not None
    later = ReadWindow(Watermark(CursorKind.INTEGER, 19_990))
    table.probe(later)
    assert table.read(later).apart is None, "a small window"
