"""A catalog in a database: whoever opens it first makes its tables, also where many come first at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.settings.model import CatalogConfig
from iceberg_datamart.lake.catalog import LakeCatalog
from iceberg_datamart.lake.opening import open_catalog

if TYPE_CHECKING:
    from pathlib import Path

    from support.worlds.laptop import Databases

THREADS, ROUNDS = 8, 5


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_r12_runs_that_open_a_new_catalog_at_once_all_open_it(
    databases: Databases, tmp_path: Path, kind: str
) -> None:
    for number in range(ROUNDS):
        url = databases.server.url(databases.new()).replace("postgresql:", "postgresql+psycopg:")
        uri = f"sqlite:///{tmp_path}/{number}.db" if kind == "sqlite" else url
        config = CatalogConfig(type="sql", uri=uri, warehouse=str(tmp_path))
        together = Barrier(THREADS)

        def opened(_: int, config: CatalogConfig = config, together: Barrier = together) -> int:
            together.wait()
            return len(open_catalog(config).list_namespaces())

        with ThreadPoolExecutor(THREADS) as pool:
            assert list(pool.map(opened, range(THREADS))) == [0] * THREADS


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_catalog_that_nobody_made_is_looked_at_without_making_it(
    databases: Databases, tmp_path: Path, kind: str
) -> None:
    name = databases.new()
    url = databases.server.url(name).replace("postgresql:", "postgresql+psycopg:")
    uri = f"sqlite:///{tmp_path}/catalog.db" if kind == "sqlite" else url
    config = CatalogConfig(type="sql", uri=uri, warehouse=str(tmp_path))
    lake = LakeCatalog(config, "datamart")
    assert lake.history("customer") is None
    assert list(tmp_path.iterdir()) == []
    with databases.connected(name) as connection:
        assert (
            connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall() == []
        )
    open_catalog(config).create_namespace("datamart")
    LakeCatalog(config, "datamart").create("customer", [Column("id", "long", nullable=False)], ["id"], {})
    found = lake.history("customer")
    assert found is not None, "what another run made meanwhile is found"
    assert found.key == ("id",)
