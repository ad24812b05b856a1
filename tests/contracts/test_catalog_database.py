"""A catalog in a database: whoever opens it first makes its tables, also where many come first at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from iceberg_datamart.core.settings.model import CatalogConfig
from iceberg_datamart.lake.catalog import open_catalog

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
