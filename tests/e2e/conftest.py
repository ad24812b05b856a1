"""One Data Catalog and one warm process for all tests whose sources are files or Iceberg tables on S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.servers import aws_server
from support.worlds import warm_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.servers.aws_server import AwsServer
    from support.servers.s3_server import S3Server
    from support.worlds.warm_process import WarmProcess


@pytest.fixture(scope="session")
def catalog_aws() -> Iterator[AwsServer]:
    with aws_server.running() as server:
        yield server


@pytest.fixture(scope="session")
def catalog_environment(catalog_aws: AwsServer, s3: S3Server) -> dict[str, str]:
    """Return what leads a process to the catalog and to S3."""
    keys = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
    return {**catalog_aws.environment, **keys, "AWS_ENDPOINT_URL_S3": s3.endpoint}


@pytest.fixture(scope="session")
def warm(
    catalog_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WarmProcess]:
    """Yield one process for all tests: Hadoop's S3A is not among the jars of the tests' own JVM."""
    with warm_process.running(tmp_path_factory.mktemp("warm"), catalog_environment) as process:
        yield process
