"""Where DuckDB finds the files that Iceberg's locations name, and by what it reads those on S3."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from iceberg_datamart.errors import NeedsSparkError

if TYPE_CHECKING:
    import duckdb
    from pyiceberg.catalog import Catalog

_LOCAL, _S3 = "file:", ("s3", "s3a", "s3n")
# https://duckdb.org/docs/stable/sql/functions/pattern_matching#globbing
_SLASHES = re.compile("/+")
_PATTERN = re.compile(r"[*?\[]")


class Located(NamedTuple):
    """A location in two parts: what DuckDB leaves out in front, and the path that it takes and tells."""

    scheme: str
    path: str


def located(location: str) -> Located:
    """Return the parts of a location, which is `scheme + path`. Raises: NeedsSparkError.

    Paths are never decoded: PyIceberg and Hadoop take a `%` as it stands.
    """
    if location.startswith("file:///"):
        return Located("file://", location.removeprefix("file://"))
    if location.startswith("file:/") and not location.startswith("file://"):
        return Located(_LOCAL, location.removeprefix(_LOCAL))
    kind, separator, _ = location.partition("://")
    if not separator or kind in _S3:
        return Located("", location)
    raise NeedsSparkError(f"files at {kind}:// cannot be read in process")


def canonical(location: str) -> str:
    """Return the one name of a file that may be written in several ways: `file:/a`, `file:///a` and `/a`.

    Two slashes in a row count as one: Iceberg 1.0 names delete files on S3 so, and not every listing does.
    """
    kind, separator, rest = location.partition("://")
    if separator and kind in _S3:
        return f"s3://{_SLASHES.sub('/', rest)}"
    found = located(location).path if location.startswith(_LOCAL) else location
    return found if "://" in found else _SLASHES.sub("/", found)


def exact(path: str) -> str:
    """Return what DuckDB, to which a local path is a pattern, finds this file alone by."""
    return path if is_s3(path) else _PATTERN.sub(lambda sign: f"[{sign[0]}]", path)


def read_s3(connection: duckdb.DuckDBPyConnection, catalog: Catalog) -> None:
    """Let DuckDB read S3 as PyIceberg does: by the catalog's properties, else as the environment says."""
    from iceberg_datamart.lake.in_process.arrow_files import S3Files  # noqa: PLC0415  (of S3 alone)

    connection.register_filesystem(S3Files(catalog.properties))


def is_s3(location: str) -> bool:
    """Return whether a location is on S3."""
    return location.partition("://")[0] in _S3
