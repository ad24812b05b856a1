"""Which faults of AWS a later attempt may outlive."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    InvalidRegionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    SSLError,
)

from iceberg_datamart.aws_faults import passes
from iceberg_datamart.errors import CatalogUnreachableError, LakeError
from iceberg_datamart.lake.answering import answering


def answered(code: str, status: int = 400) -> ClientError:
    found: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(found, "GetObject")


PASSING = [
    answered("InternalError", 500),
    answered("SlowDown", 503),
    answered("ThrottlingException"),
    answered("RequestTimeout"),
    answered("TooManyRequestsException", 429),
    EndpointConnectionError(endpoint_url="http://127.0.0.1:9"),
    ReadTimeoutError(endpoint_url="http://127.0.0.1:9"),
]
STAYING = [
    answered("AccessDenied", 403),
    answered("InvalidBucketName"),
    answered("NoSuchBucket", 404),
    answered("InvalidAccessKeyId", 403),
    answered("ExpiredToken"),
    answered("ValidationException"),
    NoCredentialsError(),
    PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
    ProfileNotFound(profile="p"),
    ParamValidationError(report="Invalid bucket name"),
    InvalidRegionError(region_name="-"),
    SSLError(endpoint_url="https://s3", error="CERTIFICATE_VERIFY_FAILED"),
]


@pytest.mark.parametrize("error", PASSING)
def test_who_is_busy_or_away_is_asked_again(error: ClientError | BotoCoreError) -> None:
    assert passes(error)
    with pytest.raises(CatalogUnreachableError), answering("t"):
        raise error


@pytest.mark.parametrize("error", STAYING)
def test_what_is_missing_or_refused_is_not(error: ClientError | BotoCoreError) -> None:
    assert not passes(error)
    with pytest.raises(LakeError) as caught, answering("t"):
        raise error
    assert (caught.value.exit_code, caught.value.retryable) == (1, False)
