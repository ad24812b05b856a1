"""How PostgreSQL's types travel, as text of expressions; tests/sources runs them on a real server (R10)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.errors import SourceError
from iceberg_datamart.sources.postgres.types import (
    PostgresColumn,
    cursor_kind,
    literal_since_1970,
    number_since_1970,
    wire,
)


def column(type_name: str, name: str = "c", **details: object) -> PostgresColumn:
    return PostgresColumn(name, type_name, not_null=False, **details)  # type: ignore[arg-type]


def numeric(precision: int | None = None, scale: int | None = None) -> PostgresColumn:
    return column("numeric", precision=precision, scale=scale)


def carried(column: PostgresColumn, configured: str | None = None) -> tuple[str, str]:
    """Return the Iceberg type and the text of the expression."""
    found = wire(column, configured)
    assert found is not None
    return found.type, found.expression.as_string(None)


@pytest.mark.parametrize(
    ("type_name", "iceberg_type", "expression"),
    [
        ("int2", "int", '"c"'),
        ("int4", "int", '"c"'),
        ("int8", "long", '"c"'),
        ("float4", "float", '"c"'),
        ("float8", "double", '"c"'),
        ("bool", "boolean", '"c"'),
        ("text", "string", '"c"'),
        ("varchar", "string", '"c"'),
        ("bpchar", "string", 'textin(bpcharout("c"))'),
        ("bytea", "binary", '"c"'),
        ("oid", "long", '"c"::bigint'),
        ("uuid", "string", '"c"::text'),
        ("jsonb", "string", '"c"::text'),
        ("interval", "string", '"c"::text'),
        ("time", "string", '"c"::text'),
        ("a_new_enum", "string", '"c"::text'),
    ],
)
def test_a_type_has_its_stated_mapping(type_name: str, iceberg_type: str, expression: str) -> None:
    assert carried(column(type_name)) == (iceberg_type, expression)


@pytest.mark.parametrize("type_name", ["timestamptz", "timestamp", "date"])
def test_times_travel_as_numbers_so_that_no_zone_can_shift_them(type_name: str) -> None:
    iceberg_type, expression = carried(column(type_name))
    assert iceberg_type == type_name
    assert expression == number_since_1970("c", type_name).as_string(None)
    assert "isfinite" in expression
    assert f"does not fit a column of type {type_name}" in expression


@pytest.mark.parametrize(
    ("element", "dimensions", "iceberg_type", "expression"),
    [
        ("int2", 1, "list<int>", '"c"::int4[]'),
        ("int4", 1, "list<int>", '"c"'),
        ("int8", 1, "list<long>", '"c"'),
        ("float8", 1, "list<double>", '"c"'),
        ("bool", 1, "list<boolean>", '"c"'),
        ("text", 1, "list<string>", '"c"'),
        ("uuid", 1, "list<string>", '"c"::text[]'),
        ("timestamptz", 1, "list<string>", '"c"::text[]'),
        ("numeric", 1, "list<string>", '"c"::text[]'),
        ("int4", 2, "string", 'to_jsonb("c")::text'),
    ],
)
def test_an_array_is_a_list_of_what_its_elements_are(
    element: str, dimensions: int, iceberg_type: str, expression: str
) -> None:
    array = column(f"_{element}", element=element, dimensions=dimensions)
    assert carried(array) == (iceberg_type, expression)


# --- numeric


@pytest.mark.parametrize(("precision", "scale"), [(1, 0), (18, 2), (38, 0), (38, 38)])
def test_a_numeric_that_decimal_can_hold_needs_no_setting(precision: int, scale: int) -> None:
    kind, expression = carried(numeric(precision, scale))
    assert kind == f"decimal({precision}, {scale})"
    assert expression.endswith(f'else "c" end)::numeric({precision}, {scale})')


@pytest.mark.parametrize(("precision", "scale"), [(None, None), (39, 0), (1000, 2), (5, -2), (2, 5)])
def test_r10_a_numeric_that_decimal_cannot_hold_needs_a_setting(
    precision: int | None, scale: int | None
) -> None:
    assert wire(numeric(precision, scale)) is None


@pytest.mark.parametrize("kind", ["numeric", "int2", "int4", "int8"])
def test_r10_a_configured_decimal_neither_rounds_nor_overflows_silently(kind: str) -> None:
    iceberg_type, expression = carried(column(kind), "decimal(10,2)")
    assert iceberg_type == "decimal(10, 2)"
    assert '"c" = round("c", 2)' in expression
    assert 'abs("c") < 100000000)' in expression
    assert "in column ''c'' does not fit decimal(10, 2)" in expression
    assert expression.endswith("::numeric(10, 2)")


def test_a_numeric_of_any_size_may_be_configured_as_text() -> None:
    assert carried(numeric(), "string") == ("string", '"c"::text')


@pytest.mark.parametrize("kind", ["float8", "text", "date", "bool", "uuid"])
def test_a_decimal_that_would_not_hold_the_values_exactly_is_refused(kind: str) -> None:
    with pytest.raises(
        SourceError, match=r"'c' has type .* which decimal\(10,2\) cannot hold exactly"
    ) as caught:
        wire(column(kind), "decimal(10,2)")
    assert "columns.c.type" in caught.value.hint


# --- cursors


@pytest.mark.parametrize(
    ("type_name", "kind"),
    [
        ("timestamptz", CursorKind.TIMESTAMPTZ),
        ("timestamp", CursorKind.TIMESTAMP),
        ("date", CursorKind.DATE),
        ("int2", CursorKind.INTEGER),
        ("int4", CursorKind.INTEGER),
        ("int8", CursorKind.INTEGER),
    ],
)
def test_times_and_integers_make_cursors(type_name: str, kind: CursorKind) -> None:
    assert cursor_kind(column(type_name)) is kind


@pytest.mark.parametrize("type_name", ["text", "uuid", "numeric", "float8", "time", "bool", "_int4"])
def test_a_type_that_does_not_grow_makes_no_cursor(type_name: str) -> None:
    with pytest.raises(SourceError, match=f"'c' has type {type_name}"):
        cursor_kind(column(type_name))


# --- names and values in the text


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1))
def test_a_column_name_never_leaves_its_quotes(name: str) -> None:
    quoted = sql.Identifier(name).as_string(None)
    for kind, configured in [
        ("timestamptz", None),
        ("date", None),
        ("numeric", "decimal(9,2)"),
        ("uuid", None),
    ]:
        _, expression = carried(column(kind, name), configured)
        rest = expression.replace(quoted, "?")
        message = sql.Literal(f" in column '{name}' does not fit ").as_string(None).rstrip("'")
        rest = rest.replace(message, "'?")
        assert re.fullmatch(r"[\w\s?().:,*'\-+=<|]+", rest), rest


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_literal_of_a_time_is_the_same_number_of_microseconds(value: int) -> None:
    text = literal_since_1970("timestamptz", value).as_string(None)
    numbers = re.fullmatch(
        r"\(timestamptz '1970-01-01 00:00:00\+00' \+ +(-?\d+)\S* \* interval '1 second'"
        r" \+ +(\d+)\S* \* interval '1 microsecond'\)",
        text,
    )
    assert numbers is not None, text
    assert int(numbers[1]) * 1_000_000 + int(numbers[2]) == value
    assert 0 <= int(numbers[2]) < 1_000_000


@pytest.mark.parametrize(
    ("type_name", "value", "text"),
    [
        ("date", 20_513, "(date '1970-01-01' + 20513::int)"),
        ("date", -1, "(date '1970-01-01' +  -1::int)"),
        ("integer", 7, "7"),
        ("timestamp", 1, "(timestamp '1970-01-01' + 0 * interval '1 second' + 1 * interval '1 microsecond')"),
    ],
)
def test_a_literal_has_the_type_of_its_cursor(type_name: str, value: int, text: str) -> None:
    assert literal_since_1970(type_name, value).as_string(None) == text
