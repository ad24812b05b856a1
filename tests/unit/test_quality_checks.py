"""Which rows fail a check: the statements, run by another engine, beside the rule said in Python."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.quality.checks import (
    NO_CHECKS,
    Checks,
    CountCheck,
    Findings,
    UniqueCheck,
    checks_of,
    duplicates_sql,
    failing_sql,
    finding,
    tally_sql,
)
from iceberg_datamart.core.quality.predicates import typed_value
from iceberg_datamart.core.settings.checks import CheckConfig
from iceberg_datamart.core.sql.reserved import CHANGE, DELETE, INSERT, UPDATE
from iceberg_datamart.core.sql.spark import SPARK
from iceberg_datamart.errors import ConfigError
from support.oracles.sqlite_engine import SQLITE, Engine

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = (Column("id", "int", nullable=False), Column("a", "int"), Column("b c", "string"))
NAMES = [column.name for column in COLUMNS]
CHANGES = [INSERT, UPDATE, DELETE]
values = st.one_of(st.none(), st.integers(0, 3))
texts = st.one_of(st.none(), st.sampled_from(["", "x", "it's", "a\u00e9"]))
# The key comes once, in the changeset and in the mirror.
changesets = st.dictionaries(
    st.integers(0, 9), st.tuples(values, texts, st.sampled_from(CHANGES)), max_size=9
)
mirrors = st.dictionaries(st.integers(0, 9), st.tuples(values, texts), max_size=9)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    found = Engine()
    yield found
    found.close()


def compiled(*checks: dict[str, Any]) -> Checks:
    return checks_of("tables.t", [CheckConfig.model_validate(check) for check in checks], COLUMNS)


def put(engine: Engine, changes: dict[int, tuple[Any, ...]]) -> str:
    return engine.put("changes", [*NAMES, CHANGE], [(key, *row) for key, row in changes.items()])


RULES: list[tuple[dict[str, Any], Any]] = [
    ({"type": "not_null", "columns": ["a", "b c"]}, lambda a, b: a is not None and b is not None),
    ({"type": "accepted_values", "column": "a", "values": [1, "2"]}, lambda a, _: a in {None, 1, 2}),
    ({"type": "accepted_values", "column": "b c", "values": ["x", ""]}, lambda _, b: b in {None, "x", ""}),
    ({"type": "range", "column": "a", "min": 1, "max": 2}, lambda a, _: a is None or 1 <= a <= 2),
    ({"type": "range", "column": "a", "min": 2}, lambda a, _: a is None or a >= 2),
    ({"type": "range", "column": "a", "max": 0}, lambda a, _: a is None or a <= 0),
    ({"type": "expression", "sql": "a = 1 OR a = 2"}, lambda a, _: a in {None, 1, 2}),
]


@pytest.mark.parametrize(("check", "passes"), RULES, ids=[str(check) for check, _ in RULES])
@given(changes=changesets)
def test_the_failing_rows_are_those_that_the_rule_names(
    engine: Engine, check: dict[str, Any], passes: Any, changes: dict[int, tuple[Any, ...]]
) -> None:
    (compiled_check,) = compiled(check).rows
    text = failing_sql(put(engine, changes), compiled_check.fails(SQLITE))
    found = {row[0] for row in engine.rows(text)}
    expected = {key for key, (a, b, change) in changes.items() if change != DELETE and not passes(a, b)}
    assert found == expected


def test_a_comment_at_the_end_of_an_expression_hides_nothing(engine: Engine) -> None:
    (check,) = compiled({"type": "expression", "sql": "a > id -- a comment"}).rows
    changes = put(engine, {1: (2, None, INSERT), 2: (2, None, INSERT), 3: (None, None, INSERT)})
    assert [row[0] for row in engine.rows(failing_sql(changes, check.fails(SQLITE)))] == [2]


@given(changes=changesets)
def test_one_pass_counts_what_is_kept_what_is_rejected_and_what_then_fails(
    engine: Engine, changes: dict[int, tuple[Any, ...]]
) -> None:
    checks = compiled(
        {"type": "not_null", "columns": ["a"]},
        {"type": "range", "column": "a", "max": 2, "on_fail": "reject"},
        {"type": "accepted_values", "column": "b c", "values": ["x"], "on_fail": "reject"},
    )
    expected: dict[tuple[str, bool], list[int]] = {}
    for a, b, change in changes.values():
        wrong = [change != DELETE and each for each in (a is None, a == 3, b not in {None, "x"})]
        counted = expected.setdefault((change, any(wrong[1:])), [0, 0, 0, 0])
        for index, number in enumerate([1, *wrong]):
            counted[index] += number
    rows = engine.rows(tally_sql(SQLITE, put(engine, changes), checks))
    assert {(row[0], bool(row[1])): list(row[2:]) for row in rows} == expected


@pytest.mark.parametrize("columns", [("a",), ("a", "b c")])
@given(changes=changesets, mirror=mirrors)
def test_a_row_is_not_unique_where_the_table_would_hold_its_values_twice(
    engine: Engine,
    columns: tuple[str, ...],
    changes: dict[int, tuple[Any, ...]],
    mirror: dict[int, tuple[Any, ...]],
) -> None:
    changed = {key: row[:2] for key, row in changes.items() if row[2] != DELETE}
    after = {key: row for key, row in mirror.items() if key not in changes} | changed
    taken = [row[: len(columns)] for row in after.values()]
    expected = {
        key
        for key, row in changed.items()
        if None not in row[: len(columns)] and taken.count(row[: len(columns)]) > 1
    }
    old = engine.put("mirror", NAMES, [(key, *row) for key, row in mirror.items()])
    check = UniqueCheck("u", "error", columns)
    found = [row[0] for row in engine.rows(duplicates_sql(SQLITE, put(engine, changes), old, ["id"], check))]
    assert sorted(found) == sorted(expected)


def test_the_rows_of_a_first_load_are_unique_among_themselves(engine: Engine) -> None:
    changes = put(engine, {1: (1, None, INSERT), 2: (1, None, INSERT), 3: (2, None, INSERT)})
    text = duplicates_sql(SQLITE, changes, None, ["id"], UniqueCheck("u", "error", ("a",)))
    assert sorted(row[0] for row in engine.rows(text)) == [1, 2]


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (0, 1000, None),
        (100, 150, None),
        (100, 151, "check 'n': 100 rows would become 151; max_increase is 0.5"),
        (100, 90, None),
        (100, 89, "check 'n': 100 rows would become 89; max_decrease is 0.1"),
        (100, 100, None),
    ],
)
def test_the_number_of_rows_may_change_by_a_part_of_it(before: int, after: int, says: str | None) -> None:
    assert CountCheck("n", "error", 0.5, 0.1).finding(before, after) == says


def test_a_limit_that_is_not_set_limits_nothing() -> None:
    assert CountCheck("n", "error", None, 0.1).finding(1, 100) is None
    assert CountCheck("n", "error", 0.1, None).finding(100, 1) is None


@pytest.mark.parametrize(
    ("text", "kind", "literal"),
    [
        ("-7", "int", "-7"),
        ("7", "long", "7L"),
        ("0.10", "decimal(5, 2)", "0.10BD"),
        ("1e2", "double", "CAST('100.0' AS double)"),
        ("it's", "string", "'it\\'s'"),
        ("True", "boolean", "true"),
        ("1970-01-03", "date", "date_from_unix_date(2)"),
        ("1970-01-01 01:00:00", "timestamptz", "timestamp_micros(3600000000L)"),
        ("1970-01-01T01:00:00+01:00", "timestamptz", "timestamp_micros(0L)"),
        ("1970-01-01T00:00:00.5Z", "timestamptz", "timestamp_micros(500000L)"),
        ("1970-01-02", "timestamptz", "timestamp_micros(86400000000L)"),
        ("999.994", "decimal(5, 2)", "999.994BD"),
        ("0", "decimal(4, 4)", "0BD"),
        ("1970-01-01T00:00:00Z", "timestamp", "CAST(timestamp_micros(0L) AS timestamp_ntz)"),
    ],
)
def test_a_value_is_read_by_the_type_of_its_column(text: str, kind: str, literal: str) -> None:
    assert SPARK.literal(typed_value("here", text, kind), kind) == literal


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("x", "int"),
        ("1.5", "long"),
        ("2147483648", "int"),
        ("-9223372036854775809", "long"),
        ("1000", "decimal(5, 2)"),
        ("1e400", "decimal(5, 2)"),
        ("20260101", "date"),
        ("2026-W01-1", "date"),
        ("2026-01-01T00", "timestamptz"),
        ("NaN", "decimal(5, 2)"),
        ("x", "decimal(5, 2)"),
        ("yes", "boolean"),
        ("1970-02-30", "date"),
        ("soon", "timestamptz"),
        ("x", "double"),
        ("x", "binary"),
        ("x", "list<int>"),
    ],
)
def test_a_value_that_is_none_of_its_column_is_refused_by_name(text: str, kind: str) -> None:
    with pytest.raises(ConfigError) as caught:
        typed_value("tables.t.checks[0]", text, kind)
    assert caught.value.message == f"tables.t.checks[0]: {text!r} is no value of a column of type {kind}"


@pytest.mark.parametrize("bounds", [(5, 1), ("10", "9")])
def test_a_range_that_no_value_lies_in_is_refused(bounds: tuple[Any, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        compiled({"type": "range", "column": "a", "min": bounds[0], "max": bounds[1]})
    assert caught.value.message == f"tables.t.checks[0]: min is {bounds[0]} and max {bounds[1]}"


@given(number=st.decimals(allow_nan=False, allow_infinity=False, places=4))
def test_no_decimal_is_written_with_an_exponent(number: Decimal) -> None:
    kind = "decimal(38, 4)"
    text = SPARK.literal(typed_value("here", str(number), kind), kind)
    assert "E" not in text
    assert Decimal(text.removesuffix("BD")) == number


@pytest.mark.parametrize(
    "check",
    [
        {"type": "not_null", "columns": ["a", "zz"]},
        {"type": "unique", "columns": ["zz"]},
        {"type": "range", "column": "zz", "min": 1},
    ],
)
def test_a_column_that_is_not_there_is_named_with_those_that_are(check: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        compiled({"type": "not_null", "columns": ["a"]}, check)
    assert caught.value.message == "tables.t.checks[1]: there is no column 'zz'"
    assert caught.value.hint == "Columns are: id, a, b c."


def test_only_checks_of_rows_look_at_rows() -> None:
    assert not NO_CHECKS.look_at_rows
    assert not compiled({"type": "row_count_change", "max_increase": 1}).look_at_rows
    assert compiled({"type": "unique", "columns": ["a"]}).look_at_rows


def test_a_finding_names_the_check_the_number_and_the_first_keys() -> None:
    assert finding("c", 1, [{"a": 1, "b": "x"}]) == "check 'c': 1 row fails it: a=1, b=x"
    assert finding("c", 9, [{"a": 1}, {"a": 2}]) == "check 'c': 9 rows fail it, the first: a=1; a=2"


def test_what_a_check_finds_forbids_the_commit_or_is_said_with_it() -> None:
    found = Findings()
    found.add("error", "e")
    found.add("warn", "w")
    assert (found.errors, found.warnings) == (["e"], ["w"])
