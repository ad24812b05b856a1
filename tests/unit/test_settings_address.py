"""A malformed address is refused, and no message shows a part of the password in one."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from iceberg_datamart.core.settings.address import address_problem, shown_address
from iceberg_datamart.core.settings.model import CatalogConfig, PostgresSource
from iceberg_datamart.errors import ConfigError
from iceberg_datamart.lake.opening import open_catalog
from iceberg_datamart.lake.spark.session import catalog_settings

SECRET = "Hunter2Secret"
MALFORMED = [
    f"reader:p@{SECRET}@db:5432/x",
    f"reader:p@{SECRET}@{SECRET}@db/x",
    f"reader:p/{SECRET}@db:5432/x",
    f"reader:p?{SECRET}@db:5432/x",
    f"reader:p#{SECRET}@db:5432/x",
    f"reader:{SECRET}%@db/x",
    f"reader:{SECRET}%zz@db/x",
    f"reader:{SECRET}%00@db/x",
    f"reader:{SECRET}@db/x#y",
    f"reader:{SECRET}",
    f"reader:{SECRET}/x",
    f"reader:{SECRET}@[::1/x",
    f"reader:{SECRET}@[::1]x/x",
    f"reader:{SECRET}@::1/x",
    f"reader:{SECRET}@db:54x/x",
]


@pytest.mark.parametrize("address", MALFORMED)
def test_a_malformed_address_is_refused_without_a_word_of_its_password(address: str) -> None:
    texts = [shown_address(f"postgresql://{address}")]
    for model, settings in (
        (CatalogConfig, {"type": "sql", "uri": f"postgresql+psycopg://{address}", "warehouse": "lake"}),
        (CatalogConfig, {"type": "rest", "uri": f"https://{address}", "warehouse": "lake"}),
        (PostgresSource, {"type": "postgres", "url": f"postgresql://{address}"}),
    ):
        with pytest.raises(ValidationError) as caught:
            model.model_validate(settings)
        (problem,) = caught.value.errors()
        assert problem["loc"][0] in ("uri", "url")
        texts.append(problem["msg"])
        assert "percent-encode" in problem["msg"]
    assert not [text for text in texts if SECRET[:7] in text]


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://reader@db:5432/prd",
        "postgres://db/prd?sslmode=require&application_name=a%20b",
        "postgresql:///prd?host=/var/run/postgresql",
        "postgresql://reader:a%40b%2F%25@[::1]:5432/prd",
        "postgresql://one:1,two:2/prd",
        "postgresql+psycopg://lake:a:b@db/catalog",
        "https://catalog.example.com/v1/",
        "sqlite:////data/a@b#c%1/catalog.db",
        "sqlite:///catalog.db",
    ],
)
def test_an_address_that_means_one_thing_alone_is_not_refused(address: str) -> None:
    assert address_problem(address) is None


LOGINS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@given(user=LOGINS, password=LOGINS.filter(lambda text: len(text) > 3 and text not in "postgresql://db:1/x"))
def test_any_login_may_be_percent_encoded_and_is_not_shown(user: str, password: str) -> None:
    address = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@db:1/x?password={SECRET}"
    assert address_problem(address) is None
    assert shown_address(address) == "postgresql://db:1/x"


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "postgresql+nothing", "nothing"])
def test_a_catalog_that_cannot_be_opened_is_named_without_its_login(driver: str) -> None:
    uri = f"{driver}://lake:{SECRET}@127.0.0.1:1/x?nonsense={SECRET}"
    config = CatalogConfig.model_validate({"type": "sql", "uri": uri, "warehouse": "lake"})
    with pytest.raises(ConfigError) as caught:
        open_catalog(config)
    assert f"{driver}://127.0.0.1:1/x" in caught.value.message
    assert SECRET not in caught.value.message


def test_a_login_among_the_parameters_is_not_in_the_address_for_java() -> None:
    uri = f"postgresql+psycopg://db/catalog?user=lake&password={SECRET}&sslmode=require"
    found = catalog_settings(CatalogConfig.model_validate({"type": "sql", "uri": uri, "warehouse": "lake"}))
    prefix = "spark.sql.catalog.datamart."
    assert found[prefix + "uri"] == "jdbc:postgresql://db/catalog?sslmode=require"
    assert (found[prefix + "jdbc.user"], found[prefix + "jdbc.password"]) == ("lake", SECRET)
