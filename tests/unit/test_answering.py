"""What a REST catalog's server and its client say, in this package's errors."""

from __future__ import annotations

import pytest
import requests
from pyiceberg.exceptions import (
    BadRequestError,
    CommitStateUnknownException,
    ForbiddenError,
    OAuthError,
    RESTError,
    ServerError,
    ServiceUnavailableError,
    TooManyRequestsError,
    UnauthorizedError,
)
from requests import exceptions as of_http

from iceberg_datamart.core.settings.model import CatalogConfig
from iceberg_datamart.errors import CatalogUnreachableError, LakeError, MetadataMissingError
from iceberg_datamart.lake.answering import answering
from iceberg_datamart.lake.opening import open_catalog

PASSING = [
    CommitStateUnknownException("RuntimeIOException: by a proxy"),
    ServerError("UncheckedSQLException: the server's own database is away"),
    ServiceUnavailableError("busy"),
    TooManyRequestsError("slow down"),
    of_http.ConnectionError("('Connection aborted.', RemoteDisconnected())"),
    of_http.ReadTimeout("read timed out"),
    of_http.ChunkedEncodingError("IncompleteRead"),
]
STAYING = [
    BadRequestError("No route for request"),
    ForbiddenError("not yours"),
    OAuthError("invalid_client"),
    RESTError("RESTError 404: Could not decode json payload"),
    UnauthorizedError("NotAuthorizedException: Not authorized"),
    of_http.SSLError("CERTIFICATE_VERIFY_FAILED"),
]


@pytest.mark.parametrize("error", PASSING)
def test_a_server_that_is_busy_or_away_is_asked_again(error: Exception) -> None:
    with pytest.raises(CatalogUnreachableError, match="did not answer about t"), answering("t"):
        raise error


@pytest.mark.parametrize("error", STAYING)
def test_a_server_that_refuses_is_not_asked_again(error: Exception) -> None:
    with pytest.raises(LakeError, match=r"about t|refuses t") as caught, answering("t"):
        raise error
    assert type(caught.value) is LakeError
    assert caught.value.hint


def test_r9_a_metadata_file_that_the_server_misses_is_that_tables_failure_alone() -> None:
    gone = ServerError("NotFoundException: Failed to open input stream for file: s3://lake/t/7.metadata.json")
    with pytest.raises(MetadataMissingError, match=r"t: .* s3://lake/t/7\.metadata\.json"), answering("t"):
        raise gone


def test_a_file_that_is_missing_is_no_lost_connection() -> None:
    with pytest.raises(FileNotFoundError), answering("t"):
        raise FileNotFoundError("v1.avro")


def test_no_word_of_a_malformed_address_is_shown() -> None:
    with pytest.raises(LakeError) as caught, answering("t"):
        requests.get("lake:sesame@host", timeout=1)
    assert "sesame" not in caught.value.message + caught.value.hint


def test_a_server_that_is_not_there_is_told_by_its_address_without_the_login() -> None:
    config = CatalogConfig(type="rest", uri="http://lake:sesame@127.0.0.1:9/api", warehouse="lake")
    with pytest.raises(CatalogUnreachableError, match=r"http://127\.0\.0\.1:9/api") as caught:
        open_catalog(config)
    assert "sesame" not in caught.value.message
