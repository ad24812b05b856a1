"""What the settings of a source may say: each kind is judged by its own rules."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from iceberg_datamart.core.settings.model import Config, GlueSource
from support.settings import working


def raw(**changes: Any) -> dict[str, Any]:
    return working(**{"tables": {"account": {"source": "prd", "from": "account"}}, **changes})


def problems(settings: dict[str, Any]) -> dict[str, str]:
    """Return the message of each refused path."""
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(settings)
    return {".".join(map(str, each["loc"])): each["msg"] for each in caught.value.errors()}


def glue(**tables: str) -> dict[str, Any]:
    source = {"type": "glue", "database": "crawled"}
    return raw(
        sources={"prd": source}, tables={name: {"source": "prd", "from": of} for name, of in tables.items()}
    )


def test_a_source_may_be_a_database_of_the_data_catalog() -> None:
    config = Config.model_validate(glue(account="prd_public_account"))
    assert config.sources["prd"] == GlueSource(type="glue", database="crawled")
    assert Config.model_validate(config.model_dump(by_alias=True)) == config


@pytest.mark.parametrize("name", ["public.account", '"public"."account"'])
def test_a_glue_table_is_named_without_its_database(name: str) -> None:
    assert "Glue table alone" in problems(glue(account=name))["tables.account.from"]
    assert problems(glue(account="a.b.c")).keys() == {"tables.account.from"}


@pytest.mark.parametrize(
    ("source", "paths"),
    [
        ({"type": "glue"}, {"sources.prd.database"}),
        ({"type": "glue", "database": "a", "url": "postgres://db"}, {"sources.prd.url"}),
        ({"type": "mysql", "url": "mysql://db"}, {"sources.prd.type"}),
        ({"url": "postgres://db"}, {"sources.prd.type"}),
        ("postgres://db", {"sources.prd"}),
    ],
)
def test_a_source_is_judged_by_its_kind(source: object, paths: set[str]) -> None:
    tables = {"account": {"source": "prd", "from": "account"}}
    assert problems(raw(sources={"prd": source}, tables=tables)).keys() == paths


def test_a_password_is_given_once() -> None:
    source = {"type": "postgres", "url": "postgres://db/prd", "password": "x", "secret": "prd/reader"}
    assert "not both" in problems(raw(sources={"prd": source}))["sources.prd.secret"]
    unset = Config.model_validate(raw(sources={"prd": {**source, "password": ""}})).sources["prd"]
    assert (unset.password, unset.secret) == (None, "prd/reader")
