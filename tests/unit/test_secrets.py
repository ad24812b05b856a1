"""What a secret may hold, and that no message repeats it."""

from __future__ import annotations

import json
import traceback

import pytest

from iceberg_datamart.errors import SecretError
from iceberg_datamart.sources.secrets import login_in

PASSWORD = 'pa{ss"wörd '
OF_RDS = {"username": "reader", "password": PASSWORD, "engine": "postgres", "host": "db", "port": 5432}


@pytest.mark.parametrize("text", [PASSWORD, "12345", "null", '"quoted"', " x"])
def test_text_is_the_password_itself(text: str) -> None:
    assert login_in({"SecretString": text}, "secret") == (None, text)


def test_json_as_rds_keeps_it_holds_user_and_password() -> None:
    assert login_in({"SecretString": json.dumps(OF_RDS)}, "secret") == ("reader", PASSWORD)


def test_json_without_a_user_holds_the_password_alone() -> None:
    assert login_in({"SecretString": json.dumps({"password": PASSWORD})}, "secret") == (None, PASSWORD)


@pytest.mark.parametrize(
    ("response", "words"),
    [
        ({"SecretString": "{" + PASSWORD}, "begins as JSON, and is none"),
        ({"SecretString": json.dumps({"Password": PASSWORD})}, "'password'"),
        ({"SecretString": json.dumps({"password": [PASSWORD]})}, "'password'"),
        ({"SecretString": json.dumps({"password": PASSWORD, "username": 1})}, "'username'"),
        ({"SecretString": json.dumps({"password": ""})}, "'password'"),
        ({"SecretString": ""}, "is empty"),
        ({"SecretBinary": PASSWORD.encode()}, "bytes instead of text"),
    ],
)
def test_a_secret_in_another_form_is_refused_without_showing_it(
    response: dict[str, object], words: str
) -> None:
    with pytest.raises(SecretError, match=words) as caught:
        login_in(response, "source 'prd': secret 'db'")
    told = "".join(traceback.format_exception(caught.value)) + caught.value.hint
    assert "source 'prd': secret 'db'" in told
    assert "wörd" not in told
    assert "w\\u00f6rd" not in told
