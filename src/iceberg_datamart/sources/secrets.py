"""Logins kept in AWS Secrets Manager: fetched when a source is opened, and never shown.

https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import SecretStr

from iceberg_datamart.aws_faults import aws_code
from iceberg_datamart.errors import SecretError
from iceberg_datamart.sources.aws import client, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iceberg_datamart.core.settings.model import PostgresSource

_FORMS = "Store it as the password alone, or as JSON text with the keys username and password, as RDS does."
_NEEDS = "secretsmanager:GetSecretValue on the secret, and kms:Decrypt where it has a key of its own"
_PARTS_OF_AN_ARN = 7


def with_login(name: str, config: PostgresSource) -> PostgresSource:
    """Return the settings of source `name` with the password of the secret that they name, if any.

    Its user name counts where neither the url nor `user` gives one.
    Raises: SecretError, SourceUnreachableError, SourceRefusedError.
    """
    if config.secret is None:
        return config
    what = f"source '{name}': secret '{config.secret}'"
    user, password = login_in(_fetched(what, config.secret), what)
    found = {"user": config.user or user, "password": SecretStr(password), "secret": None}
    return config.model_copy(update=found)


def login_in(response: Mapping[str, Any], what: str) -> tuple[str | None, str]:
    """Return user, None where there is none, and password of a secret; `what` names it in messages.

    Text that does not begin with a brace is the password itself. Raises: SecretError.
    """
    text = response.get("SecretString")
    if not text:
        problem = "holds bytes instead of text" if "SecretBinary" in response else "is empty"
        raise SecretError(f"{what} {problem}", hint=_FORMS)
    if not text.lstrip().startswith("{"):
        return None, text
    try:
        content = json.loads(text)
    except ValueError:
        # Not chained: the parser's error carries the whole text.
        content = None
    if content is None:
        raise SecretError(f"{what} begins as JSON, and is none", hint=_FORMS)
    user, password = content.get("username"), content.get("password")
    if not isinstance(password, str) or not password or not isinstance(user, str | None):
        raise SecretError(
            f"{what} has no text under the key 'password', or none under 'username'", hint=_FORMS
        )
    return user or None, password


def _fetched(what: str, secret: str) -> Mapping[str, Any]:
    """Return Secrets Manager's answer about a secret; an ARN says in which region it is."""
    parts = secret.split(":")
    region = parts[3] if len(parts) == _PARTS_OF_AN_ARN else None
    try:
        found: Mapping[str, Any] = client("secretsmanager", region).get_secret_value(SecretId=secret)
    except (ClientError, BotoCoreError) as error:
        if aws_code(error) != "ResourceNotFoundException":
            raise refusal(what, error, _NEEDS) from error
        hint = "Correct the name; without an ARN it is looked for in the job's own account and region."
        raise SecretError(f"{what} does not exist in AWS Secrets Manager", hint=hint) from error
    return found
