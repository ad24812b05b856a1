"""Which faults of AWS pass by themselves; all others stay until somebody corrects something."""

from __future__ import annotations

import re

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    SSLError,
)
from botocore.exceptions import ConnectionError as NoConnectionError

_PASSING = (
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoConnectionError,
)
# https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
_BUSY = re.compile(
    r"Throttl|SlowDown|TooManyRequests|RequestLimitExceeded|RequestTimeout|BandwidthLimitExceeded"
    r"|ProvisionedThroughputExceeded|PriorRequestNotComplete|TransactionInProgress|InternalError"
    r"|InternalServiceException|ServiceUnavailable|ConcurrentModification|ConditionalRequestConflict"
    r"|OperationAborted|OperationTimeout"
)
_SERVERS_FAULT = 500
_AGAIN = {408, 429}


def passes(error: ClientError | BotoCoreError) -> bool:
    """Return whether a later attempt may succeed without anybody changing settings or permissions."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= _SERVERS_FAULT or status in _AGAIN or _BUSY.search(aws_code(error)) is not None
    if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return False
    return isinstance(error, _PASSING)


def aws_code(error: ClientError | BotoCoreError) -> str:
    """Return AWS's code of an error, empty where no answer came."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""
