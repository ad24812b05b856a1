"""Types as Iceberg, PyIceberg and Spark spell them, and the catalog's settings in Spark."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.types import ListType

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.settings.model import CatalogConfig
from iceberg_datamart.core.sql.changeset import shown
from iceberg_datamart.core.sql.spark import SPARK
from iceberg_datamart.lake.spark.session import catalog_settings
from iceberg_datamart.lake.spark.types import decoded, spark_type
from iceberg_datamart.lake.spark.types import iceberg_type as from_spark
from iceberg_datamart.lake.types import iceberg_schema, iceberg_type, widened_place

plain = st.sampled_from(
    ["int", "long", "float", "double", "boolean", "string", "binary", "date", "timestamp", "timestamptz"]
)
decimals = st.integers(1, 38).flatmap(
    lambda precision: st.integers(0, precision).map(lambda scale: f"decimal({precision}, {scale})")
)
kinds = st.recursive(plain | decimals, lambda inner: inner.map(lambda kind: f"list<{kind}>"), max_leaves=3)


@given(plain | decimals, st.integers(0, 3))
def test_what_widens_in_a_list_is_its_element(kind: str, depth: int) -> None:
    path, found = widened_place(Column("a.b", "list<" * depth + kind + ">" * depth))
    assert (path, str(found)) == (("a.b", *["element"] * depth), kind)


@given(kinds)
def test_every_iceberg_type_is_read_back_from_its_text(kind: str) -> None:
    assert str(iceberg_type(kind, iter(range(10, 20)))) == kind


@given(kinds)
def test_every_iceberg_type_comes_back_from_spark_as_it_was(kind: str) -> None:
    assert from_spark(spark_type(kind).replace(", ", ",")) == kind


@given(kinds)
def test_a_type_without_time_zone_stays_without(kind: str) -> None:
    assert ("timestamp_ntz" in spark_type(kind)) == (kind.replace("list<", "").rstrip(">") == "timestamp")


@given(st.lists(st.booleans() | kinds, min_size=1, max_size=8))
def test_field_ids_are_distinct_within_a_schema(chosen: list[Any]) -> None:
    columns = [Column(f"c{n}", kind) for n, kind in enumerate(chosen) if isinstance(kind, str)]
    schema = iceberg_schema(columns, [])
    ids = [field.field_id for field in schema.fields]
    types = [field.field_type for field in schema.fields]
    while types:
        found = types.pop()
        if isinstance(found, ListType):
            ids.append(found.element_id)
            types.append(found.element_type)
    assert len(set(ids)) == len(ids)


def test_the_key_becomes_the_identifier_fields() -> None:
    columns = [
        Column("a", "long", nullable=False),
        Column("v", "string"),
        Column("b", "date", nullable=False),
    ]
    schema = iceberg_schema(columns, ["b", "a"])
    assert schema.identifier_field_names() == {"a", "b"}
    assert [field.required for field in schema.fields] == [True, False, True]


@pytest.mark.parametrize(
    "column",
    [
        Column("id", "long"),
        *(Column("id", kind, nullable=False) for kind in ("double", "float", "list<int>", "list<string>")),
    ],
)
def test_a_key_that_iceberg_refuses_as_identifier_makes_none(column: Column) -> None:
    assert iceberg_schema([column], ["id"]).identifier_field_names() == set()


@pytest.mark.parametrize(
    ("kind", "expression"),
    [
        ("timestamptz", "timestamp_micros(`c7`) AS `a``b`"),
        ("timestamp", "CAST(timestamp_micros(`c7`) AS timestamp_ntz) AS `a``b`"),
        ("date", "date_from_unix_date(`c7`) AS `a``b`"),
        ("long", "CAST(`c7` AS bigint) AS `a``b`"),
        ("list<long>", "CAST(`c7` AS array<bigint>) AS `a``b`"),
        ("decimal(9, 2)", "CAST(`c7` AS decimal(9, 2)) AS `a``b`"),
    ],
)
def test_a_column_leaves_the_wire_under_its_own_name(kind: str, expression: str) -> None:
    assert decoded(Column("a`b", kind), "c7") == expression


def test_messages_show_times_as_text() -> None:
    kinds = {"a`b": "timestamptz", "b": "date", "c": "list<timestamp>", "d": "list<int>", "e": "binary"}
    times = [f"CAST({name} AS STRING) AS {name}" for name in ("`a``b`", "`b`", "`c`")]
    assert shown(SPARK, [Column(*each) for each in kinds.items()]) == ", ".join([*times, "`d`", "`e`"])


# --- the catalog in Spark


def settings(**changes: Any) -> dict[str, str]:
    catalog = {
        "type": "sql",
        "uri": "sqlite:///state/catalog.db",
        "warehouse": "lake",
        "name": "c",
        **changes,
    }
    found = catalog_settings(CatalogConfig.model_validate(catalog))
    assert found.pop("spark.sql.catalog.c") == "org.apache.iceberg.spark.SparkCatalog"
    return {name.removeprefix("spark.sql.catalog.c."): value for name, value in found.items()}


@pytest.mark.parametrize(
    ("uri", "jdbc"),
    [
        ("sqlite:///state/catalog.db", "jdbc:sqlite:state/catalog.db"),
        ("sqlite:////data/catalog.db", "jdbc:sqlite:/data/catalog.db"),
        ("postgresql://db/catalog", "jdbc:postgresql://db/catalog"),
        ("postgresql+psycopg2://db/catalog", "jdbc:postgresql://db/catalog"),
    ],
)
def test_a_sql_catalogs_address_is_spelled_for_jdbc(uri: str, jdbc: str) -> None:
    assert settings(uri=uri)["uri"] == jdbc


def test_spark_neither_caches_tables_nor_makes_the_catalogs_own() -> None:
    found = settings()
    assert found["cache-enabled"] == "false"
    assert found["jdbc.init-catalog-tables"] == "false"
    assert found["warehouse"] == "lake"


@pytest.mark.parametrize(
    ("kind", "implementation"),
    [
        ("glue", "org.apache.iceberg.aws.glue.GlueCatalog"),
        ("rest", "org.apache.iceberg.rest.RESTCatalog"),
        ("sql", "org.apache.iceberg.jdbc.JdbcCatalog"),
    ],
)
def test_each_kind_of_catalog_has_its_implementation(kind: str, implementation: str) -> None:
    assert settings(type=kind)["catalog-impl"] == implementation


def test_properties_of_the_settings_go_before_the_defaults() -> None:
    found = settings(properties={"cache-enabled": "true", "s3.endpoint": "http://localhost:9000"})
    assert (found["cache-enabled"], found["s3.endpoint"]) == ("true", "http://localhost:9000")
