"""R18 at a real PostgreSQL: a key is proven by the server, or nothing is read by it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.settings.model import PostgresSource, TableConfig
from iceberg_datamart.core.source.reads import SharedKeys
from iceberg_datamart.core.state.watermark import ReadWindow, Watermark
from iceberg_datamart.errors import SourceRefusedError
from iceberg_datamart.sources.postgres.session import PostgresSession

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from iceberg_datamart.sources.postgres.table import PostgresTable
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

EVERYTHING = ReadWindow()
AT_NINE = ReadWindow(Watermark(CursorKind.INTEGER, 9))


@contextmanager
def item_at_point(laptop: Laptop, **settings: Any) -> Iterator[PostgresTable]:
    """Yield the table `item` of a session that described it and took its point."""
    session = PostgresSession("prd", PostgresSource(type="postgres", url=laptop.url))
    try:
        config = TableConfig.model_validate({"source": "prd", "from": "public.item", **settings})
        item = session.describe("item", config)
        session.pin_snapshot()
        yield item
    finally:
        session.close()


def rows_of(table: PostgresTable, connection: Connection, window: ReadWindow) -> list[Any]:
    """Return the rows of a read as Spark would get them."""
    found = table.read(window)
    assert found.predicates == ("true",)
    rows = connection.execute(f"select * from {found.relation}").fetchall()
    return sorted(rows)


PROVEN = {
    "plain": ("(id int primary key)", ["id"]),
    "more_columns_than_the_index": ("(id int primary key, v int)", ["id", "v"]),
    "nullable_but_nulls_are_rejected": ("(id int unique, v int)", ["id"]),
    "one_column_nullable": ("(a int not null, b int, unique (a, b))", ["a", "b"]),
    "partitioned": ("(id int primary key) partition by range (id)", ["id"]),
}
NOT_PROVEN = {
    "no_index": ("(id int not null)", ["id"]),
    "one_of_two_columns": ("(a int not null, b int not null, primary key (a, b))", ["a"]),
    "checked_late": ("(id int unique deferrable initially deferred)", ["id"]),
}
INDEXES = {
    "part_of_the_rows": "create unique index on part_of_the_rows (id) where id > 5",
    "an_expression": "create unique index on an_expression (abs(id))",
    "not_unique": "create index on not_unique (id)",
}


def test_r18_a_key_is_proven_by_what_covers_every_row_that_is_read(
    laptop: Laptop, connection: Connection
) -> None:
    for name, (columns, _) in (PROVEN | NOT_PROVEN).items():
        connection.execute(f"create table {name} {columns}")
    for name, statement in INDEXES.items():
        connection.execute(f"create table {name} (id int not null)")
        connection.execute(statement)
    connection.execute("create table parent (id int primary key)")
    connection.execute("create table child () inherits (parent)")
    connection.execute("create view seen as select * from plain")
    connection.execute("create materialized view kept as select * from plain")
    connection.execute("create materialized view kept_unique as select * from plain")
    connection.execute("create unique index on kept_unique (id)")
    keys = {name: key for name, (_, key) in (PROVEN | NOT_PROVEN).items()}
    others = {name: ["id"] for name in (*INDEXES, "parent", "child", "seen", "kept", "kept_unique")}
    session = PostgresSession("prd", PostgresSource(type="postgres", url=laptop.url))
    try:
        proven = {
            name
            for name, key in (keys | others).items()
            if session.describe(
                name,
                TableConfig.model_validate({"source": "prd", "from": f"public.{name}", "primary_key": key}),
            ).facts.key_is_unique
        }
    finally:
        session.close()
    assert proven == {*PROVEN, "kept_unique"}


def test_r18_rows_that_share_a_key_are_counted_with_those_outside_the_window(
    laptop: Laptop, connection: Connection
) -> None:
    connection.execute("create table item (id int, part text, n int)")
    connection.execute(
        "insert into item values (1, 'a', 1), (1, 'a', 9), (2, 'b', 9), (3, 'c', 1), (3, 'c', 2)"
    )
    connection.execute("insert into item values (null, 'a', 9), (null, 'a', 9), (4, 'd', null)")
    settings = {"primary_key": ["id", "part"], "cursor": "n"}
    with item_at_point(laptop, **settings) as item:
        assert item.probe(EVERYTHING).shared == SharedKeys(2, 4, 2, "id=1, part=a")
        assert item.probe(AT_NINE).shared == SharedKeys(1, 2, 1, "id=1, part=a")
        later = ReadWindow(Watermark(CursorKind.INTEGER, 10))
        assert item.probe(later).shared == SharedKeys(), "of NULL keys nothing is read"


def test_r18_children_of_a_parent_share_its_keys(laptop: Laptop, connection: Connection) -> None:
    connection.execute("create table item (id int primary key, n int)")
    connection.execute("create table old_item () inherits (item)")
    connection.execute("insert into item values (1, 1), (2, 9)")
    connection.execute("insert into old_item values (2, 1), (3, 1)")
    with item_at_point(laptop, cursor="n") as item:
        assert item.probe(EVERYTHING).shared == SharedKeys(1, 2, 1, "id=2")
        assert item.probe(AT_NINE).shared == SharedKeys(1, 2, 1, "id=2")


def test_r18_keys_are_compared_as_the_mirror_compares_them(laptop: Laptop, connection: Connection) -> None:
    connection.execute("create table item (name interval, n int)")
    connection.execute("insert into item values ('1 month', 1), ('30 days', 2)")
    with item_at_point(laptop, primary_key=["name"], cursor="n") as item:
        assert item.probe(EVERYTHING).shared == SharedKeys()


def test_r18_the_same_row_of_a_key_stays_in_every_window(laptop: Laptop, connection: Connection) -> None:
    connection.execute("create table item (id int, n int, v numeric)")
    connection.execute(
        "insert into item values (1, 5, 50), (1, null, 99), (2, 9, 1), (2, 9, 2), (2, 3, 7), (3, null, 4), "
        "(3, null, 5), (4, 12, 'NaN'), (4, 11, 8)"
    )
    settings = {
        "primary_key": ["id"],
        "cursor": "n",
        "duplicates": "newest",
        "columns": {"v": {"type": "decimal(10,2)"}},
    }
    with item_at_point(laptop, **settings) as item:
        whole = rows_of(item, connection, EVERYTHING)
        assert [row[0] for row in whole] == [1, 2, 3, 4]
        assert [int(row[2]) for row in whole] == [50, 2, 5, 8], "a NULL cursor beats no other"
        part = rows_of(item, connection, AT_NINE)
        assert part == [row for row in whole if row[0] != 1], "what is not read is what is not newest"
        probe = item.probe(EVERYTHING)
        assert (probe.rows, probe.rejected) == (4, 1)
        assert (probe.shared.keys, probe.shared.dropped) == (3, 4)
        assert item.probe(AT_NINE).rows == 3
        slices = item.digests()[1]
        assert sum(digest.rows for digest in slices.values()) == 4


def test_r18_a_source_that_exports_no_snapshot_is_refused_by_the_functions_name(
    laptop: Laptop, connection: Connection
) -> None:
    connection.execute("create role no_exporter login password 'no_exporter'")
    connection.execute("revoke execute on function pg_export_snapshot() from public")
    url = laptop.url.replace(laptop.url.partition("//")[2].partition("@")[0], "no_exporter:no_exporter")
    session = PostgresSession("prd", PostgresSource(type="postgres", url=url))
    try:
        with pytest.raises(SourceRefusedError, match="pg_export_snapshot") as refused:
            session.pin_snapshot()
    finally:
        session.close()
        connection.execute("drop role no_exporter")
    assert "GRANT EXECUTE" in refused.value.hint
    assert not refused.value.retryable
