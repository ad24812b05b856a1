"""People's SQL in DuckDB is what Spark says: the value, the type, and whether it overflows."""

from __future__ import annotations

import os
import random
from copy import copy
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from py4j.protocol import Py4JJavaError
from pyarrow import parquet
from pyspark.sql import functions as f
from pyspark.sql.utils import CapturedException

from iceberg_datamart.app.settings_file import Layer, default_config_text, parse_layers
from iceberg_datamart.core.sql.whitelist import reason_outside, translated
from iceberg_datamart.lake.runtime import present_runtime
from iceberg_datamart.lake.spark.analysis import require_row_local
from iceberg_datamart.lake.spark.session import activate, open_session
from iceberg_datamart.lake.spark.types import iceberg_type
from support.oracles.spark_expressions import VALUES, Expressions, columns, rows
from support.worlds.laptop import SMALL_SPARK

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame, SparkSession

KINDS = [kind for kind in VALUES if kind != "timestamp" or present_runtime().zoneless_timestamps]
COLUMNS, ROWS = columns(KINDS), rows(KINDS)
ARROW = {
    "int": pa.int32(),
    "long": pa.int64(),
    "string": pa.string(),
    "boolean": pa.bool_(),
    "double": pa.float64(),
    "float": pa.float32(),
    "date": pa.date32(),
    "timestamptz": pa.timestamp("us", "UTC"),
    "timestamp": pa.timestamp("us"),
    **{
        kind: pa.decimal128(*map(int, kind[8:-1].split(","))) for kind in VALUES if kind.startswith("decimal")
    },
}
# Instants and days as numbers: Python would shift the ones, and has not all of the others.
IN_SPARK = {"timestamptz": "unix_micros({})", "timestamp": "unix_micros(CAST({} AS timestamp))"}
IN_SPARK |= {"date": "unix_date({})"}
IN_DUCKDB = {"timestamptz": "epoch_us({})", "timestamp": "epoch_us({})", "date": "({} - DATE '1970-01-01')"}
BATCHES = int(os.environ.get("WHITELIST_BATCHES", "10"))


class Both:
    """The same rows in both engines."""

    where = "true"

    def __init__(self, session: SparkSession, file: str) -> None:
        self.session = session
        self.rows: DataFrame = session.read.option("datetimeRebaseMode", "CORRECTED").parquet(
            f"file://{file}"
        )
        self.duckdb = duckdb.connect()
        self.duckdb.execute("SET TimeZone = 'Asia/Tokyo'")
        self.duckdb.execute(f"CREATE VIEW t AS SELECT * FROM read_parquet('{file}')")

    def of_rows(self, numbers: list[int]) -> Both:
        """Return the same engines with some of the rows."""
        few, few_rows = copy(self), f"id IN ({', '.join(map(str, numbers)) or 'NULL'})"
        few.rows, few.where = self.rows.where(few_rows), few_rows
        return few

    def in_spark(self, texts: list[str], count: int = 1000) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Return the type of each expression, and its values by row."""
        activate(self.session)
        said = self.rows.select("id", *(f.expr(f"{text}\n AS c{at}") for at, text in enumerate(texts)))
        kinds = [iceberg_type(field.dataType.simpleString()) for field in said.schema.fields[1:]]
        shown = (IN_SPARK.get(kind, "{}").format(f"c{at}") for at, kind in enumerate(kinds))
        found = said.selectExpr("id", *shown).limit(count).collect()
        return kinds, sorted((tuple(row) for row in found), key=lambda row: int(row[0]))

    def in_duckdb(self, texts: list[str], where: str = "") -> list[tuple[Any, ...]]:
        """Return the values of translated expressions by row."""
        found = [translated(text, COLUMNS) for text in texts]
        shown = (IN_DUCKDB.get(each.type, "{}").format(each.sql) for each in found)
        return self.duckdb.execute(
            f"SELECT id, {', '.join(shown)} FROM t WHERE {where or self.where} ORDER BY id"
        ).fetchall()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    folder = tmp_path_factory.mktemp("whitelist")
    overlay = (
        "version: 1\n"
        f"catalog: {{type: sql, uri: 'sqlite:///{folder}/catalog.db', warehouse: '{folder}'}}\n"
        f"spark: {{properties: {SMALL_SPARK}}}\n"
    )
    layers = [Layer(default_config_text(), "the shipped settings"), Layer(overlay, "the test's")]
    schema = pa.schema([("id", pa.int32()), *((name, ARROW[kind]) for name, kind in COLUMNS.items())])
    data = [{"id": at, **row} for at, row in enumerate(ROWS)]
    # Small row groups: engines skip those whose bounds say that no row can pass.
    parquet.write_table(pa.Table.from_pylist(data, schema), f"{folder}/t.parquet", row_group_size=3)
    session = open_session(parse_layers(layers, {"HOME": "/"}))
    if os.environ.get("WHITELIST_CODEGEN"):
        session.conf.set("spark.sql.codegen.wholeStage", "true")
        session.conf.set("spark.sql.codegen.factoryMode", "FALLBACK")
    return Both(session, f"{folder}/t.parquet")


def exact(value: Any) -> str:
    """Return a value as text that tells NaN, -0.0 and the scale of decimals apart."""
    return repr(value)


def compare(both: Both, texts: list[str]) -> None:
    """Fail with the first expression that the engines see differently."""
    said, expected = both.in_spark(texts)
    found = both.in_duckdb(texts)
    for at, text in enumerate(texts):
        translation = translated(text, COLUMNS)
        assert translation.type == said[at], text
        values = [exact(row[at + 1]) for row in expected]
        assert [exact(row[at + 1]) for row in found] == values, (text, translation.sql)
        if translation.type == "boolean":
            passing = [row[0] for row in expected if row[at + 1]]
            assert [row[0] for row in both.in_duckdb(["true"], translation.sql)] == passing, text


def outcome(of: Callable[[list[str]], list[tuple[Any, ...]]], text: str) -> str:
    """Return the values of an expression of integers, or that it overflows."""
    try:
        return repr(of([text]))
    except (duckdb.OutOfRangeException, CapturedException, Py4JJavaError) as error:
        if "overflow" not in str(error).lower():
            raise
        return "overflow"


def compare_sum(both: Both, text: str) -> None:
    """Fail where an expression of integers has another value, or overflows for other rows."""
    numbers = range(len(ROWS))
    over = [row for row in numbers if outcome(both.of_rows([row]).in_duckdb, text) == "overflow"]
    rest = both.of_rows([row for row in numbers if row not in over])
    assert translated(text, COLUMNS).type == both.in_spark([text], count=0)[0][0], text
    assert outcome(rest.in_duckdb, text) == outcome(lambda each: rest.in_spark(each)[1], text), text
    for row in over:
        one = both.of_rows([row])
        assert outcome(lambda each, one=one: one.in_spark(each)[1], text) == "overflow", (text, row)


SUMS = ["i + 1", "i - 1", "i + i", "l - -1", "l + l", "l - i", "-i", "- (l)", "0 - l", "`date` + 2147483647"]


@pytest.mark.parametrize("text", SUMS)
def test_a_sum_of_integers_overflows_for_the_same_rows(both: Both, text: str) -> None:
    compare_sum(both, text)


def test_r21_what_the_whitelist_lets_through_is_row_local(both: Both) -> None:
    draw = Expressions(KINDS, random.Random(7))  # noqa: S311  (no secret)
    texts = [text for text in (draw.any(4) for _ in range(60)) if reason_outside(text, COLUMNS) is None]
    assert len(texts) > 15
    for text in texts:
        require_row_local(both.rows, text, "here")


PASSED = {"drawn": 0, "compared": 0}


@settings(max_examples=BATCHES, phases=[Phase.generate])
@given(st.integers(0, 2**32))
def test_what_the_whitelist_lets_through_is_alike(both: Both, seed: int) -> None:
    draw = Expressions(KINDS, random.Random(seed))  # noqa: S311  (no secret)
    drawn = {draw.any() for _ in range(100)}
    texts = sorted(text for text in drawn if reason_outside(text, COLUMNS) is None)
    sums = [text for text in texts if translated(text, COLUMNS).type in ("int", "long") and {*text} & {*"+-"}]
    PASSED["drawn"] += len(drawn)
    PASSED["compared"] += len(texts)
    compare(both, [text for text in texts if text not in sums])
    for text in sums:
        compare_sum(both, text)
    assert PASSED["compared"] > PASSED["drawn"] / 4, "the whitelist lets too little through to be tested"
