"""A join is made of columns that the source compares as the mirrors' values compare, or is refused."""

from __future__ import annotations

import pytest

from iceberg_datamart.core.mart.equality import kind_of, require_equality
from iceberg_datamart.core.mart.shape import MirrorShape, mart_shape
from iceberg_datamart.core.settings.model import MartConfig
from iceberg_datamart.errors import LakeError
from iceberg_datamart.sources.postgres.types import PostgresColumn, equality_of


def column(type_name: str, **others: object) -> PostgresColumn:
    return PostgresColumn("c", type_name, not_null=True, **others)  # type: ignore[arg-type]


def refusal(
    kinds: tuple[str | None, str | None], types: tuple[str, str] = ("string", "string")
) -> str | None:
    """Return what is said of a join of two columns."""
    tables = {"a": MirrorShape(("id", "c"), ("id",)), "b": MirrorShape(("c",), ("c",))}
    config = MartConfig.model_validate({"from": "a", "joins": [{"table": "b", "on": ["c"]}]})
    said = {table: {} if kind is None else {"c": kind} for table, kind in zip("ab", kinds, strict=True)}
    held = {table: {"c": kind} for table, kind in zip("ab", types, strict=True)}
    try:
        require_equality(mart_shape("m", config, tables), said, held)
    except LakeError as error:
        return error.message
    return None


def joined(one: PostgresColumn, other: PostgresColumn, *configured: str | None) -> str | None:
    first, second = configured or (None, None)
    return refusal((equality_of(one, first), equality_of(other, second)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (column("int2"), column("int8")),
        (column("oid"), column("oid")),
        (column("float4"), column("float8")),
        (column("text"), column("varchar")),
        (column("bpchar", length=5), column("bpchar", length=5)),
        (column("mood", is_enum=True), column("mood", is_enum=True)),
        *(
            (column(name), column(name))
            for name in ("uuid", "bytea", "date", "timestamptz", "timetz", "inet")
        ),
    ],
)
def test_what_is_equal_by_value_is_joined(one: PostgresColumn, other: PostgresColumn) -> None:
    assert joined(one, other) is None
    assert joined(other, one) is None


@pytest.mark.parametrize(
    "alone",
    [
        column("citext"),
        column("text", is_deterministic=False),
        column("bpchar"),
        *(column(name) for name in ("jsonb", "json", "interval", "numrange", "_int4", "hstore", "point")),
    ],
)
def test_r21_what_is_equal_otherwise_than_by_value_is_refused_with_itself(alone: PostgresColumn) -> None:
    said = joined(alone, alone)
    assert said is not None
    assert "mart 'm' joins 'a.c' = 'b.c'" in said
    assert alone.type_name.replace("bpchar", "char") in said


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (column("int4"), column("varchar")),
        (column("int4"), column("oid")),
        (column("bpchar", length=5), column("bpchar", length=6)),
        (column("bpchar", length=5), column("text")),
        (column("date"), column("timestamp")),
        (column("timestamp"), column("timestamptz")),
        (column("uuid"), column("text")),
        (column("mood", is_enum=True), column("text")),
        (column("int8"), column("float8")),
    ],
)
def test_two_types_are_refused_with_both_names(one: PostgresColumn, other: PostgresColumn) -> None:
    said = joined(one, other)
    assert said is not None
    for each in (one, other):
        assert equality_of(each) in said


def test_what_is_read_as_its_text_is_compared_as_text() -> None:
    for name in ("int8", "uuid", "bpchar", "date"):
        assert joined(column(name), column("text"), "string", None) is None
    assert joined(column("mood", is_enum=True), column("text"), "string", None) is None
    for name in ("numeric", "float8", "citext", "jsonb"):
        assert joined(column(name), column("text"), "string", None) is not None


@pytest.mark.parametrize(
    ("types", "exact"),
    [
        (("int", "decimal(38, 0)"), True),
        (("decimal(10, 2)", "decimal(12, 4)"), True),
        (("long", "decimal(38, 30)"), False),
        (("decimal(38, 0)", "decimal(2, 1)"), False),
    ],
)
def test_numbers_are_joined_where_a_decimal_holds_both(types: tuple[str, str], *, exact: bool) -> None:
    said = refusal((kind_of(types[0]), kind_of(types[1])), types)
    assert (said is None) == exact


def test_a_column_of_which_nothing_is_known_is_refused() -> None:
    assert "run all tables once" in str(refusal(("text", None)))
