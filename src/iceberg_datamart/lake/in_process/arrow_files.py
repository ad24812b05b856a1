"""S3 for DuckDB by PyArrow's file system, as PyIceberg opens it: its properties, its credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fsspec import AbstractFileSystem  # type: ignore[import-untyped]
from pyarrow.fs import FileType  # type: ignore[import-untyped]
from pyiceberg.io.pyarrow import PyArrowFileIO

if TYPE_CHECKING:
    from collections.abc import Mapping


class S3Files(AbstractFileSystem):  # type: ignore[misc]
    """What DuckDB asks of a file system, to read files whose whole names it has.

    https://duckdb.org/docs/stable/guides/python/filesystems
    """

    protocol = ("s3", "s3a", "s3n")
    cachable = False

    def __init__(self, properties: Mapping[str, str]) -> None:
        """Take the catalog's properties."""
        super().__init__()
        self._io = PyArrowFileIO(dict(properties))

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        """Return a location as it is: its bucket may have a file system of its own."""
        return path

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return a file's size. Raises: FileNotFoundError."""
        file_system, inner = self._of(path)
        found = file_system.get_file_info(inner)
        if found.type != FileType.File:
            raise FileNotFoundError(path)
        return {"name": path, "size": found.size, "type": "file", "mtime": found.mtime_ns or 0}

    def glob(self, path: str, **_: Any) -> list[str]:
        """Return the file itself: a name is never a pattern here."""
        return [path]

    def modified(self, path: str) -> Any:
        """Return when a file was written, which is never twice."""
        return self._of(path)[0].get_file_info(self._of(path)[1]).mtime

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        if mode != "rb":
            raise NotImplementedError(mode)
        file_system, inner = self._of(path)
        return file_system.open_input_file(inner)

    def _of(self, path: str) -> tuple[Any, str]:
        scheme, bucket, inner = PyArrowFileIO.parse_location(path)
        return self._io.fs_by_scheme(scheme, bucket), inner
