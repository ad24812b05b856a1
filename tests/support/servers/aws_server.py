"""AWS's control planes for tests: moto's server, with the one check whose lack would hide lost commits.

Glue refuses an UpdateTable whose VersionId is not the present one; moto 5.2 takes it.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import boto3
from moto.glue.exceptions import GlueClientError
from moto.glue.responses import GlueResponse
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator

REGION = "eu-central-1"
_SERVICES = ("GLUE", "SECRETS_MANAGER", "CLOUDWATCH", "STS")


@dataclass(frozen=True)
class AwsServer:
    """Where Glue, Secrets Manager and CloudWatch answer; S3 is played by a real server of its own."""

    endpoint: str

    @property
    def properties(self) -> dict[str, str]:
        """Return the catalog properties that lead to this Glue."""
        return {"glue.endpoint": self.endpoint, "client.region": REGION, "glue.region": REGION}

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables by which every AWS client finds the services here."""
        found = {f"AWS_ENDPOINT_URL_{service}": self.endpoint for service in _SERVICES}
        keys = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "a secret of the tests"}
        return {**found, **keys, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}

    def client(self, service: str) -> Any:
        # Typed for each service by its literal name, which is a variable here.
        open_client: Any = boto3.client
        return open_client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="reader",
            aws_secret_access_key="a secret of the tests",
        )


def version_checked(update_table: Any) -> Any:
    """Return moto's UpdateTable with the check that Glue makes, and that moto 5.2 lacks."""
    lock = Lock()

    def checked(self: Any) -> Any:
        with lock:
            name = self._get_param("TableInput")["Name"]
            table = self.glue_backend.get_table(self._get_param("DatabaseName"), name)
            given = self._get_param("VersionId")
            if given is not None and str(table.as_dict()["VersionId"]) != str(given):
                raise GlueClientError("ConcurrentModificationException", "the table was changed meanwhile")
            return update_table(self)

    return checked


def _play(update_table: Any) -> None:
    setattr(GlueResponse, "update_table", update_table)  # noqa: B010  (types know no change of a method)


@contextlib.contextmanager
def running() -> Iterator[AwsServer]:
    """Yield a server on a free port of loopback, empty; it ends with the block."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    plain = GlueResponse.update_table
    _play(version_checked(plain))
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    try:
        server.start()
        host, port = server.get_host_and_port()
        found = AwsServer(f"http://{host}:{port}")
        # What moto remembers, it remembers for the whole process.
        urlopen(Request(f"{found.endpoint}/moto-api/reset", method="POST")).close()  # noqa: S310  (of this test)
        yield found
    finally:
        server.stop()
        _play(plain)
