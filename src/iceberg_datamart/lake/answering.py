"""Catalogs and S3 that do not answer, or refuse: what their clients raise, in this package's errors."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from pyiceberg.exceptions import (
    CommitStateUnknownException,
    RESTError,
    ServerError,
    ServiceUnavailableError,
    TooManyRequestsError,
)
from sqlalchemy.exc import InterfaceError, OperationalError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from iceberg_datamart.aws_faults import passes
from iceberg_datamart.errors import CatalogUnreachableError, LakeError, MetadataMissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What PyArrow says of S3, by the name of AWS's error.
_ARROWS = re.compile(r"AWS Error (\w+)")
_REFUSALS = {"ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH"}
# Of errors that it has no name for, it tells the status; 408 and 429 ask for patience.
_WRONG = re.compile(r"AWS Error UNKNOWN \(HTTP status 4(?!08|29)\d\d\)")
# What a REST catalog's server answers that may answer otherwise later; all else it refuses.
_PASSING = (CommitStateUnknownException, ServerError, ServiceUnavailableError, TooManyRequestsError)
# What Iceberg's Java library, in such a server, says of a metadata file that is gone.
_GONE = re.compile(r"NotFoundException: .*file: (\S+)")
_ATTEMPTS = 4
T = TypeVar("T")


def while_unreachable(read: Callable[..., T], *arguments: object) -> T:
    """Return what `read` returns, asked again a few times while the catalog does not answer.

    For reading only: a commit is not sent twice. Raises: CatalogUnreachableError.
    """
    questions = Retrying(
        retry=retry_if_exception_type(CatalogUnreachableError),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        reraise=True,
    )
    return questions(read, *arguments)


@contextmanager
def answering(what: str) -> Iterator[None]:
    """Turn a lost connection to the catalog, or to S3, into CatalogUnreachableError, naming `what`.

    Raises: LakeError where it is not lost, but refused.
    """
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise _without_answer(what, str(error.orig).strip()) from error
    except (ClientError, BotoCoreError) as error:
        raise _of_aws(what, error, refused=not passes(error)) from error
    except RESTError as error:
        raise _of_rest(what, error) from error
    except OSError as error:
        found = _of_arrow(what, error) or _of_requests(what, error)
        if found is None:
            raise
        raise found from error


def _of_aws(what: str, error: Exception, *, refused: bool) -> LakeError:
    """Return what to raise where Glue or S3 refuses, or does not answer."""
    if refused:
        message = f"AWS refuses {what}: {error}"
        return LakeError(
            message, hint="Check the AWS credentials, and compare the role's rights with docs/iam.md."
        )
    message = f"AWS did not answer about {what}: {error}"
    return CatalogUnreachableError(message, hint="Run again when it does; nothing is lost.")


def _of_arrow(what: str, error: OSError) -> LakeError | None:
    """Return what to raise where the error is PyArrow's about S3."""
    found = _ARROWS.search(str(error))
    if found is None:
        return None
    return _of_aws(what, error, refused=found[1] in _REFUSALS or _WRONG.search(str(error)) is not None)


def _of_rest(what: str, error: RESTError) -> LakeError:
    """Return what to raise for the answer of a REST catalog's server."""
    gone = _GONE.search(str(error))
    if gone is not None:
        message = f"{what}: the catalog points to a metadata file that does not exist: {gone[1]}"
        hint = (
            "Restore the file (S3: an older version of the object), or have the catalog's server register "
            "the newest one that exists; then run again. No other table is affected."
        )
        return MetadataMissingError(message, hint=hint)
    if isinstance(error, _PASSING):
        return _without_answer(what, error)
    message = f"the catalog refuses {what}: {error}"
    return LakeError(message, hint="Check catalog.uri, and the credentials in catalog.properties.")


def _of_requests(what: str, error: OSError) -> LakeError | None:
    """Return what to raise where the error is of HTTP: no answer came from a REST catalog's server."""
    from requests import RequestException  # noqa: PLC0415  (slow to import, and of REST catalogs alone)
    from requests.exceptions import SSLError  # noqa: PLC0415

    if not isinstance(error, RequestException):
        return None
    if isinstance(error, ValueError):  # an address that is none, which its message would show
        message = f"the catalog cannot be asked about {what}: its address is malformed"
        return LakeError(message, hint="Correct catalog.uri; it starts with http:// or https://.")
    if isinstance(error, SSLError):
        message = f"the catalog cannot be asked about {what}: {error}"
        return LakeError(message, hint="Check the certificates: `ssl` in PyIceberg's own settings.")
    return _without_answer(what, error)


def _without_answer(what: str, error: object) -> CatalogUnreachableError:
    message = f"the catalog did not answer about {what}: {error}"
    return CatalogUnreachableError(message, hint="Run again when the catalog is up.")
