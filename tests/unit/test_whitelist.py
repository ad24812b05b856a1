"""Which of people's SQL another engine may run; `lake/test_whitelist_exactly.py` says that it is the same."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.columns import Column, DecimalSize, decimal_size
from iceberg_datamart.core.mart.shape import MirrorShape, mart_shape
from iceberg_datamart.core.mart.spark_only import spark_only as of_mart
from iceberg_datamart.core.quality.audits import audits_of
from iceberg_datamart.core.quality.checks import checks_of
from iceberg_datamart.core.quality.spark_only import spark_only
from iceberg_datamart.core.settings.audits import AuditConfig
from iceberg_datamart.core.settings.checks import CheckConfig
from iceberg_datamart.core.settings.model import MartConfig
from iceberg_datamart.core.sql.spark import SparkDialect
from iceberg_datamart.core.sql.whitelist import reason_in, reason_outside, translated
from iceberg_datamart.core.sql.widening import common_type, literal_size, sum_type
from iceberg_datamart.errors import NeedsSparkError

COLUMNS = {
    "i": "int",
    "l": "long",
    "amount": "decimal(12, 2)",
    "wide": "decimal(38, 10)",
    "s": "string",
    "b": "boolean",
    "f": "double",
    "f4": "float",
    "d": "date",
    "t": "timestamptz",
    "z": "timestamp",
    "bytes": "binary",
    "tags": "list<string>",
    "Case": "int",
    "it is": "int",
    "same": "int",
    "SAME": "int",
}
# Text, and the type of what it says.
PASS = {
    "i": "int",
    "`it is`": "int",
    "`Case`": "int",
    "'it\\'s \\\\ \\n'": "string",
    "true": "boolean",
    "2147483647": "int",
    "-2147483648": "int",
    "2147483648": "long",
    "7L": "long",
    "9223372036854775808": "decimal(19, 0)",
    "00.50": "decimal(2, 2)",
    "DATE '2024-02-29'": "date",
    "TIMESTAMP '2024-02-29 12:30:00.5'": "timestamptz",
    "i = l": "boolean",
    "i <=> l": "boolean",
    "amount > 1000": "boolean",
    "amount <> wide": "boolean",
    "s >= 'a'": "boolean",
    "d < date '2024-02-29'": "boolean",
    "NOT b OR i = 1 AND s IS NOT NULL": "boolean",
    "tags IS NULL": "boolean",
    "f IS NOT NULL": "boolean",
    "i IN (1, 2, NULL)": "boolean",
    "i NOT IN (l)": "boolean",
    "s LIKE 'a_%'": "boolean",
    "s not like '%'": "boolean",
    "amount BETWEEN 0 AND 9.99": "boolean",
    "CASE WHEN b THEN amount ELSE 0 END": "decimal(12, 2)",
    "CASE i WHEN 1 THEN 'one' WHEN 2 THEN 'two' END": "string",
    "CASE WHEN b THEN f END": "double",
    "coalesce(i, l, 0)": "long",
    "nullif(s, '')": "string",
    "i + 1": "int",
    "i - l": "long",
    "-i": "int",
    "amount + amount": "decimal(13, 2)",
    "amount - 1": "decimal(13, 2)",
    "amount + i": "decimal(13, 2)",
    "-amount + 0.001": "decimal(14, 3)",
    "i -- one\n = 1 /* or not */": "boolean",
    "((i) = (1))": "boolean",
}
# Text, and what in it is named.
OUTSIDE = {
    "length(s)": "`length(…)`",
    "upper(s)": "`upper(…)`",
    "rand()": "`rand(…)`",
    "now()": "`now(…)`",
    "current_date": "`current_date`",
    "count(*)": "`*`",
    "CAST(i AS string)": "`CAST(…)`",
    "i::string": "`::`",
    "amount / 2": "`/`",
    "amount * 2": "`*`",
    "i % 2": "`%`",
    "i DIV 2": "`DIV`",
    "s || 'a'": "`||`",
    "s RLIKE 'a'": "`RLIKE`",
    "s ILIKE 'a'": "`ILIKE`",
    "s LIKE 'a' ESCAPE '!'": "`ESCAPE`",
    "s LIKE s": "LIKE with an escape",
    "s LIKE '\\\\_'": "LIKE with an escape",
    "i LIKE '1'": "LIKE with an escape",
    's = "a"': '`"`',
    "'it''s'": "`'s'`",
    "'\\u0041'": "`\\u` in a text",
    "r'a'": "`'a'`",
    "X'1F'": "`'1F'`",
    "1e3": "`1e3`",
    "1.": "`1.`",
    "1S": "`1S`",
    "9223372036854775808L": "the number 9223372036854775808",
    "123456789012345678901234567890123456789": "the number",
    "DATE '2023-02-29'": "the literal '2023-02-29'",
    "DATE '2024-2-9'": "the literal",
    "TIMESTAMP '2024-02-29'": "the literal",
    "TIMESTAMP '2024-02-29 00:00:00Z'": "the literal",
    "INTERVAL 1 DAY": "`INTERVAL`",
    "f > 0": "a comparison of double",
    "f = f": "a comparison of double",
    "f4 IN (f4)": "a comparison of float",
    "i < 1.5": "a comparison of int with decimal(2, 1)",
    "9223372036854775808 >= l": "a comparison of decimal(19, 0) with long",
    "s = 1": "a comparison of string with int",
    "d = '2024-02-29'": "a comparison of date with string",
    "t = z": "a comparison of timestamptz with timestamp",
    "bytes = bytes": "a value of type binary",
    "bytes": "a value of type binary",
    "tags[0]": "`[`",
    "s.x": "`.`",
    "NULL": "always NULL",
    "i <=> NULL": "a comparison of int with null",
    "NULL = NULL": "a comparison of null with null",
    "CASE WHEN NULL THEN 1 END": "a condition that is NULL",
    "CASE WHEN i THEN 1 END": "a condition of type int",
    "i AND b": "a condition of type int",
    "coalesce(i, s)": "one value of int or string",
    "i + 1 > 0": "a sum of integers within",
    "i + 1 + 1": "a sum of more than two integers",
    "1 + 1": "of literals",
    "f + f": "`+` of double and double",
    "d + 1": "`+` of date and int",
    "wide + wide": "`+` of decimal(38, 10) and decimal(38, 10)",
    "+s": "`+` before string",
    "i < l = b": "a comparison of a comparison",
    "i = 1 IS NULL IS NULL": "`IS`",
    "i IS TRUE": "`TRUE`",
    "i = (SELECT 1)": "`SELECT`",
    "EXISTS (SELECT 1)": "`EXISTS(…)`",
    "(i, l) = (1, 2)": "`,`",
    "unknown = 1": "the name `unknown`, which no column has,",
    "I = 1": "the name `I`, which no column has,",
    "same": "by case alone",
    "end": "`end`",
    "i = 1 /*+ hint */": "`/*+`",
    "i = 1 -- \\\n": "`--`",
    "i --1\\": "`--`",
    "i = ?": "`?`",
    "i =": "ends too soon",
    "": "ends too soon",
    "i = 1; DROP TABLE t": "`;`",
    "(" * 100 + "i" + ")" * 100: "levels",
    " OR ".join(["b"] * 2000): "words and signs",
}


@pytest.mark.parametrize("text", PASS)
def test_what_passes_has_sparks_type(text: str) -> None:
    assert translated(text, COLUMNS).type == PASS[text]


@pytest.mark.parametrize("text", PASS)
def test_what_passes_is_sql_of_duckdb(text: str) -> None:
    names = {"binary": "BLOB", "list<string>": "VARCHAR[]", "string": "VARCHAR", "long": "BIGINT"}
    kinds = {name: names.get(kind, kind.upper()) for name, kind in COLUMNS.items() if name != "SAME"}
    columns = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in kinds.items())
    duckdb.connect().execute(f"SELECT {translated(text, COLUMNS).sql} FROM (SELECT {columns})")


@pytest.mark.parametrize("text", OUTSIDE)
def test_what_does_not_pass_is_named(text: str) -> None:
    reason = reason_outside(text, COLUMNS)
    assert reason is not None
    assert OUTSIDE[text] in reason
    assert reason.endswith("is left to Spark")


@given(st.text(alphabet="ilbs '\\\"`()=<>+-.,/*0123NOTANDORINLIKECASEWHENTHENEND\n%_"))
def test_any_text_is_translated_or_refused(text: str) -> None:
    reason = reason_outside(text, COLUMNS)
    assert reason is None or reason.endswith("is left to Spark")
    assert reason is not None or translated(text, COLUMNS).sql.startswith("CAST(")


@given(st.text())
def test_a_text_stays_the_text_that_it_is(text: str) -> None:
    literal = "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if "\0" in text:
        assert "zero byte" in (reason_outside(literal, {}) or "")
    else:
        assert duckdb.execute(f"SELECT {translated(literal, {}).sql}").fetchall() == [(text,)]


def test_a_predicate_is_boolean() -> None:
    assert reason_outside("b", COLUMNS, is_predicate=True) is None
    assert reason_outside("i", COLUMNS, is_predicate=True) == "a predicate of type int"


@pytest.mark.parametrize(
    ("digits", "size"),
    [("0", (1, 0)), ("0.0", (1, 1)), ("00.50", (2, 2)), ("-0.05", (2, 2)), ("1.50", (3, 2)), ("100", (3, 0))],
)
def test_a_number_has_the_digits_that_count(digits: str, size: tuple[int, int]) -> None:
    assert literal_size(digits) == size


def test_types_are_widened_as_far_as_no_digit_is_lost() -> None:
    assert common_type(["null", "int", "decimal(12, 2)", "long"]) == "decimal(22, 2)"
    assert common_type(["decimal(38, 10)", "decimal(38, 0)"]) is None
    assert common_type(["date", "timestamptz"]) is None
    assert sum_type(DecimalSize(38, 0), DecimalSize(1, 0)) is None
    assert sum_type(DecimalSize(37, 2), DecimalSize(1, 0)) == "decimal(38, 2)"
    assert decimal_size("decimal(38, 2)") is not None


CHECK = {"type": "expression", "on_fail": "error"}


def check(sql: str) -> CheckConfig:
    return CheckConfig.model_validate({**CHECK, "sql": sql})


def test_checks_and_audits_say_which_of_them_needs_spark() -> None:
    columns = [Column(name, kind) for name, kind in COLUMNS.items()]
    plain = [check("i > 0"), CheckConfig.model_validate({"type": "not_null", "columns": ["i"]})]
    count = AuditConfig.model_validate({"type": "row_count", "min": 1})
    select = AuditConfig.model_validate({"type": "sql", "sql": "SELECT 1"})
    assert spark_only("tables.a", plain, [count], columns) is None
    said = spark_only("tables.a", [*plain, check("length(s) > 1")], [], columns)
    assert said == "tables.a.checks[2].sql: `length(…)` is left to Spark"
    assert (
        spark_only("tables.a", [check("i")], [], columns) == "tables.a.checks[0].sql: a predicate of type int"
    )
    said = spark_only("tables.a", plain, [count, select], columns)
    assert said == "tables.a.audits[1].sql: a SELECT is left to Spark"


ONE, TWO = (MirrorShape((name, "amount"), (name,), ("long", "decimal(12, 2)")) for name in ("id", "other"))


def reason_of_mart(mirrors: dict[str, MirrorShape] | None = None, **settings: Any) -> str | None:
    joins = [{"table": "two", "on": {"id": "other"}}]
    config = MartConfig.model_validate({"from": "one", "joins": joins, **settings})
    return of_mart(config, mart_shape("m", config, mirrors or {"one": ONE, "two": TWO}))


def test_a_mart_says_what_of_it_needs_spark() -> None:
    large: dict[str, Any] = {"expressions": {"is_large": "one_amount + two_amount > 1000"}}
    assert reason_of_mart(**large, filter="id > 0", checks=[{**CHECK, "sql": "NOT is_large"}]) is None
    said = reason_of_mart(expressions={"half": "one_amount / 2"})
    assert said == "marts.m.expressions.half: `/` is left to Spark"
    assert reason_of_mart(filter="abs(id) > 0") == "marts.m.filter: `abs(…)` is left to Spark"
    assert reason_of_mart(filter="id") == "marts.m.filter: a predicate of type long"
    said = reason_of_mart(**large, checks=[{**CHECK, "sql": "is_large = 1"}])
    assert said == "marts.m.checks[0].sql: a comparison of boolean with int is left to Spark"


def test_of_columns_whose_types_are_not_known_nothing_passes() -> None:
    untyped = {"one": MirrorShape(("id",), ("id",)), "two": MirrorShape(("other",), ("other",))}
    assert reason_of_mart(untyped) is None
    said = reason_of_mart(untyped, filter="id > 0")
    assert said == "marts.m.filter: the name `id`, which no column has, is left to Spark"


class Translating(SparkDialect):
    """Spark's dialect, but for people's SQL."""

    def expression(self, text: str, columns: Any) -> str:
        return translated(text, columns).sql


def test_a_dialect_is_given_peoples_sql_with_the_types_of_its_columns() -> None:
    dialect = Translating()
    columns = [Column("i", "int")]
    (row,) = checks_of("tables.a", [check("i > 0 -- or more")], columns).rows
    assert row.passes.sql(dialect) == "(\n" + translated("i > 0", {"i": "int"}).sql + "\n)"
    (audit,) = audits_of("tables.a", [AuditConfig.model_validate({"type": "sql", "sql": "SELECT 1"})], (), ())
    with pytest.raises(NeedsSparkError):
        audit.failing_sql(dialect, {})  # type: ignore[union-attr]
    config = {"from": "one", "joins": [{"table": "two", "on": {"id": "other"}}]}
    people = {"filter": "id > 0", "expressions": {"more": "one_amount + 1"}}
    shape = mart_shape("m", MartConfig.model_validate({**config, **people}), {"one": ONE, "two": TWO})
    sql = shape.join_sql(dialect, {"one": "one", "two": "two"})
    assert translated("one_amount + 1", shape.types).sql + " AS `more`" in sql
    assert sql.endswith(" WHERE " + translated("id > 0", shape.types).sql)


def test_what_changes_the_meaning_of_sparks_sql_is_named() -> None:
    assert reason_in(["spark.driver.memory", "spark.sql.shuffle.partitions"]) is None
    said = reason_in(["spark.sql.timestampType"])
    assert said == "spark.properties.spark.sql.timestampType: what it makes of SQL is left to Spark"


def test_no_engine_is_needed_to_decide() -> None:
    script = (
        "import sys; from iceberg_datamart.core.mart import spark_only; "
        "print({name.split('.')[0] for name in sys.modules} & {'duckdb', 'pyspark', 'pyarrow', 'sqlglot'})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
