"""The records of runs on S3: an object each, all below one prefix."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from iceberg_datamart.core.settings.s3_address import parsed_s3
from iceberg_datamart.errors import ConfigError, StateRefusedError
from iceberg_datamart.stores.s3 import S3Object, opened, refuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
_MOST_AT_ONCE = 1000


class S3Folder:
    """The objects directly below one prefix."""

    def __init__(self, location: str, properties: Mapping[str, str]) -> None:
        """Name the prefix `s3://bucket/folder/`; `properties` are the catalog's.

        Raises: ConfigError where the location names none, StateRefusedError.
        """
        place = parsed_s3(location)
        if place is None or place.scheme != "s3" or not place.key.endswith("/"):
            raise ConfigError(f"{location} is not of the form s3://bucket/folder/")
        self._location, self._bucket, self._prefix = location, place.bucket, place.key
        self._client = opened(location, properties)

    def names(self) -> list[str]:
        """Return the names of all objects, 1,000 a request."""
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix, Delimiter="/"
            )
            return [each["Key"][len(self._prefix) :] for page in pages for each in page.get("Contents", [])]
        except (ClientError, BotoCoreError) as error:
            refuse(self._location, "listed", error)

    def read(self, name: str) -> bytes | None:
        """Return an object's content; None where it is gone."""
        found = self._object(name).read()
        return None if found is None else found[0]

    def write(self, name: str, content: bytes) -> None:
        """Put an object, which S3 shows once it is whole."""
        self._object(name).write(content)

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects, many with one request."""
        remaining = iter(names)
        while some := [{"Key": self._prefix + name} for name in islice(remaining, _MOST_AT_ONCE)]:
            try:
                answer = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": some, "Quiet": True}
                )
            except (ClientError, BotoCoreError) as error:
                refuse(self._location, "cleared", error)
            # What is refused of a request that is answered stands in the answer.
            for fault in answer.get("Errors", []):
                message = f"{self._location} cannot be cleared: {fault.get('Code')} for {fault.get('Key')}"
                raise StateRefusedError(message, hint="The role must be allowed to delete objects there.")

    def _object(self, name: str) -> S3Object:
        return S3Object(self._location + name, {}, self._client)
