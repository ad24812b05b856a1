"""AWS's control planes as sources meet them: patient clients, and what their errors mean."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from iceberg_datamart.aws_faults import aws_code, passes
from iceberg_datamart.errors import SourceError, SourceRefusedError, SourceUnreachableError

# Four more attempts, with the growing pauses of botocore's standard mode.
_PATIENCE = BotoConfig(
    connect_timeout=5, read_timeout=15, retries={"mode": "standard", "total_max_attempts": 5}
)
_DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "DecryptionFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "UnrecognizedClientException",
}


def client(service: str, region: str | None = None) -> Any:
    """Return a client for the `AWS_*` environment, endpoint URLs included; `region` None is that of it.

    Raises: SourceError where no region is known.
    """
    try:
        return boto3.client(service, region_name=region, config=_PATIENCE)  # type: ignore[call-overload]
    except (BotoCoreError, ValueError) as error:
        raise SourceError(f"AWS cannot be reached: {error}", hint="Set AWS_REGION.") from error


def refusal(what: str, error: ClientError | BotoCoreError, needs: str) -> SourceError:
    """Return what to raise where `what` cannot be had; `needs` names the permissions for it."""
    message = f"{what} cannot be read: {error}"
    if passes(error):
        return SourceUnreachableError(
            message, hint="Run again; within a VPC, AWS needs an endpoint or a NAT."
        )
    if isinstance(error, ParamValidationError):
        return SourceError(message, hint="Correct the name or address.")
    if isinstance(error, ClientError) and aws_code(error) not in _DENIED:
        return SourceError(message)
    return SourceRefusedError(message, hint=f"Give the job a role that is allowed {needs}.")
