"""Which runtime is here, and how columns are held on each."""

from __future__ import annotations

import pytest

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.plan.schema import held_columns
from iceberg_datamart.errors import MissingPartError, SchemaChangeError
from iceberg_datamart.lake.runtime import GLUE_4_0, GLUE_5_1, present_runtime, runtime_of


@pytest.mark.parametrize(("version", "runtime"), [("3.3.0", GLUE_4_0), ("3.5.6", GLUE_5_1)])
def test_spark_tells_the_runtime(version: str, runtime: object) -> None:
    assert runtime_of(version) is runtime


@pytest.mark.parametrize("version", ["3.30.0", "3.4.1", "4.0.0", None])
def test_a_spark_that_nobody_tested_is_refused_with_those_that_are(version: str | None) -> None:
    with pytest.raises(MissingPartError, match=r"3\.3 \(as in glue-4\.0\) or 3\.5 \(as in glue-5\.1\)"):
        runtime_of(version)


def test_the_installed_spark_is_one_of_them() -> None:
    assert present_runtime() in (GLUE_4_0, GLUE_5_1)


@pytest.mark.parametrize(
    ("kind", "present", "zoneless", "held"),
    [
        ("timestamp", None, True, "timestamp"),
        ("timestamp", None, False, "timestamptz"),
        ("timestamp", "timestamp", True, "timestamp"),
        ("timestamp", "timestamptz", True, "timestamptz"),
        ("timestamp", "timestamptz", False, "timestamptz"),
        ("timestamptz", "timestamptz", True, "timestamptz"),
        ("int", "long", True, "long"),
        ("long", "int", True, "long"),
        ("decimal(4, 2)", "decimal(9, 2)", True, "decimal(9, 2)"),
        ("int", "string", True, "int"),
    ],
)
def test_a_column_is_held_in_the_mirrors_wider_type(
    kind: str, present: str | None, zoneless: bool, held: str
) -> None:
    columns = {} if present is None else {"a": present}
    assert held_columns("t", [Column("a", kind)], columns, zoneless=zoneless) == (Column("a", held),)


def test_a_mirror_that_the_engine_cannot_read_is_refused_before_anything_is_written() -> None:
    with pytest.raises(SchemaChangeError, match="column 'b' of the mirror is a timestamp without zone"):
        held_columns("t", [Column("a", "int")], {"a": "int", "b": "timestamp"}, zoneless=False)
