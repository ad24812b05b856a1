"""What Spark is told of the catalog."""

from __future__ import annotations

import pytest

from iceberg_datamart.config import CatalogConfig
from iceberg_datamart.lake.session import catalog_settings

PREFIX = "spark.sql.catalog.datamart."


def settings_of(uri: str) -> dict[str, str]:
    """Return the settings of a SQL catalog, without their prefix."""
    config = CatalogConfig.model_validate({"type": "sql", "uri": uri, "warehouse": "lake"})
    found = catalog_settings(config)
    return {name.removeprefix(PREFIX): value for name, value in found.items()}


@pytest.mark.parametrize("path", ["catalog.db", "/data/a%20b.db"])
def test_a_sqlite_path_is_passed_on_as_it_is(path: str) -> None:
    assert settings_of(f"sqlite:///{path}")["uri"] == f"jdbc:sqlite:{path}"


def test_user_and_password_go_to_jdbc_beside_the_address_and_decoded() -> None:
    found = settings_of("postgresql+psycopg://lake:p%40ss%2Fword@db:5433/catalog?sslmode=require")
    assert found["uri"] == "jdbc:postgresql://db:5433/catalog?sslmode=require"
    assert (found["jdbc.user"], found["jdbc.password"]) == ("lake", "p@ss/word")


def test_an_address_without_login_sets_none() -> None:
    assert not {"jdbc.user", "jdbc.password"} & set(settings_of("postgresql+psycopg://db/catalog"))
