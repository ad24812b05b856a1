"""Files as Spark reads them: each value is the one that was written, or the table fails with its column."""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from pyarrow import orc, parquet

from iceberg_datamart.app.settings_file import Layer, default_config_text, parse_layers
from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.settings.model import TableConfig
from iceberg_datamart.core.source.reads import FilesRead
from iceberg_datamart.core.sql.spark import literal
from iceberg_datamart.errors import DatamartError
from iceberg_datamart.lake.spark.csv_lines import require_whole_lines
from iceberg_datamart.lake.spark.exact import _is_exact, exact_cast
from iceberg_datamart.lake.spark.failures import translating
from iceberg_datamart.lake.spark.files import file_patterns, files_frame
from iceberg_datamart.lake.spark.session import open_session
from iceberg_datamart.lake.spark.types import spark_type
from iceberg_datamart.sources.glue.catalog import GlueTable
from iceberg_datamart.sources.glue.files import _columns
from iceberg_datamart.sources.glue.formats import file_form
from support.worlds.laptop import SMALL_SPARK

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.runtime, pytest.mark.matrix_on("glue-5.1")]

KEY = ("id", "bigint")
AT = ("at", "timestamp")
NAME = ("name", "string")
C, C_LONG = ("c", "timestamp"), ("c", "bigint")
LATIN = {"serialization.encoding": "latin1"}
DASH = {"serialization.null.format": "-"}
NANOSECONDS = 1_772_366_400_123_456_789


@dataclass(frozen=True)
class Case:
    """Files of one table, and the rows that they are as text, or what the error says."""

    kind: str
    columns: tuple[tuple[str, str], ...]
    files: tuple[bytes, ...]
    expected: list[tuple[str | None, ...]] | str
    serde: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    days: tuple[str | None, ...] = ()
    suffix: str = ""


def text(
    kind: str, columns: tuple[tuple[str, str], ...], content: str | bytes, expected: Any, **also: Any
) -> Case:
    return Case(kind, columns, (content.encode() if isinstance(content, str) else content,), expected, **also)


def columnar(kind: str, *tables: pa.Table, **options: Any) -> tuple[bytes, ...]:
    found = []
    for table in tables:
        out = io.BytesIO()
        if kind == "parquet":
            parquet.write_table(table, out, **options)
        else:
            orc.write_table(table, out)
        found.append(out.getvalue())
    return tuple(found)


def typed(kind: pa.DataType, *values: Any) -> pa.Table:
    return pa.table({"id": pa.array(range(1, len(values) + 1), pa.int64()), "c": pa.array(values, kind)})


NOON = datetime(2026, 3, 1, 12)  # noqa: DTZ001  (files have no zone)
# Text, the type that it is to have, and the value as text; None: no such value says the same.
VALUES: list[tuple[str, str, str | None]] = [
    ("0.1234567890123456789", "decimal(22, 19)", "0.1234567890123456789"),
    ("0.0001", "decimal(20, 4)", "0.0001"),
    ("1.5e-3", "decimal(20, 4)", "0.0015"),
    ("1e-05", "decimal(10, 6)", "0.000010"),
    ("1.2E+3", "decimal(10, 2)", "1200.00"),
    ("1.500", "decimal(10, 2)", "1.50"),
    ("0e9", "decimal(10, 2)", "0.00"),
    ("1.005", "decimal(10, 2)", None),
    ("1.5e-3", "decimal(10, 2)", None),
    ("123.45", "decimal(4, 2)", None),
    ("1.5d", "decimal(10, 2)", None),
    ("", "decimal(10, 2)", None),
    ("0.1", "double", "0.1"),
    ("0.12345678901234568", "double", "0.12345678901234568"),
    ("0.10000000000000001", "double", "0.1"),
    ("9007199254740992", "double", "9.007199254740992E15"),
    ("9007199254740993", "double", None),
    ("9007199254740992.5", "double", None),
    ("0.1234567890123456789", "double", None),
    ("1e300", "double", "1.0E300"),
    ("-1.5E-300", "double", "-1.5E-300"),
    ("1e999", "double", None),
    ("1e-999", "double", None),
    ("0.0", "double", "0.0"),
    ("NaN", "double", "NaN"),
    ("-Infinity", "double", "-Infinity"),
    ("1.5f", "double", None),
    ("0.1", "float", "0.1"),
    ("3.1415927", "float", "3.1415927"),
    ("3.14159265", "float", None),
    ("16777216", "float", "1.6777216E7"),
    ("16777217", "float", None),
    ("1e39", "float", None),
    (" 7 ", "long", "7"),
    ("x", "int", None),
    ("1.5", "long", None),
    ("2147483648", "int", None),
    ("9223372036854775808", "long", None),
    ("true", "boolean", "true"),
    ("perhaps", "boolean", None),
    ("2026-03-01 12:00:00.123456000", "timestamptz", "2026-03-01 12:00:00.123456"),
    ("2026-03-01 12:30", "timestamptz", "2026-03-01 12:30:00"),
    ("2026-03-01T12:00:00+02:00", "timestamptz", "2026-03-01 10:00:00"),
    ("2026-03-01 12:00:00 Europe/Berlin", "timestamptz", "2026-03-01 11:00:00"),
    ("2026-03-01", "timestamptz", "2026-03-01 00:00:00"),
    ("2026-03-01 12:00:00.123456789", "timestamptz", None),
    ("12:30", "timestamptz", None),
    ("12:30:15", "timestamptz", None),
    ("2026", "timestamptz", None),
    ("1700000000", "timestamptz", None),
    ("2026-02-30 12:00:00", "timestamptz", None),
    ("now", "timestamptz", None),
    ("2026-03-01 00:00:00", "date", "2026-03-01"),
    ("2026-3-1", "date", "2026-03-01"),
    ("2026-01-01 23:59:59", "date", None),
    ("2026-03", "date", None),
]
WRITTEN = {
    "json": text(
        "json",
        (
            ("id", "string"),
            ("d", "decimal(20,4)"),
            ("l", "array<bigint>"),
            ("n", "array<decimal(20,4)>"),
            NAME,
        ),
        '{"id": 1234567890123456.70, "d": 0.0001, "l": [1, null, 9007199254740993], "name": 1.50}'
        '{"ID": 1234567890123456.71, "n": [0.0001, "7"]}\n\n[{"Id": 3, "d": 1e-4}]\n',
        [
            ("1234567890123456.70", "0.0001", "[1, null, 9007199254740993]", None, "1.50"),
            ("1234567890123456.71", None, None, "[0.0001, 7.0000]", None),
            ("3", "0.0001", None, None, None),
        ],
    ),
    "json latin": text(
        "json", (KEY, NAME), '{"id":1,"name":"Zoë"}\n'.encode("latin-1"), [("1", "Zoë")], serde=LATIN
    ),
    "csv of unix": text(
        "csv",
        (KEY, NAME),
        '1,"a\nb"\n2,"c ""d"""\n3,\n4,5" pipe\n5,\\N\n6,""\n7,NULL\n',
        [
            ("1", "a\nb"),
            ("2", 'c "d"'),
            ("3", None),
            ("4", '5" pipe'),
            ("5", None),
            ("6", None),
            ("7", "NULL"),
        ],
    ),
    "csv of windows": text(
        "csv",
        (NAME, KEY, AT),
        '\ufeffx,1,\r\n"a\r\nb",2,2026-03-01\r\n"c",3,"2026-03-01"\r\n',
        [("x", "1", None), ("a\r\nb", "2", "2026-03-01 00:00:00"), ("c", "3", "2026-03-01 00:00:00")],
    ),
    "csv with a mark and a quote": text("csv", (NAME, KEY), '\ufeff"a,b",1\n', [("a,b", "1")]),
    "csv latin": text(
        "csv",
        (KEY, NAME),
        "1,Zoë\n2,-\n".encode("latin-1"),
        [("1", "Zoë"), ("2", None)],
        serde={**LATIN, **DASH},
    ),
    "csv packed": text("csv", (KEY, NAME), gzip.compress(b'1,"a\nb"\n'), [("1", "a\nb")], suffix=".gz"),
    "csv escaped": text("csv", (KEY, NAME), '1,"a \\"b\\""\n', [("1", 'a "b"')], serde={"escapeChar": "\\"}),
    "csv days": Case(
        "csv",
        (KEY,),
        (b"1\n", b"2\n", b"3\n"),
        [("1", "2026-03-01"), ("2", "2026-03-02"), ("3", None)],
        days=("2026-03-01", "2026-03-02", None),
    ),
    "json days": Case(
        "json",
        (KEY,),
        (b'{"id":1}\n', b'{"id":2}\n'),
        [("1", "2026-03-01"), ("2", None)],
        days=("2026-03-01", None),
    ),
    "orc": Case(
        "orc", (KEY, C), columnar("orc", typed(pa.timestamp("us"), NOON)), [("1", "2026-03-01 12:00:00")]
    ),
    "orc widened": Case(
        "orc",
        (KEY, C_LONG),
        columnar("orc", typed(pa.int32(), 1), typed(pa.int64(), 2)),
        [("1", "1"), ("1", "2")],
    ),
    "parquet widened, spelled twice, with a column that came later": Case(
        "parquet",
        (KEY, C_LONG, ("d", "decimal(12,2)"), ("l", "array<bigint>")),
        columnar(
            "parquet",
            pa.table({"ID": pa.array([1], pa.int32()), "c": [1]}),
            pa.table({"Id": [2], "c": [1 << 40], "d": [Decimal("1.50")]}),
            pa.table({"id": [3], "d": pa.array([Decimal("1.5")], pa.decimal128(10, 1)), "l": [[1]]}),
        ),
        [("1", "1", None, None), ("2", "1099511627776", "1.50", None), ("3", None, "1.50", "[1]")],
    ),
    "parquet days": Case(
        "parquet",
        (KEY,),
        columnar("parquet", pa.table({"id": [1]}), pa.table({"id": [2]})),
        [("1", "2026-03-01"), ("2", "2026-03-02")],
        days=("2026-03-01", "2026-03-02"),
    ),
    "parquet, times in 12 bytes": Case(
        "parquet",
        (KEY, C),
        columnar("parquet", typed(pa.timestamp("us"), NOON, None), use_deprecated_int96_timestamps=True),
        [("1", "2026-03-01 12:00:00"), ("2", None)],
    ),
}
REFUSED = {
    "json garbage": text("json", (KEY,), '{"id":1} garbage\n', "malformed line of JSON"),
    "json not utf-8": text("json", (KEY, NAME), '{"id":1,"name":"Zoë"}\n'.encode("latin-1"), "decode byte"),
    "json fraction": text("json", (KEY,), '{"id":1.5}\n', "column 'id' does not fit long: 1.5"),
    "csv not utf-8": text(
        "csv", (KEY, NAME), "1,Zoë\n".encode("latin-1"), "1 lines with bytes that are none"
    ),
    "csv short": text("csv", (KEY, NAME, AT), "1,a\n", "alformed", settings={"exclude": ["at", "name"]}),
    "csv long": text("csv", (KEY, NAME), "1,a,b\n", "alformed", settings={"exclude": ["name"]}),
    "csv unclosed": text(
        "csv", (KEY, NAME), '1,a\n2,"b\n3,c\n', "is not closed", settings={"exclude": ["name"]}
    ),
    "csv escapes": text("csv", (KEY, NAME), "1,a\\,b\n", "escapes signs", serde={"escape.delim": "\\"}),
    "parquet date of an instant": Case(
        "parquet", (KEY, ("c", "date")), columnar("parquet", typed(pa.timestamp("us"), NOON)), "as timestamp"
    ),
    "parquet nanoseconds": Case(
        "parquet",
        (KEY, C),
        columnar("parquet", typed(pa.timestamp("ns"), NANOSECONDS), use_deprecated_int96_timestamps=True),
        "INT96",
    ),
}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> SparkSession:
    folder = tmp_path_factory.mktemp("files")
    overlay = (
        "version: 1\n"
        f"catalog: {{type: sql, uri: 'sqlite:///{folder}/catalog.db', warehouse: '{folder}'}}\n"
        f"spark: {{properties: {SMALL_SPARK}}}\n"
    )
    layers = [Layer(default_config_text(), "the shipped settings"), Layer(overlay, "the test's")]
    return open_session(parse_layers(layers, {"HOME": "/"}))


def described(case: Case, folder: Path) -> FilesRead:
    """Write a table's files and return how a Glue source would have them read."""
    paths = []
    for number, content in enumerate(case.files):
        path = folder / f"part [{number}] #1?%20{case.suffix}"
        path.write_bytes(content)
        paths.append(f"file://{path}")
    days = (("day", "date"),) if case.days else ()
    found = GlueTable("t", "glue", "", {"classification": case.kind}, case.serde, case.columns, days)
    key = {"source": "s", "from": "t", "primary_key": ["id"]}
    config, form = TableConfig.model_validate({**key, **case.settings}), file_form(found)
    columns = _columns("t", found, config)
    folders: Any = (
        [((day,), (path,)) for day, path in zip(case.days, paths, strict=True)]
        if days
        else [((), tuple(paths))]
    )
    return FilesRead(
        case.kind,
        tuple(folders),
        tuple(name for name, _ in days),
        columns,
        tuple(name for name, _ in case.columns),
        form.options,
        form.encoding,
        form.null,
        form.escape,
    )


def rows_of(session: SparkSession, case: Case, folder: Path) -> list[tuple[str | None, ...]]:
    """Return the rows of a table as text, read as a run reads them: looked at first, then taken."""
    read = described(case, folder)
    with translating(session, "t"):
        if read.format == "csv":
            require_whole_lines(session, read, file_patterns(read))
        frame = files_frame(session, read)
        found = frame.selectExpr(*(f"CAST(`{name}` AS string)" for name in frame.columns)).collect()
    return sorted((tuple(row) for row in found), key=repr)


def test_text_is_cast_to_the_value_that_it_says_or_not_at_all(session: SparkSession) -> None:
    said = [
        f"CAST({exact_cast(literal(value), 'string', Column('c', kind))} AS string)"
        if expected is not None
        else f"CAST(NOT coalesce({_is_exact(literal(value), spark_type(kind))}, false) AS string)"
        for value, kind, expected in VALUES
    ]
    found = session.range(1).selectExpr(*(f"{each} AS c{at}" for at, each in enumerate(said))).collect()[0]
    wanted = [(value, kind, "true" if expected is None else expected) for value, kind, expected in VALUES]
    assert [(value, kind, found[at]) for at, (value, kind, _) in enumerate(VALUES)] == wanted


@pytest.mark.parametrize("name", WRITTEN)
def test_what_was_written_is_read(session: SparkSession, tmp_path: Path, name: str) -> None:
    assert rows_of(session, WRITTEN[name], tmp_path) == sorted(WRITTEN[name].expected, key=repr)


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_another_value_is_refused(session: SparkSession, tmp_path: Path, name: str) -> None:
    with pytest.raises(DatamartError) as refused:
        rows_of(session, REFUSED[name], tmp_path)
    assert REFUSED[name].expected in refused.value.message
    assert not refused.value.retryable


def test_timestamps_of_orc_are_what_was_written_in_any_zone(session: SparkSession, tmp_path: Path) -> None:
    zones: Any = session._jvm.java.util.TimeZone
    before = zones.getDefault()
    zones.setDefault(zones.getTimeZone("Asia/Tokyo"))
    try:
        case = WRITTEN["orc"]
        assert rows_of(session, case, tmp_path) == case.expected
    finally:
        zones.setDefault(before)


def test_many_partitions_of_one_row_are_read_at_once(session: SparkSession, tmp_path: Path) -> None:
    days = [(NOON + timedelta(days=number)).date().isoformat() for number in range(90)]
    files = tuple(f"{number}\n".encode() for number in range(90))
    case = Case("csv", (KEY,), files, [], days=tuple(days))
    found = rows_of(session, case, tmp_path)
    assert found == sorted(((str(number), day) for number, day in enumerate(days)), key=repr)
    plan = files_frame(session, described(case, tmp_path))._jdf.queryExecution().analyzed().toString()
    assert plan.count("Union") == 0, "one frame for all"
