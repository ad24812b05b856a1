"""The shop of `shop.py` behind the Glue Data Catalog: crawled tables and the connection they came through."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from support.shops.shop import open_shop

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.servers.aws_server import AwsServer
    from support.worlds.laptop import Laptop

DATABASE = "account_metadata_datamart"
_NUMBERS = count(1)


def connect(aws: AwsServer, url: str, **properties: str | None) -> str:
    """Make a Glue connection to PostgreSQL's `url`, and return its name; a property None is left out."""
    place, name = urlsplit(url), f"connection-{next(_NUMBERS)}"
    found = {
        "JDBC_CONNECTION_URL": f"jdbc:postgresql://{place.hostname}:{place.port}{place.path}",
        "JDBC_ENFORCE_SSL": "false",
        "USERNAME": unquote(place.username or ""),
        "PASSWORD": unquote(place.password or ""),
        **properties,
    }
    described = {
        "Name": name,
        "ConnectionType": "JDBC",
        "ConnectionProperties": {key: value for key, value in found.items() if value is not None},
    }
    aws.client("glue").create_connection(ConnectionInput=described)
    return name


def crawl(aws: AwsServer, url: str, table: str, connection: str | None, **parameters: str) -> str:
    """Put a table of PostgreSQL into the catalog as a crawler does; return its name there."""
    glue, name = aws.client("glue"), f"{DATABASE}_public_{table}"
    with suppress(glue.exceptions.AlreadyExistsException):
        glue.create_database(DatabaseInput={"Name": DATABASE})
    with suppress(glue.exceptions.EntityNotFoundException):
        glue.delete_table(DatabaseName=DATABASE, Name=name)
    crawled = {"classification": "postgresql", "typeOfData": "table", "compressionType": "none"}
    if connection is not None:
        crawled["connectionName"] = connection
    glue.create_table(
        DatabaseName=DATABASE,
        TableInput={
            "Name": name,
            "TableType": "EXTERNAL_TABLE",
            "Parameters": {**crawled, **parameters},
            "StorageDescriptor": {
                # What a crawler saw some time ago: PostgreSQL knows better.
                "Columns": [{"Name": f"{table}_id", "Type": "bigint"}],
                "Location": f"{urlsplit(url).path.removeprefix('/')}.public.{table}",
                "Parameters": {**crawled, **parameters},
            },
        },
    )
    return name


def open_glue_shop(laptop: Laptop, connection: psycopg.Connection[Any], aws: AwsServer) -> Oracle:
    """Fill the source, crawl it, write the settings, and return the oracle."""
    oracle = open_shop(laptop, connection)
    laptop.settings["sources"]["prd"] = {"type": "glue", "database": DATABASE}
    crawl_all(laptop, aws, connect(aws, laptop.url))
    return oracle


def crawl_all(laptop: Laptop, aws: AwsServer, connection: str) -> None:
    """Crawl all of the laptop's tables through a connection."""
    for name, table in laptop.settings["tables"].items():
        table["from"] = crawl(aws, laptop.url, name, connection)
    laptop.save()
