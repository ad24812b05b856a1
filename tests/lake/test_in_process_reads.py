"""What PostgreSQL's COPY brings is what Spark's JDBC reader brings, bit by bit, for every type."""

from __future__ import annotations

import contextlib
import os
import random
import struct
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from iceberg_datamart.app.assemble import open_source
from iceberg_datamart.app.settings_file import load_config
from iceberg_datamart.core.sql.duckdb import DUCKDB
from iceberg_datamart.core.sql.spark import SPARK
from iceberg_datamart.core.state.commit import MirrorState
from iceberg_datamart.core.state.watermark import ReadWindow
from iceberg_datamart.errors import NeedsSparkError, SourceError, SourceUnreachableError
from iceberg_datamart.lake.iceberg import IcebergLake
from iceberg_datamart.lake.in_process import query_read
from iceberg_datamart.lake.in_process.engine import InProcessEngine
from iceberg_datamart.lake.runtime import GLUE_4_0, present_runtime
from iceberg_datamart.lake.spark.engine import SparkEngine
from iceberg_datamart.ports import MirrorMerge
from support.fakes.ports import NOON, FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg

    from iceberg_datamart.core.source.slices import SliceDigest
    from iceberg_datamart.ports import DescribedTable
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

TYPES = Path(__file__).parents[1] / "support" / "schemas" / "thing.sql"
ENGINES = {"by_spark": SparkEngine, "in_process": InProcessEngine}
NAMES = {name: engine.name for name, engine in ENGINES.items()}
WIDER = "id int8 primary key, n int4, f float4, d numeric(10, 2), ns int4[], fs float4[], v text"
# Values at the ends of their types, and texts that a format may take for its own signs.
EXTREMES = r"""
insert into thing (id, whole, big, small, single, precise, price, tiny, words, short, bytes, doc, day,
    local, instant, numbers, longs, fractions, truths, names) values
(1001, 2147483647, 9223372036854775807, 32767, '3.4028235e38', '1.7976931348623157e308', 99999999.9999,
    99999999999999999999999999.999999999999, E'\\.', ' x ', '\x00ff5c2c22',
    '{"a": "\u00e9\\n\"", "b": [1.0, null]}',
    '5874897-12-31', '294247-01-10 04:00:54.775806', '294247-01-10 04:00:54.775806Z', '[-3:-2]={1,2}',
    '{9223372036854775807,-9223372036854775808}', '{1e308,5e-324,Infinity,NaN,NULL,-0}', '{t,f}',
    array['NULL', '{', '}', ',', '"', E'\\', E'\n', E'\x01', 'é🤦', '']),
(1002, -2147483648, -9223372036854775808, -32768, '1e-45', '5e-324', -99999999.9999,
    -99999999999999999999999999.999999999999, 'NULL', '', '', '{}', '4713-01-01 BC', '4713-01-01 00:00:00 BC',
    '4713-01-01 00:00:00Z BC', '{}', '{}', '{}', '{}', '{}'),
(1003, 0, 0, 0, '-0', '-0', 0, 0, E'a,"b"\r\n\t\x01\x7f', null, '\x5c782e', '"x"', '0001-01-01',
    '0001-01-01 00:00:00', '0001-12-31 23:59:59.999999Z BC', null, null, null, null, null),
(1004, 1, 1, 1, 1.1, 1.1, 0.0001, 0.0000001, E'\U0001F926', 'é', '\x', 'null', '9999-12-31',
    '9999-12-31 23:59:59.999999', '10000-01-01 00:00:00Z', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}');
"""


def described(laptop: Laptop, name: str) -> tuple[Any, DescribedTable]:
    """Return a session of the source at its point, and a table of the settings."""
    config = load_config(laptop.file, os.environ)
    session = open_source("prd", config.sources["prd"])
    assert session.lock({name: config.tables[name]}) == {}
    found = session.describe(name, config.tables[name])
    session.pin_snapshot()
    return session, found


@contextlib.contextmanager
def reading(laptop: Laptop) -> Iterator[tuple[InProcessEngine, DescribedTable]]:
    """Yield the engine in process, and the table `thing` as its source has it."""
    laptop.configure({name: {"from": "public.thing"} for name in ENGINES}, {})
    session, table = described(laptop, "in_process")
    engine = InProcessEngine(load_config(laptop.file, os.environ), "run")
    with closing(session):
        yield engine, table
    engine.release()


def load(laptop: Laptop, name: str, full: bool = True) -> None:
    """Load a mirror by the engine that its name says."""
    config = load_config(laptop.file, os.environ)
    session, table = described(laptop, name)
    lake = IcebergLake(config, f"run of {name}", FakeClock()).using(NAMES[name])
    with closing(session), closing(lake):
        base, probe = lake.history(name), table.probe(ReadWindow())
        assert probe is not None
        source = replace(table.facts, columns=lake.held_columns(name, table.facts.columns, base))
        state = MirrorState("run", "full", source.identity, NOON, NOON, None, None)
        read = table.read(ReadWindow())
        merge = MirrorMerge(
            table=name,
            source=source,
            read=read,
            probe=probe,
            base=base,
            full=full,
            state=state,
            max_delete_fraction=1.0,
        )
        assert lake.merge(merge).receipt is not None


def bits(column: pa.ChunkedArray) -> list[Any]:
    """Return the values of a column so that two which differ in a bit differ; Python has no late dates."""
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lists = column.to_pylist()
        form = {pa.float32(): "<f", pa.float64(): "<d"}.get(kind.value_type)
        if form is None:
            return lists
        return [
            None if row is None else [None if v is None else struct.pack(form, v) for v in row]
            for row in lists
        ]
    if pa.types.is_floating(kind):
        form = "<f" if kind == pa.float32() else "<d"
        return [None if value is None else struct.pack(form, value) for value in column.to_pylist()]
    if pa.types.is_timestamp(kind):
        return column.cast(pa.int64()).to_pylist()
    return column.cast(pa.int32()).to_pylist() if pa.types.is_date(kind) else column.to_pylist()


def rows(laptop: Laptop, name: str) -> dict[str, list[Any]]:
    """Return a mirror's columns in the order of its key, without those that say who wrote it."""
    table = laptop.table(name).scan().to_arrow().sort_by("id")
    return {
        field.name: [str(field.field_type), *bits(table.column(field.name))]
        for field in laptop.table(name).schema().fields
        if field.name != "_run_id"
    }


def differing(left: list[Any], right: list[Any]) -> list[Any]:
    """Return the first pairs that differ: pytest takes minutes to compare two long lists."""
    return [pair for pair in zip(left, right, strict=True) if pair[0] != pair[1]][:2]


def floats(seed: int) -> list[tuple[float, float]]:
    """Return floats of random bits, single and double, infinities and NaN among them."""
    source = random.Random(seed)  # noqa: S311  (of values, not of secrets)
    return [
        (
            struct.unpack("<f", source.randbytes(4))[0],
            struct.unpack("<d", source.randbytes(8))[0],
        )
        for _ in range(500)
    ]


@pytest.fixture
def corpus(laptop: Laptop, connection: Connection) -> Laptop:
    text = TYPES.read_text("utf-8").replace(":key", "int8").replace(":value", "n")
    for word, number in {":first": "1", ":second": "2", ":third": "3"}.items():
        text = text.replace(word, number)
    connection.execute(text.encode())
    connection.execute(EXTREMES.encode())
    for number, (single, precise) in enumerate(floats(7), start=2000):
        connection.execute(
            "insert into thing (id, single, precise, fractions) values (%s, %s::float4, %s, %s)",
            [number, single, precise, [precise, single]],
        )
    return laptop.configure({name: {"from": "public.thing"} for name in ENGINES}, {})


def test_both_engines_bring_the_same_bits_of_every_type(corpus: Laptop) -> None:
    for name in ENGINES:
        load(corpus, name)
    by_spark, in_process = (rows(corpus, name) for name in ENGINES)
    assert by_spark.keys() == in_process.keys()
    for name, values in by_spark.items():
        assert differing(values, in_process[name]) == [], name


def test_both_engines_and_the_source_digest_the_same_rows_alike(corpus: Laptop) -> None:
    load(corpus, "in_process")
    config = load_config(corpus.file, os.environ)
    session, table = described(corpus, "in_process")
    with closing(session):
        slicing, by_source = table.digests()
        source = table.facts
    found: list[Mapping[int, SliceDigest]] = [by_source]
    for engine in NAMES.values():
        with closing(IcebergLake(config, "onlooker", FakeClock()).using(engine)) as lake:
            history = lake.history("in_process")
            assert history is not None
            names = [column.name for column in source.columns]
            found.append(dict(lake.digests("in_process", history, names, slicing)))
    assert found[0] == found[1] == found[2]


def test_both_engines_write_the_same_json_of_a_row(corpus: Laptop) -> None:
    load(corpus, "in_process")
    config = load_config(corpus.file, os.environ)
    names = [field.name for field in corpus.table("in_process").schema().fields]
    texts = [name for name in names if name not in {"single", "precise", "fractions"}]
    spark, here = (engine(config, "onlooker") for engine in ENGINES.values())
    found = {}
    for engine, dialect in ((spark, SPARK), (here, DUCKDB)):
        relation = engine.table("in_process")
        # Spark 3.3 writes the smallest decimals with an exponent.
        shown_too = () if present_runtime() is GLUE_4_0 else ("tiny",)
        shown = ", ".join(map(dialect.text, ("day", "local", "instant", "price", "truth", *shown_too)))
        select = f"SELECT id, {dialect.json(texts)}, {shown} FROM {relation}"
        found[dialect] = sorted(engine.fetch(select))
    assert differing(found[DUCKDB], found[SPARK]) == []
    with pytest.raises(NeedsSparkError), here.at_work("in_process"):
        here.fetch(f"SELECT {DUCKDB.json(names)} FROM {here.table('in_process')}")
    whole = "SELECT {} FROM {} WHERE single IN (1.0, -0.0) OR isnan(single)"
    values = [
        engine.fetch(whole.format(d.json(["single"]), engine.table("in_process")))
        for engine, d in ((spark, SPARK), (here, DUCKDB))
    ]
    assert sorted(values[0]) == sorted(values[1]) != []
    here.release()
    spark.release()


def test_a_byte_order_mark_stays_where_it_begins_a_value(
    laptop: Laptop, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.execute("create table thing (id text primary key, v text)")
    for number in range(5):
        connection.execute("insert into thing values (%s, '\ufeff\ufeff')", ["\ufeff" * number + str(number)])
    monkeypatch.setattr(query_read, "_BATCH_BYTES", 1)  # each row is the first of those that are parsed
    laptop.configure({"in_process": {"from": "public.thing"}}, {})
    load(laptop, "in_process")
    held = {(row["id"], row["v"]) for row in laptop.table("in_process").scan().to_arrow().to_pylist()}
    assert held == {*connection.execute("select id, v from thing").fetchall()}


def test_both_engines_widen_what_the_mirror_holds_wider(laptop: Laptop, connection: Connection) -> None:
    wide = WIDER.replace("int4", "int8").replace("float4", "float8").replace("10,", "14,")
    connection.execute(f"create table thing ({wide})".encode())
    laptop.configure({name: {"from": "public.thing"} for name in ENGINES}, {})
    connection.execute("insert into thing values (1, 1, 1, 1, '{1}', '{1}', 'x')")
    for name in ENGINES:
        load(laptop, name)
    connection.execute("drop table thing")
    connection.execute(f"create table thing ({WIDER})".encode())
    connection.execute(
        "insert into thing values (1, 2, 0.1, 0.3, '{2,null}', '{0.1,-0,NaN,null}', ''), "
        "(2, null, null, null, null, null, null)"
    )
    for name in ENGINES:
        load(laptop, name)
    by_spark, in_process = (rows(laptop, name) for name in ENGINES)
    assert by_spark == in_process
    single = struct.unpack("<f", struct.pack("<f", 0.1))[0]
    assert in_process["f"] == ["double", struct.pack("<d", single), None]


def test_the_number_that_is_infinity_in_process_is_left_to_spark(
    laptop: Laptop, connection: Connection
) -> None:
    connection.execute("create table thing (at timestamptz primary key)")
    with reading(laptop) as (engine, table):
        read = table.read(ReadWindow())
        for number, fits in ((2**63 - 2, True), (2**63 - 1, False)):
            one = replace(read, query=f"(select {number}::int8 as c0) as _datamart_q")
            with contextlib.nullcontext() if fits else pytest.raises(NeedsSparkError, match="column 'at'"):
                relation = engine.read(one, table.facts)
                assert engine.fetch(f'SELECT epoch_us("at") FROM {relation}') == [(number,)]


@pytest.mark.parametrize("size", [1, 300, 8 * 1024**2])
def test_a_copy_is_read_to_its_end_or_fails(
    laptop: Laptop, connection: Connection, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("iceberg_datamart.lake.in_process.query_read._BATCH_BYTES", size)
    connection.execute("create table thing (id int8 primary key, v text)")
    with reading(laptop) as (engine, table):
        read = table.read(ReadWindow())
        for rows in (0, 1, 100, 1000):
            many = "(select i::int8 as c0, 'v' || i as c1 from generate_series(1, {}) i) as _datamart_q"
            relation = engine.read(replace(read, query=many.format(rows)), table.facts)
            counted = f"SELECT count(*), count(DISTINCT (id, v)), coalesce(max(id), 0) FROM {relation}"
            assert engine.fetch(counted) == [(rows, rows, rows)]
        for last, error in (
            ("(1 / (1000 - i))::text", SourceError),
            ("pg_terminate_backend(pg_backend_pid())::text", SourceUnreachableError),
        ):
            value = f"case when i < 1000 then 'x' else {last} end"
            failing = f"(select i::int8 as c0, {value} as c1 from generate_series(1, 1000) i) as _datamart_q"
            with pytest.raises(error), engine.at_work("in_process"):
                engine.read(replace(read, query=failing), table.facts)


def test_a_scan_begins_with_a_tables_first_page(laptop: Laptop, connection: Connection) -> None:
    connection.execute("create table thing (id int8 primary key, v text)")
    with reading(laptop) as (engine, table):
        setting = "(select 1::int8 as c0, current_setting('synchronize_seqscans') as c1) as _datamart_q"
        relation = engine.read(replace(table.read(ReadWindow()), query=setting), table.facts)
        assert engine.fetch(f"SELECT v FROM {relation}") == [("off",)]


def test_names_that_differ_in_case_alone_are_left_to_spark(laptop: Laptop, connection: Connection) -> None:
    connection.execute('create table thing (id int8 primary key, v text, "V" text)')
    laptop.configure({name: {"from": "public.thing"} for name in ENGINES}, {})
    connection.execute("insert into thing values (1, 'a', 'b')")
    with pytest.raises(NeedsSparkError, match="'v' and 'V'"):
        load(laptop, "in_process")
