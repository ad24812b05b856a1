"""The timestamp file and the run counts on S3, replaced by conditional writes (R6).

Conditional writes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NoReturn

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError

from iceberg_datamart.aws_faults import aws_code, passes
from iceberg_datamart.core.settings.s3_address import object_problem, parsed_s3
from iceberg_datamart.errors import ConfigError, StateRefusedError, StateUnreachableError
from iceberg_datamart.stores.run_counts import counts_text, parse_counts
from iceberg_datamart.stores.timestamp_file import conflict, parse_timestamp, timestamp_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

log = logging.getLogger(__name__)
# Four more attempts, with the growing pauses of botocore's standard mode.
_ATTEMPTS = 5
_MISSING = {"NoSuchKey", "404"}
_CHANGED = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
_UNCONDITIONAL = {"NotImplemented", "501"}
_HINT = "Check the address and the AWS credentials; the role must be allowed to read and write there."


class S3Object:
    """One object of a bucket, as bytes."""

    def __init__(self, location: str, properties: Mapping[str, str], client: Any = None) -> None:
        """Name the object `s3://bucket/key`; `properties` are the catalog's, the rest is AWS's own chain.

        A `client` that there is already is taken as it is. Raises: ConfigError where the location names no
        object, StateRefusedError.
        """
        place, problem = parsed_s3(location), object_problem(location)
        if place is None or problem is not None:
            raise ConfigError(f"{location} {problem}", hint="Write s3://bucket/key; signs are not encoded.")
        self.location, self._bucket, self._key = location, place.bucket, place.key
        self._client = opened(location, properties) if client is None else client

    def read(self) -> tuple[bytes, str] | None:
        """Return the content and its ETag; None where there is no object.

        Raises: StateUnreachableError, StateRefusedError.
        """
        try:
            found = self._client.get_object(Bucket=self._bucket, Key=self._key)
            return found["Body"].read(), found["ETag"]
        except ClientError as error:
            if aws_code(error) in _MISSING:
                return None
            refuse(self.location, "read", error)
        except BotoCoreError as error:
            refuse(self.location, "read", error)

    def write(self, content: bytes) -> None:
        """Replace the content, whatever it is. Raises: as `read`."""
        try:
            self._client.put_object(Bucket=self._bucket, Key=self._key, Body=content)
        except (ClientError, BotoCoreError) as error:
            refuse(self.location, "written", error)

    def swap(self, content: bytes, etag: str | None) -> bool:
        """Replace the content if it still has `etag` (None: if there is none); return whether it had.

        For a store that refuses conditional writes it is read again just before, with a warning: between the
        two, another run may still come. Raises: as `read`.
        """
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        try:
            self._client.put_object(Bucket=self._bucket, Key=self._key, Body=content, **condition)
        except ClientError as error:
            if aws_code(error) in _CHANGED | _MISSING:
                return False
            if aws_code(error) not in _UNCONDITIONAL:
                refuse(self.location, "written", error)
            return self._swap_unguarded(content, etag)
        except BotoCoreError as error:
            refuse(self.location, "written", error)
        return True

    def _swap_unguarded(self, content: bytes, etag: str | None) -> bool:
        log.warning("%s: the store refuses conditional writes; overlapping runs may race", self.location)
        found = self.read()
        if (None if found is None else found[1]) != etag:
            return False
        self.write(content)
        return True


class S3TimestampFile:
    """A timestamp file in a bucket; whoever replaced it first wins."""

    def __init__(self, location: str, properties: Mapping[str, str]) -> None:
        """Name the file; it need not exist."""
        self._object = S3Object(location, properties)

    def read(self) -> datetime | None:
        """Return the instant it says, None where it is missing. Raises: TimestampFileError."""
        found = self._object.read()
        return None if found is None else parse_timestamp(found[0], self._object.location)

    def write(self, instant: datetime, expected: datetime | None) -> None:
        """Replace `expected` by `instant`. Raises: TimestampFileConflictError where the file says another."""
        found = self._object.read()
        present = None if found is None else parse_timestamp(found[0], self._object.location)
        if present != expected:
            raise conflict(self._object.location, present, expected)
        if self._object.swap(timestamp_text(instant).encode(), None if found is None else found[1]):
            return
        # A write whose answer is lost is tried again, and then finds what it wrote itself.
        present = self.read()
        if present != instant.replace(microsecond=0):
            raise conflict(self._object.location, present, expected)


class S3RunCounts:
    """The runs since each table was reconciled, beside the timestamp file; see `run_counts`."""

    def __init__(self, timestamp_file: str, properties: Mapping[str, str]) -> None:
        """Name the object after the timestamp file."""
        folder, _, name = timestamp_file.rpartition("/")
        self._object = S3Object(f"{folder}/{name.removesuffix('.csv')}.reconcile.json", properties)

    def read(self) -> dict[str, int]:
        """Return the runs by table."""
        found = self._object.read()
        return {} if found is None else parse_counts(found[0])

    def write(self, counts: Mapping[str, int]) -> None:
        """Replace the counts."""
        self._object.write(counts_text(counts).encode())


def refuse(location: str, what: str, error: ClientError | BotoCoreError) -> NoReturn:
    """Raise what it means that the store answered by `error`: StateUnreachableError, StateRefusedError."""
    message = f"{location} cannot be {what}: {error}"
    if not passes(error):
        raise StateRefusedError(message, hint=_HINT) from error
    raise StateUnreachableError(
        message, hint="Run again: nothing is lost, and nothing is done twice."
    ) from error


def s3_text(location: str) -> str:
    """Return an object's text, by AWS's own chain of keys.

    Raises: ConfigError, StateRefusedError, StateUnreachableError.
    """
    try:
        found = S3Object(location, {}).read()
        if found is not None:
            return found[0].decode("utf-8")
        problem = "there is no such object"
    except UnicodeDecodeError as error:
        problem = str(error)
    hint = "Check the address, and that the role may read there."
    raise ConfigError(f"{location} cannot be read: {problem}", hint=hint)


def opened(location: str, properties: Mapping[str, str]) -> Any:
    """Return a client that reaches `location`. Raises: StateRefusedError."""
    try:
        return s3_client(properties)
    except (BotoCoreError, ValueError) as error:
        raise StateRefusedError(f"{location}: S3 cannot be asked: {error}", hint=_HINT) from error


def s3_client(properties: Mapping[str, str]) -> Any:
    """Return a client for the endpoint and keys of catalog `properties`, else of the environment."""
    by_path = properties.get("s3.path-style-access", "").lower() == "true"
    settings = BotoConfig(
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        connect_timeout=10,
        read_timeout=30,
        s3={"addressing_style": "path" if by_path else "auto"},
    )
    return boto3.client(
        "s3",
        endpoint_url=properties.get("s3.endpoint"),
        aws_access_key_id=properties.get("s3.access-key-id"),
        aws_secret_access_key=properties.get("s3.secret-access-key"),
        region_name=properties.get("s3.region") or properties.get("client.region"),
        config=settings,
    )
