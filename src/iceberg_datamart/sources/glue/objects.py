"""The files at a location on S3: each as Hadoop will open it, or the table is refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from iceberg_datamart.core.settings.s3_address import S3Address, parsed_s3, unreadable_key
from iceberg_datamart.errors import SourceError, SourceTableMissingError
from iceberg_datamart.sources.aws import refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# `.` and `..` are no names of hidden folders, but what Hadoop takes for others.
_HIDDEN = re.compile(r"(^|/)(_|\.(?!\.?(/|$)))")
# Spark passes over it, also where it is named: a file that is being written.
_UNFINISHED = "._COPYING_"
_Objects = list["dict[str, Any]"]


class GlueObjects:
    """Lists the objects that tables of the catalog are made of."""

    def __init__(self, s3: Any) -> None:
        """List by a client of S3."""
        self._s3 = s3

    def files(self, table: str, location: str) -> tuple[list[tuple[str, str]], bool]:
        """Return path and ETag of each file below `location`, and whether any object is there at all.

        Hidden and empty objects are no files. Raises: SourceError where a file would be passed over or
        taken for another.
        """
        place = parsed_s3(location if location.count("/") > 2 else f"{location}/")  # noqa: PLR2004  (s3://)
        if place is None:
            message = f"Glue table '{table}' is at '{location}', which is no address on S3"
            raise SourceError(message, hint="Only files on S3 are read.")
        folder = place.key.rstrip("/")
        _require_readable(table, f"the location {location}", folder)
        found = self._listed(table, place, f"{folder}/" if folder else "")
        if not found and folder and self._listed(table, place, folder, exactly=True):
            message = f"Glue table '{table}' is at '{location}', which is one file"
            raise SourceError(message, hint="Let its location be the folder. Nothing was written.")
        return _files_of(table, place, folder, found), bool(found)

    def _listed(self, table: str, place: S3Address, prefix: str, *, exactly: bool = False) -> _Objects:
        """Return the objects whose keys begin with a prefix, or `exactly` the one that has this key."""
        needs = f"s3:ListBucket on {place.bucket} and s3:GetObject on {place.bucket}/{prefix}*"
        try:
            if exactly:
                page = self._s3.list_objects_v2(Bucket=place.bucket, Prefix=prefix, MaxKeys=1)
                return [each for each in page.get("Contents", ()) if each["Key"] == prefix and each["Size"]]
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=prefix)
            return [each for page in pages for each in page.get("Contents", ())]
        except (ClientError, BotoCoreError) as error:
            where = f"'{place.scheme}://{place.bucket}/{prefix}', where Glue table '{table}' is,"
            raise refusal(where, error, needs) from error


def require_objects(table: str, location: str, *, found: bool, partitioned: bool) -> None:
    """Raise SourceTableMissingError where no object is `found`: an empty folder is believed."""
    if found:
        return
    what = (
        "has no partitions, or none with an object"
        if partitioned
        else f"is at '{location}', where no object is"
    )
    raise SourceTableMissingError(
        f"Glue table '{table}' {what}",
        hint="Correct its location or add its partitions (run its crawler); where it is empty, put an empty "
        "object such as _SUCCESS there. Nothing was written.",
    )


def _files_of(
    table: str, place: S3Address, folder: str, objects: Iterable[Mapping[str, Any]]
) -> list[tuple[str, str]]:
    files = []
    for each in objects:
        key = each["Key"]
        if not each["Size"] or _HIDDEN.search(key[len(folder) :].lstrip("/") if folder else key):
            continue
        _require_readable(table, f"the file s3://{place.bucket}/{key}", key)
        files.append((f"{place.scheme}://{place.bucket}/{key}", each["ETag"]))
    return sorted(files)


def _require_readable(table: str, what: str, key: str) -> None:
    problem = "it is still being copied" if key.endswith(_UNFINISHED) else unreadable_key(key)
    if problem is not None:
        message = f"Glue table '{table}': {what} cannot be read, because {problem}"
        raise SourceError(message, hint="Hadoop would open another object: rename it. Nothing was written.")
