"""How the Iceberg catalog is opened: as it is, or made where it is missing."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pyiceberg.catalog import Catalog, load_catalog
from sqlalchemy import inspect
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from iceberg_datamart.core.settings.address import SQLITE, shown_address
from iceberg_datamart.errors import ConfigError
from iceberg_datamart.lake.answering import answering, while_unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from iceberg_datamart.core.settings.model import CatalogConfig

_ATTEMPTS = 4
# What SQLite and PostgreSQL say of a table that another session made after this one had looked for it.
_MADE_MEANWHILE = "already exists"
# PyIceberg's name of the setting, and of the table that a catalog of type `sql` cannot do without.
_MAKES_TABLES, _TABLE = "init_catalog_tables", "iceberg_tables"


def open_catalog(config: CatalogConfig) -> Catalog:
    """Return the configured catalog; one of type `sql` is made where it is missing.

    Raises: ConfigError, CatalogUnreachableError.
    """
    return _opened(config)


def existing_catalog(config: CatalogConfig) -> Catalog | None:
    """Return the configured catalog; None where one of type `sql` was never made, which it is not by this.

    Raises: as `open_catalog`.
    """
    uri = config.uri or ""
    if config.type != "sql":
        return _opened(config)
    if uri.startswith(SQLITE):
        file = Path(uri.removeprefix(SQLITE))
        # SQLite makes the file of a database that it is asked about; without its folder it says so.
        if file.parent.is_dir() and not file.exists():
            return None
    catalog = _opened(config, {_MAKES_TABLES: "false"})
    return catalog if while_unreachable(_has_tables, catalog, uri) else None


def _has_tables(catalog: Catalog, uri: str) -> bool:
    """Return whether the database of a catalog of type `sql` holds one."""
    engine = cast("Any", catalog).engine
    with _opening(uri), answering(shown_address(uri)):
        found = inspect(engine).has_table(_TABLE)
    if not found:
        engine.dispose()
    return bool(found)


def _opened(config: CatalogConfig, more: Mapping[str, str] | None = None) -> Catalog:
    """Return the catalog, opened with `more` properties, which those of the settings go before."""
    own = {"type": config.type, "warehouse": config.warehouse}
    properties = {**own, **(more or {}), **_s3_of_environment(os.environ), **config.properties}
    if config.uri is not None:
        properties["uri"] = config.uri
    if config.uri is not None and config.uri.startswith(SQLITE):
        # SQLAlchemy 2.1 decodes %-signs in the path and 2.0 does not: let it undo its own quoting.
        path = URL.create("sqlite", database=config.uri.removeprefix(SQLITE))
        properties["uri"] = path.render_as_string(hide_password=False)
    elif config.type == "sql":
        # A connection that was cut while nobody used it is replaced, not handed out.
        properties = {"pool_pre_ping": "true", **properties}
        return while_unreachable(_opened_server, config.name, properties)
    elif config.type == "rest":
        return while_unreachable(_opened_server, config.name, properties)
    with _opening(config.uri or ""):
        return _loaded(config.name, properties)


def _loaded(name: str, properties: Mapping[str, str]) -> Catalog:
    """Return the catalog, whose own tables PyIceberg makes where they are missing.

    Of two that make them at once one fails, and finds them when it looks again.
    """
    made_meanwhile = Retrying(
        retry=retry_if_exception(lambda error: _MADE_MEANWHILE in str(error)),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.05, max=1),
        reraise=True,
    )
    return made_meanwhile(load_catalog, name, **properties)


@contextmanager
def _opening(uri: str) -> Iterator[None]:
    """Turn what SQLAlchemy says of an address into ConfigError, without the login that may stand in it."""
    try:
        yield
    except SQLAlchemyError as error:
        own = str(getattr(error, "orig", None) or error).strip()
        message = f"catalog.uri: {shown_address(uri)} cannot be opened: {(own.splitlines() or [''])[0]}"
        raise ConfigError(message, hint="Create its folder, or correct the address.") from error


def _s3_of_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return where S3 is, as AWS's standard variables say: PyArrow, by which PyIceberg reads, looks at none.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
    """
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    found = {"s3.endpoint": endpoint, "s3.region": region}
    return {name: value for name, value in found.items() if value}


def _opened_server(name: str, properties: Mapping[str, str]) -> Catalog:
    """Return the catalog of a server, which may be starting up."""
    uri = properties["uri"]
    with _opening(uri), answering(shown_address(uri)):
        return _loaded(name, properties)
