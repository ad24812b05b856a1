"""R10 at a real PostgreSQL: a value that its column's type does not show keeps its row out, never a table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.settings.model import PostgresSource, TableConfig
from iceberg_datamart.core.source.slices import Slices
from iceberg_datamart.core.state.watermark import ReadWindow, Watermark
from iceberg_datamart.errors import SourceError
from iceberg_datamart.sources.postgres.session import PostgresSession
from support.shops.taken_names import internal_aliases

if TYPE_CHECKING:
    import psycopg

    from iceberg_datamart.sources.postgres.table import PostgresTable
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

ALL = ReadWindow()
# By a table's name: the type of a column, a value that a mirror holds, one that it cannot, and why.
HIDDEN = {
    "matrix": ("int[]", "{1,NULL}", "{{1,2},{3,4}}", "a list of one dimension"),
    "cube": ("bigint[]", "{}", "{{{1}}}", "a list of one dimension"),
    "small_matrix": ("smallint[]", "{1}", "{{1},{2}}", "a list of one dimension"),
    "text_matrix": ("text[]", "{}", "{{a},{b}}", "a list of one dimension"),
    "uuid_matrix": ("uuid[]", "{}", "{{6ecd8c99-4036-403d-bf84-cf8400f67836}}", "a list of one dimension"),
    "domain_matrix": ("row_of_numbers", "{1}", "{{1}}", "a list of one dimension"),
    "far_instant": (
        "timestamptz",
        "294247-01-10 04:00:54.775806Z",
        "294247-01-10 04:00:54.775807Z",
        "a column of type timestamptz",
    ),
    "last_instant": (
        "timestamptz",
        "4714-11-24 00:00:00Z BC",
        "294276-12-31 23:59:59.999999Z",
        "a column of type timestamptz",
    ),
    "far_local": (
        "timestamp",
        "294247-01-10 04:00:54.775806",
        "294247-01-10 04:00:54.775807",
        "a column of type timestamp",
    ),
    "no_instant": ("timestamptz", "10000-01-01Z", "-infinity", "a column of type timestamptz"),
    "no_local": ("timestamp", "0044-03-15 BC", "infinity", "a column of type timestamp"),
    "no_day": ("date", "5874897-12-31", "infinity", "a column of type date"),
    "no_number": ("numeric(8, 2)", "-0.01", "NaN", "decimal(8, 2)"),
    "wide_number": ("numeric", "1.50", "Infinity", "decimal(9, 2)"),
}
ALWAYS_HELD = {
    "json_matrix": ("int[][]", ["{1}", "{{1,2},{3,4}}"]),
    "vector": ("int2vector", ["1 2", ""]),
    "oids": ("oidvector", ["1 2", ""]),
    "first_day": ("date", ["4714-11-24 BC", "0001-01-01"]),
    "double": ("float8", ["NaN", "-Infinity", "5e-324"]),
    "letter": ('"char"', ["a", ""]),
    "span": ("interval", ["178000000 years", "-1 mon +2 days -03:04:05.000006"]),
    "late": ("time", ["24:00:00", "00:00"]),
    "numbers": ("numeric[]", ["{NaN,1.50,NULL}", "{}"]),
    "instants": ("timestamptz[]", ["{infinity,NULL,294276-12-31Z}", "{}"]),
    "ranges": ("tstzrange", ["(-infinity,infinity)", "empty"]),
}


@pytest.fixture
def session(laptop: Laptop) -> Any:
    found = PostgresSession("prd", PostgresSource(type="postgres", url=laptop.url))
    yield found
    found.close()


def described(session: PostgresSession, name: str, **settings: Any) -> PostgresTable:
    return session.describe(
        name, TableConfig.model_validate({"source": "prd", "from": f"public.{name}", **settings})
    )


def selected(connection: Connection, table: PostgresTable, window: ReadWindow = ALL) -> list[Any]:
    """Return the rows of a read as Spark would get them."""
    return connection.execute(f"select * from {table.read(window).relation}").fetchall()


@pytest.mark.parametrize("window", [ALL, ReadWindow(Watermark(CursorKind.INTEGER, 0))])
def test_r10_a_value_that_the_type_does_not_show_keeps_its_row_out_alone(
    session: PostgresSession, connection: Connection, window: ReadWindow
) -> None:
    tables = {}
    connection.execute("create domain row_of_numbers as int[]")
    for name, (kind, fit, unfit, _) in HIDDEN.items():
        connection.execute(f"create table {name} (id int primary key, v {kind}, q text, _datamart_q text)")
        connection.execute(
            f"insert into {name} values (1, '{fit}', 'q', 'secret'), (2, '{unfit}', 'q', 'secret')"
        )
        typed = {"columns": {"v": {"type": "decimal(9, 2)"}}} if kind == "numeric" else {}
        tables[name] = described(session, name, cursor="id", exclude=["_datamart_q"], **typed)
    session.pin_snapshot()
    for name, table in tables.items():
        probe = table.probe(window)
        assert (probe.rows, probe.rejected) == (1, 1), name
        assert [row[0] for row in selected(connection, table, window)] == [1], name
        (kept,) = table.rejected(window)
        assert kept.reason.endswith(f" in column 'v' does not fit {HIDDEN[name][3]}"), name
        assert json.loads(kept.row).keys() == {"id", "v", "q"}, "and no excluded column"
        assert table.unfit_rows() == 1
        assert sum(digest.rows for digest in table.digests()[1].values()) == 1
        assert table.fingerprint(window) is not None


def test_r10_what_a_mirror_holds_as_it_is_is_never_rejected(
    session: PostgresSession, connection: Connection
) -> None:
    tables = {}
    for name, (kind, values) in ALWAYS_HELD.items():
        connection.execute(f"create table {name} (id int primary key, v {kind})")
        for number, value in enumerate(values):
            connection.execute(f"insert into {name} values ({number}, '{value}')")
        tables[name] = described(session, name)
    session.pin_snapshot()
    for name, (_, values) in ALWAYS_HELD.items():
        probe = tables[name].probe(ALL)
        assert (probe.rows, probe.rejected) == (len(values), 0), name
        assert len(selected(connection, tables[name])) == len(values)
        assert sum(digest.rows for digest in tables[name].digests()[1].values()) == len(values)


def test_excluded_columns_may_have_any_name_that_the_statements_use(
    session: PostgresSession, connection: Connection
) -> None:
    names = [*internal_aliases(), "_datamart_place_", "_file", "_run_id"]
    taken = ", ".join(f"{name} json default '0'" for name in names)
    connection.execute(f"create table item (id int, v numeric(9, 2), n int, {taken})")
    connection.execute("insert into item (id, v, n) values (1, 1, 1), (1, 2, 2), (2, 'NaN', 3), (null, 1, 4)")
    settings = {"primary_key": ["id"], "cursor": "n", "duplicates": "newest", "exclude": names}
    item = described(session, "item", soft_delete="_datamart_place::text = '1'", **settings)
    session.pin_snapshot()
    for window in (ALL, ReadWindow(Watermark(CursorKind.INTEGER, 1))):
        probe = item.probe(window)
        assert (probe.rows, probe.rejected, probe.shared.dropped) == (1, 2, 1)
        assert [row[:3] for row in selected(connection, item, window)] == [(1, 2, 2)]
        assert [json.loads(row.row).keys() for row in item.rejected(window)] == [{"id", "v", "n"}] * 2
        assert item.fingerprint(window) is not None
    slicing, found = item.digests()
    assert sum(digest.rows for digest in found.values()) == 1
    read = item.read_slices(Slices(slicing, tuple(found), 1), Watermark(CursorKind.INTEGER, 2))
    assert [row[:3] for row in connection.execute(f"select * from {read.relation}")] == [(1, 2, 2)]
    assert connection.execute(f"select * from {item.rejected_keys().relation}").fetchall() == [(2,)]


def test_r17_a_type_of_somebodys_travels_as_its_text_whatever_its_name_and_casts(
    session: PostgresSession, connection: Connection
) -> None:
    connection.execute(
        "create schema app; create type app.int4 as enum ('01', '1');"
        "create type app.mood as enum ('a', 'b');"
        "create function app.shown(app.mood) returns text language sql immutable as $$ select 'x' $$;"
        "create cast (app.mood as text) with function app.shown(app.mood);"
        "create table t (id app.int4 primary key, v app.mood, w app.mood);"
        "insert into t values ('01', 'a', null), ('1', 'b', 'a');"
        "create table many (id int primary key, v app.mood[])"
    )
    table = described(session, "t", columns={"w": {"type": "string"}})
    with pytest.raises(
        SourceError, match=r"'v' has elements of type app\.mood, which somebody casts to text"
    ):
        described(session, "many")
    session.pin_snapshot()
    found = [row[:3] for row in selected(connection, table)]
    assert found == [("01", "a", None), ("1", "b", "a")]


def test_r18_arrays_that_a_list_does_not_tell_apart_are_no_keys(
    session: PostgresSession, connection: Connection
) -> None:
    connection.execute(
        "create table t (id int[] primary key, v int[]);"
        "insert into t values ('{1,2}', '[0:0]={7}'), ('[0:1]={1,2}', null), ('{}', null)"
    )
    table = described(session, "t")
    session.pin_snapshot()
    found = [row[:2] for row in selected(connection, table)]
    assert sorted(found) == [([], None), ([1, 2], [7])]
    (rejected,) = table.rejected(ALL)
    assert "subscripts do not begin at 1 in key column 'id'" in rejected.reason


def test_r10_a_row_that_is_soft_deleted_goes_whatever_its_values(
    session: PostgresSession, connection: Connection
) -> None:
    connection.execute(
        "create table t (id int primary key, v numeric(9, 2), w int[], gone bool);"
        "insert into t values (1, 'NaN', '{{1}}', true), (2, 'NaN', null, false),"
        "(3, 5, '{1}', true), (4, 6, null, null)"
    )
    table = described(session, "t", soft_delete="gone -- marked")
    session.pin_snapshot()
    found = sorted((row[0], row[1], row[2], row[4]) for row in selected(connection, table))
    assert found == [(1, None, None, True), (3, 5, [1], True), (4, 6, None, False)]
    assert [json.loads(row.row)["id"] for row in table.rejected(ALL)] == [2]
    kept = connection.execute(f"select * from {table.rejected_keys().relation}").fetchall()
    assert kept == [(2,)]


def test_r10_not_null_is_believed_where_it_holds_for_all_that_is_read(
    session: PostgresSession, connection: Connection
) -> None:
    connection.execute(
        "create table parent (id int not null, v int); create table child () inherits (parent);"
        "alter table child alter id drop not null; insert into child values (1, 1), (null, 2);"
        "create domain number as int not null; create table a (k int primary key);"
        "create table b (k int, id number); insert into a values (1), (2); insert into b values (1, 7);"
        "create view joined as select b.id, a.k from a left join b using (k)"
    )
    parent, joined = (described(session, name, primary_key=["id"]) for name in ("parent", "joined"))
    session.pin_snapshot()
    assert [row[0] for row in selected(connection, parent)] == [1]
    assert [row[0] for row in selected(connection, joined)] == [7]
    assert [len(table.rejected(ALL)) for table in (parent, joined)] == [1, 1]
