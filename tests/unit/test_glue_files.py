"""What the catalog says of files, as columns of a mirror and options of a reader."""

from __future__ import annotations

from typing import Any

import pytest

from iceberg_datamart.config import TableConfig
from iceberg_datamart.errors import SourceError
from iceberg_datamart.sources.glue_catalog import GlueTable
from iceberg_datamart.sources.glue_files import _columns, _options


def found(classification: str = "csv", **parts: Any) -> GlueTable:
    whole: dict[str, Any] = {
        "location": "s3://bucket/t/",
        "parameters": {"classification": classification, **parts.pop("parameters", {})},
        "serde": {},
        "columns": (("id", "bigint"),),
        "partition_columns": (),
        **parts,
    }
    return GlueTable("t", "glue:1/d/t", **whole)


def table(**settings: Any) -> TableConfig:
    return TableConfig.model_validate({"source": "s", "from": "t", "primary_key": ["id"], **settings})


@pytest.mark.parametrize(
    ("hive", "iceberg"),
    [
        ("tinyint", "int"),
        ("smallint", "int"),
        ("int", "int"),
        ("bigint", "long"),
        ("float", "float"),
        ("double", "double"),
        ("boolean", "boolean"),
        ("decimal(18,2)", "decimal(18, 2)"),
        ("string", "string"),
        ("varchar(12)", "string"),
        ("char(3)", "string"),
        ("date", "date"),
        ("timestamp", "timestamptz"),
        ("binary", "binary"),
        ("array<bigint>", "list<long>"),
    ],
)
def test_every_type_has_one_in_the_mirror(hive: str, iceberg: str) -> None:
    columns = _columns("t", found(columns=(("id", "bigint"), ("c", hive))), table())
    assert [(column.name, column.type, column.nullable) for column in columns] == [
        ("id", "long", False),
        ("c", iceberg, True),
    ]


@pytest.mark.parametrize(
    "hive", ["struct<a:int>", "map<string,int>", "array<struct<a:int>>", "uniontype<int>"]
)
def test_a_type_that_no_mirror_holds_is_refused_unless_it_is_excluded_or_text(hive: str) -> None:
    seen = found(columns=(("id", "bigint"), ("c", hive)))
    with pytest.raises(SourceError, match="column 'c'"):
        _columns("t", seen, table())
    assert [column.name for column in _columns("t", seen, table(exclude=["c"]))] == ["id"]
    assert _columns("t", seen, table(columns={"c": {"type": "string"}}))[1].type == "string"


def test_columns_of_partitions_stand_last() -> None:
    seen = found(partition_columns=(("day", "date"),))
    assert [column.name for column in _columns("t", seen, table())] == ["id", "day"]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({}, {"sep": ",", "quote": '"', "escape": '"', "header": "false"}),
        ({"serde": {"field.delim": "|"}}, {"sep": "|"}),
        ({"parameters": {"delimiter": ";"}}, {"sep": ";"}),
        (
            {"serde": {"separatorChar": "\t", "quoteChar": "'", "escapeChar": "\\"}},
            {"sep": "\t", "quote": "'", "escape": "\\"},
        ),
        ({"parameters": {"skip.header.line.count": "1"}}, {"header": "true", "enforceSchema": "true"}),
    ],
)
def test_csv_is_read_as_its_serde_says(parts: dict[str, Any], said: dict[str, str]) -> None:
    options = _options(found(**parts))
    assert options["mode"] == "FAILFAST"
    assert {name: options[name] for name in said} == said
