"""What Glue and S3 refuse, or do not answer, is an error of this package that names the fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.settings.model import CatalogConfig
from iceberg_datamart.errors import CatalogUnreachableError, LakeError
from iceberg_datamart.lake.answering import answering
from iceberg_datamart.lake.catalog import LakeCatalog
from support.servers import aws_server
from support.servers.s3_server import BUCKET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.servers.aws_server import AwsServer
    from support.servers.s3_server import S3Server


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsServer]:
    with aws_server.running() as server:
        yield server


def catalog(aws: AwsServer, s3: S3Server, **changed: str) -> LakeCatalog:
    keys = {"glue.access-key-id": s3.access_key, "glue.secret-access-key": s3.secret_key}
    properties: dict[str, Any] = {
        **aws.properties,
        **s3.properties,
        **keys,
        **changed,
    }
    warehouse = f"s3://{BUCKET}/refusals/"
    return LakeCatalog(CatalogConfig(type="glue", warehouse=warehouse, properties=properties), "refusals")


def test_wrong_keys_for_s3_are_a_refusal_that_names_the_page_of_rights(aws: AwsServer, s3: S3Server) -> None:
    with pytest.raises(LakeError, match="AWS refuses locked") as raised:
        catalog(aws, s3, **{"s3.secret-access-key": "another"}).create("locked", [Column("a", "int")], (), {})
    assert "docs/iam.md" in raised.value.hint
    assert not raised.value.retryable


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="http://127.0.0.1:9"),
        ClientError({"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, "GetTable"),
        OSError("When getting information for key 'k': AWS Error SLOW_DOWN during HeadObject operation: no"),
    ],
)
def test_an_aws_that_does_not_answer_is_to_be_tried_again(error: Exception) -> None:
    with pytest.raises(CatalogUnreachableError, match="AWS did not answer about account") as raised:
        meeting(error)
    assert raised.value.exit_code == 75


def test_a_role_without_the_right_is_refused_and_not_tried_again() -> None:
    denied = ClientError(
        {"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}, "GetTable"
    )
    with pytest.raises(LakeError, match="AWS refuses account") as raised:
        meeting(denied)
    assert not raised.value.retryable


def meeting(error: Exception) -> None:
    with answering("account"):
        raise error


def test_a_table_that_is_not_there_is_neither(aws: AwsServer, s3: S3Server) -> None:
    assert catalog(aws, s3).history("account") is None
