"""A second reader of Iceberg tables that shares no code with the writer: DuckDB, by a metadata file alone."""

from __future__ import annotations

import contextlib
import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import duckdb

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    S3 = Mapping[str, str]  # the catalog properties of the store, `s3.endpoint` and so on

# In this order: iceberg stands on avro, and reads S3 by httpfs.
_EXTENSIONS = ("avro", "httpfs", "iceberg")


def rows(
    metadata_location: str, snapshot_id: int | None = None, s3: S3 | None = None
) -> list[dict[str, Any]]:
    """Return the rows that a metadata file leads to, at a snapshot, in that one's columns, or at the current.

    `s3` is needed where the table lies in a bucket.
    """
    return _asked("iceberg_scan", metadata_location, snapshot_id, s3)


def live_files(
    metadata_location: str, snapshot_id: int | None = None, s3: S3 | None = None
) -> list[dict[str, Any]]:
    """Return the files of a snapshot: `content`, where EXISTING means data, `file_format`, `file_path`."""
    found = _asked("iceberg_metadata", metadata_location, snapshot_id, s3)
    return [file for file in found if file["status"] != "DELETED"]


def snapshot_ids(metadata_location: str, s3: S3 | None = None) -> list[int]:
    """Return the ids of all snapshots that a metadata file names, oldest first."""
    found = _asked("iceberg_snapshots", metadata_location, None, s3)
    return [int(each["snapshot_id"]) for each in sorted(found, key=lambda each: each["sequence_number"])]


def metadata(metadata_location: str, s3: S3 | None = None) -> dict[str, Any]:
    """Return the metadata file's JSON."""
    found: dict[str, Any] = json.loads(_asked("read_text", metadata_location, None, s3)[0]["content"])
    return found


def queried(query: str) -> list[dict[str, Any]]:
    """Return the rows of a query, where the clocks do not show UTC."""
    with _connected(None) as connection:
        connection.execute("set timezone = 'America/Los_Angeles'")
        return _fetched(connection.execute(query))


def _asked(function: str, place: str, snapshot_id: int | None, s3: S3 | None) -> list[dict[str, Any]]:
    at = "" if snapshot_id is None else f", snapshot_from_id => {snapshot_id:d}::ubigint"
    with _connected(s3) as connection:
        found = connection.execute(f"from {function}($place{at})", {"place": place.removeprefix("file://")})
        return _fetched(found)


def _fetched(found: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


@contextlib.contextmanager
def _connected(s3: S3 | None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection, in UTC, to the database that reads the one store."""
    with _database(None if s3 is None else tuple(sorted(s3.items()))).cursor() as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection


@cache
def _database(s3: tuple[tuple[str, str], ...] | None) -> duckdb.DuckDBPyConnection:
    """Return a database in memory with the extensions: nothing is fetched, kept of files, or left behind."""
    connection = duckdb.connect(
        config={"autoinstall_known_extensions": "false", "enable_external_file_cache": "false"}
    )
    for name in _EXTENSIONS:
        connection.load_extension(_extension(name))
    if s3 is not None:
        _sign_in(connection, dict(s3))
    return connection


@cache
def _extension(name: str) -> str:
    folder = files(f"duckdb_extension_{name}") / "extensions" / f"v{duckdb.__version__}"
    return str(folder / f"{name}.duckdb_extension")


def _sign_in(connection: duckdb.DuckDBPyConnection, s3: S3) -> None:
    """Give the store's address and keys: https://duckdb.org/docs/stable/core_extensions/httpfs/s3api."""
    endpoint = urlsplit(s3["s3.endpoint"])
    connection.execute(
        "create secret (type s3, key_id $key, secret $secret, region $region, endpoint $endpoint, "
        "url_style 'path', use_ssl $use_ssl)",
        {
            "key": s3["s3.access-key-id"],
            "secret": s3["s3.secret-access-key"],
            "region": s3["s3.region"],
            "endpoint": endpoint.netloc,
            "use_ssl": endpoint.scheme == "https",
        },
    )
