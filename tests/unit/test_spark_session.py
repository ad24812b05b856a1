"""What Spark is told of the catalog."""

from __future__ import annotations

import os

import pytest

from iceberg_datamart.core.settings.model import CatalogConfig
from iceberg_datamart.errors import ConfigError
from iceberg_datamart.lake.spark.session import catalog_settings

PREFIX = "spark.sql.catalog.datamart."


def settings_of(uri: str) -> dict[str, str]:
    """Return the settings of a SQL catalog, without their prefix."""
    config = CatalogConfig.model_validate({"type": "sql", "uri": uri, "warehouse": "lake"})
    found = catalog_settings(config)
    return {name.removeprefix(PREFIX): value for name, value in found.items()}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("path", ["catalog.db", "/data/a%20b.db"])
def test_a_sqlite_path_is_passed_on_as_it_is(path: str) -> None:
    assert settings_of(f"sqlite:///{path}")["uri"] == f"jdbc:sqlite:{path}"


def test_user_and_password_go_to_jdbc_beside_the_address_and_decoded() -> None:
    found = settings_of("postgresql+psycopg://lake:p%40ss%2Fword@db:5433/catalog?sslmode=require")
    assert found["uri"] == "jdbc:postgresql://db:5433/catalog?sslmode=require"
    assert (found["jdbc.user"], found["jdbc.password"]) == ("lake", "p@ss/word")


def test_an_address_without_login_sets_none() -> None:
    assert not {"jdbc.user", "jdbc.password"} & set(settings_of("postgresql+psycopg://db/catalog"))


def test_r17_what_the_environment_demands_of_pyiceberg_is_demanded_of_spark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", "/etc/root.pem")
    monkeypatch.setenv("PGHOST", "elsewhere")
    monkeypatch.setenv("PGPORT", "6000")
    demanded = "sslmode=verify-full&sslrootcert=%2Fetc%2Froot.pem"
    assert settings_of("postgresql+psycopg://db/catalog")["uri"] == (
        f"jdbc:postgresql://db:6000/catalog?{demanded}"
    )
    assert settings_of("postgresql+psycopg:///catalog")["uri"].startswith("jdbc:postgresql://elsewhere:6000/")
    own = settings_of("postgresql+psycopg://db:1/catalog?sslmode=require")["uri"]
    assert own.startswith("jdbc:postgresql://db:1/catalog?sslmode=require")
    assert settings_of("sqlite:///catalog.db")["uri"] == "jdbc:sqlite:catalog.db"
    monkeypatch.setenv("PGHOSTADDR", "10.0.0.1")
    with pytest.raises(ConfigError, match="PGHOSTADDR"):
        settings_of("postgresql+psycopg://db/catalog")
