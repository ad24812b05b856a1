"""Every type that PostgreSQL takes for a key: probed, sliced, read by slices and rejected as any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.settings.model import PostgresSource, TableConfig
from iceberg_datamart.core.source.slices import Slices
from iceberg_datamart.core.sql.bounds import key_ranges
from iceberg_datamart.core.state.watermark import ReadWindow, Watermark
from iceberg_datamart.sources.postgres.session import PostgresSession

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

# Two values of each type, and one that a mirror cannot hold, if there is any.
TYPES: dict[str, tuple[str, str, str | None]] = {
    "bool": ("true", "false", None),
    "int2": ("-32768", "32767", None),
    "int4": ("-2147483648", "2147483647", None),
    "int8": ("-9223372036854775808", "9223372036854775807", None),
    "oid": ("0", "4294967295", None),
    "numeric(38, 2)": ("-999999999999999999999999999999999999.99", "0.01", "NaN"),
    "float4": ("NaN", "-Infinity", None),
    "float8": ("NaN", "5e-324", None),
    "text": ("", "größe", None),
    "varchar": ("a", "b", None),
    "char(3)": ("", "a", None),
    '"char"': ("a", "", None),
    "name": ("a", "b", None),
    "bytea": (r"\x", r"\xff00", None),
    "uuid": ("6ecd8c99-4036-403d-bf84-cf8400f67836", "00000000-0000-0000-0000-000000000000", None),
    "mood": ("sad", "so so", None),
    "code": ("a", "b", None),
    "interval": ("1 mon", "-178000000 years", None),
    "date": ("4714-11-24 BC", "5874897-12-31", "-infinity"),
    "time": ("00:00", "24:00", None),
    "timetz": ("00:00+15:59", "24:00-15:59", None),
    "timestamp": ("4714-11-24 BC", "10000-01-01", "294276-12-31"),
    "timestamptz": ("0044-03-15 12:00Z BC", "294247-01-10 04:00:54.775806Z", "infinity"),
    "inet": ("10.0.0.1/8", "::1", None),
    "cidr": ("10.0.0.0/8", "::/0", None),
    "macaddr": ("08:00:2b:01:02:03", "08:00:2b:01:02:04", None),
    "money": ("-1.5", "92233720368547758.07", None),
    "bit(3)": ("101", "000", None),
    "varbit": ("", "1", None),
    "jsonb": ("null", '{"a": 1.50}', None),
    "int[]": ("{}", "{1,NULL}", "{{1}}"),
    "text[]": ("{}", '{"a,b"}', "{{a}}"),
    "timestamptz[]": ("{infinity}", "{}", None),
    "tsvector": ("", "a b", None),
    "int4range": ("empty", "[1,)", None),
    "pair": ('(1,"")', "(,)", None),
    "pg_lsn": ("0/0", "FFFFFFFF/FFFFFFFF", None),
    "int2vector": ("1 2", "", None),
    "tid": ("(0,1)", "(1,1)", None),
}


@pytest.fixture
def session(laptop: Laptop) -> Iterator[PostgresSession]:
    found = PostgresSession("prd", PostgresSource(type="postgres", url=laptop.url))
    yield found
    found.close()


def test_a_key_of_any_type_is_looked_at_sliced_and_read_as_any_other(
    session: PostgresSession, connection: Connection
) -> None:
    # As the reading connections have it: slices of such keys are told by their text.
    connection.execute("set intervalstyle = 'iso_8601'")
    connection.execute(
        "create type mood as enum ('sad', 'so so'); create domain code as varchar(3);"
        "create type pair as (a int, b text)"
    )
    keyed = []
    for number, (kind, values) in enumerate(TYPES.items()):
        connection.execute(f"create table t{number} (code {kind} primary key, n int)")
        for value in filter(lambda value: value is not None, values):
            connection.execute(f"insert into t{number} values ('{value}', 5)")
        settings = {"source": "prd", "from": f"public.t{number}", "cursor": "n"}
        table = session.describe(f"t{number}", TableConfig.model_validate(settings))
        keyed.append((table, kind, values[2] is not None))
    session.pin_snapshot()
    for table, kind, has_unfit in keyed:
        later = table.probe(ReadWindow(Watermark(CursorKind.INTEGER, 0)))
        assert (later.rows, later.rejected, len(later.keys or ())) == (2, has_unfit, 2), kind
        assert table.facts.key_is_unique, kind
        assert isinstance(key_ranges(table.facts.columns[0], [key[0] for key in later.keys or ()]), list), (
            kind
        )
        slicing, found = table.digests()
        assert sum(digest.rows for digest in found.values()) == 2, kind
        for slice_number in found:
            read = table.read_slices(Slices(slicing, (slice_number,), found[slice_number].rows))
            rows = connection.execute(f"select * from {read.relation}").fetchall()
            assert len(rows) == found[slice_number].rows, kind
        assert connection.execute(f"select * from {table.rejected_keys().relation}").fetchall() == []
        if has_unfit:
            assert len(table.rejected(ReadWindow())) == 1, kind
