"""What every catalog's pointers do, those of a SQL catalog and of Glue: read, compare and swap, repair."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from moto import mock_aws
from moto.glue.responses import GlueResponse

from iceberg_datamart.core.settings.model import CatalogConfig
from iceberg_datamart.errors import CommitConflictError, LakeError, MetadataMissingError
from iceberg_datamart.lake.opening import open_catalog
from iceberg_datamart.lake.pointers import Pointer, pointers_of
from iceberg_datamart.lake.repair import PointerRepair
from support.servers.aws_server import version_checked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

ROWS = pa.table({"id": [1, 2]})
DATABASE, TABLE = "datamart", "customer"
REGION = {"glue.region": "eu-central-1", "glue.access-key-id": "x", "glue.secret-access-key": "y"}


@pytest.fixture(params=["sql", "glue"])
def config(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CatalogConfig]:
    """Yield a catalog in a file, or Glue as moto plays it, with one table that was written three times."""
    place: dict[str, Any] = {"type": request.param, "warehouse": tmp_path.as_uri()}
    if request.param == "sql":
        yield filled(CatalogConfig(**place, uri=f"sqlite:///{tmp_path}/catalog.db"))
        return
    monkeypatch.setattr(GlueResponse, "update_table", version_checked(GlueResponse.update_table))
    with mock_aws():
        yield filled(CatalogConfig(**place, properties=REGION))


def filled(config: CatalogConfig) -> CatalogConfig:
    catalog = open_catalog(config)
    catalog.create_namespace(DATABASE)
    table = catalog.create_table((DATABASE, TABLE), schema=ROWS.schema)
    for _ in range(2):
        table.append(ROWS)
    return config


@pytest.fixture
def catalog(config: CatalogConfig) -> Catalog:
    return open_catalog(config)


@pytest.fixture
def table(catalog: Catalog) -> Table:
    return catalog.load_table((DATABASE, TABLE))


def file_of(location: str) -> Path:
    return Path(urlsplit(location).path)


def test_the_pointer_names_the_present_file_and_the_one_before(catalog: Catalog, table: Table) -> None:
    found = pointers_of(catalog, DATABASE).read(TABLE)
    assert found is not None
    assert found.current == table.metadata_location
    assert found.previous == table.metadata.metadata_log[-1].metadata_file


def test_a_table_that_is_not_there_has_no_pointer(catalog: Catalog) -> None:
    assert pointers_of(catalog, DATABASE).read("nobody") is None


def test_a_pointer_is_moved_and_the_table_is_as_it_was_before(catalog: Catalog) -> None:
    pointers = pointers_of(catalog, DATABASE)
    known = pointers.read(TABLE)
    assert known is not None
    assert known.previous is not None
    assert pointers.move(TABLE, known, Pointer(known.previous, None))
    assert catalog.load_table((DATABASE, TABLE)).scan().count() == 2
    catalog.load_table((DATABASE, TABLE)).append(ROWS)
    assert catalog.load_table((DATABASE, TABLE)).scan().count() == 4


def test_a_pointer_that_moved_meanwhile_is_left_alone(catalog: Catalog, table: Table) -> None:
    pointers = pointers_of(catalog, DATABASE)
    known = pointers.read(TABLE)
    assert known is not None
    table.append(ROWS)
    moved = pointers.read(TABLE)
    assert not pointers.move(TABLE, known, Pointer(known.current, None))
    assert pointers.read(TABLE) == moved


def test_a_pointer_to_a_missing_file_is_set_back(config: CatalogConfig, table: Table) -> None:
    missing = table.metadata_location
    file_of(missing).unlink()
    repair = PointerRepair(config, DATABASE)
    assert repair.repaired(TABLE, dry_run=True).outcome == "broken"
    assert repair.repaired(TABLE, dry_run=False).missing == missing
    assert repair.repaired(TABLE, dry_run=False).outcome == "sound"
    assert open_catalog(config).load_table((DATABASE, TABLE)).scan().count() == 2


def test_without_the_file_before_nothing_is_moved(config: CatalogConfig, table: Table) -> None:
    for location in (table.metadata_location, table.metadata.metadata_log[-1].metadata_file):
        file_of(location).unlink()
    with pytest.raises(MetadataMissingError, match="so is the one before it"):
        PointerRepair(config, DATABASE).repaired(TABLE, dry_run=False)


def test_a_pointer_that_moves_while_it_is_repaired_is_a_conflict(
    config: CatalogConfig, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_of(table.metadata_location).unlink()
    repair = PointerRepair(config, DATABASE)
    rival = pointers_of(open_catalog(config), DATABASE)
    moved = type(rival).move

    def overtaken(pointers: Any, name: str, known: Pointer, to: Pointer) -> bool:
        assert moved(rival, name, known, Pointer(known.previous or "", known.current))
        return moved(pointers, name, known, to)

    monkeypatch.setattr(type(rival), "move", overtaken)
    with pytest.raises(CommitConflictError):
        repair.repaired(TABLE, dry_run=False)


def test_pointers_of_another_catalog_are_its_servers_business() -> None:
    with pytest.raises(LakeError, match="its own server alone"):
        pointers_of(object(), DATABASE)  # type: ignore[arg-type]
