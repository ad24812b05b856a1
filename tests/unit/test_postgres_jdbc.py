"""PostgreSQL's own URLs as JDBC spells them, and ranges of a table's pages."""

from __future__ import annotations

import os
import re
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from pydantic import ValidationError

from iceberg_datamart.core.settings.model import PostgresSource
from iceberg_datamart.errors import ConfigError
from iceberg_datamart.sources.postgres.jdbc import credentials_of, ctid_ranges, jdbc_text, jdbc_url

words = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=12)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)


def source(url: str, **settings: Any) -> PostgresSource:
    return PostgresSource.model_validate({"type": "postgres", "url": url, **settings})


def parts(url: str) -> tuple[str, str, dict[str, str]]:
    """Return place, database and parameters of a JDBC URL."""
    found = urlsplit(jdbc_url(source(url)).removeprefix("jdbc:"))
    parameters = {name: values[0] for name, values in parse_qs(found.query).items()}
    return found.netloc, unquote(found.path[1:]), parameters


@pytest.mark.parametrize(
    ("url", "place", "database"),
    [
        ("postgresql://reader@db:5433/prd", "db:5433", "prd"),
        ("postgres://db/prd", "db:5432", "prd"),
        ("postgresql://reader:secret@[::1]:5433/prd", "[::1]:5433", "prd"),
        ("postgresql://db/my%2Fdb%3F", "db:5432", "my/db?"),
        ("postgresql:///prd?host=10.0.0.1&port=6000", "10.0.0.1:6000", "prd"),
        ("postgresql://reader@db", "db:5432", "reader"),
    ],
)
def test_host_port_and_database_are_those_of_the_url(url: str, place: str, database: str) -> None:
    assert parts(url)[:2] == (place, database)


def test_parameters_get_the_names_that_jdbc_has_for_them() -> None:
    url = (
        "postgresql://db/prd?sslmode=verify-full&sslrootcert=/a b.pem&connect_timeout=7&application_name=etl"
    )
    found = parts(url.replace(" ", "%20"))[2]
    del found["gssEncMode"]  # as libpq was built
    assert found == {
        "tcpKeepAlive": "true",
        "prepareThreshold": "0",
        "assumeMinServerVersion": "14",
        "sslmode": "verify-full",
        "sslrootcert": "/a b.pem",
        "connectTimeout": "7",
        "ApplicationName": "etl",
    }


@pytest.mark.parametrize("name", ["target_session_attrs=any", "channel_binding=require", "service=x"])
def test_a_parameter_that_jdbc_does_not_have_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match=name.split("=", maxsplit=1)[0]):
        jdbc_url(source(f"postgresql://db/prd?{name}"))


@pytest.mark.parametrize(
    "url",
    ["postgresql://a,b/prd", "postgresql:///prd?host=/var/run/postgresql", "postgresql://%2Fvar%2Frun/prd"],
    ids=["several hosts", "a socket", "a socket as host"],
)
def test_a_host_that_jdbc_cannot_reach_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        jdbc_url(source(url))


@given(words, words)
def test_no_credential_stands_in_the_url_of_jdbc(user: str, password: str) -> None:
    marked = f"role{user}", f"secret{password}"
    found = source("postgresql://db/prd", user=marked[0], password=marked[1])
    assert jdbc_url(found) == jdbc_url(source("postgresql://db/prd"))
    assert credentials_of(found) == {"user": marked[0], "password": marked[1]}


def test_credentials_in_the_url_are_decoded_and_leave_it() -> None:
    found = source("postgresql://re%40der:p%2Fw@db/prd")
    assert credentials_of(found) == {"user": "re@der", "password": "p/w"}
    assert "p/w" not in jdbc_url(found)
    assert "p%2Fw" not in jdbc_url(found)


def test_what_is_not_set_is_no_credential() -> None:
    assert "password" not in credentials_of(source("postgresql://db/prd", user="", password=""))


def test_the_urls_role_goes_before_the_setting_as_its_description_says() -> None:
    assert credentials_of(source("postgresql://reader@db/prd", user="other"))["user"] == "reader"


@given(words)
def test_any_database_name_is_carried_whole(name: str) -> None:
    url = "postgresql://db/" + "".join(f"%{byte:02X}" for byte in name.encode())
    assert conninfo_to_dict(url)["dbname"] == name
    assert parts(url)[1] == name


def test_a_malformed_url_is_an_error_without_the_password() -> None:
    with pytest.raises(ValidationError) as refused:
        source("postgresql://reader:pa%ss@db/prd")
    with pytest.raises(ConfigError) as caught:
        jdbc_url(source("postgresql://reader:pass@db/prd?nonsense=pass"))
    assert "pa%ss" not in str(refused.value)
    assert "pass" not in caught.value.message
    assert "Percent-encode" in caught.value.hint


# --- SQL

# As PostgreSQL reads it, and as pgjdbc has to be told.
TEXTS = {
    "tags ? 'a'": "tags ?? 'a'",
    "tags ?| a and tags ?& b": "tags ??| a and tags ??& b",
    "'it''s ?' ? e'\\'?' ? \"odd \"\" ?\"": "'it''s ?' ?? e'\\'?' ?? \"odd \"\" ?\"",
    r"'\' ? E'\\' ?": r"'\' ?? E'\\' ??",
    "$$?'$$ ? $a$ ? $$ ?' $a$ ?": "$$?'$$ ?? $a$ ? $$ ?' $a$ ??",
    "a$b ? c$b": "a$b ?? c$b",
    "'? -- ?' ? /*": "'? -- ?' ?? /*",
    "? -- '?\n?": "?? -- '?\n??",
    "? /* ? /* '? */ ? */ ?": "?? /* ? /* '? */ ? */ ??",
    "a ?? b": "a ???? b",
}


@pytest.mark.parametrize("text", TEXTS)
def test_r17_a_sign_that_jdbc_takes_for_a_parameter_is_doubled_outside_of_texts_names_and_comments(
    text: str,
) -> None:
    assert jdbc_text(text) == TEXTS[text]


@given(st.lists(st.sampled_from(["'", '"', "?", "a", "$", "$$", "--", "/*", "*/", "\n", "E'", "\\", " "])))
def test_r17_nothing_but_that_sign_is_changed(words: list[str]) -> None:
    text = "".join(words)
    assert jdbc_text(text).replace("?", "") == text.replace("?", "")


# --- pages

RANGE = re.compile(r"_datamart_ctid >= '\((\d+),0\)'::tid(?: and _datamart_ctid < '\((\d+),0\)'::tid)?")


@given(st.integers(0, 2**32 - 1), st.none() | st.integers(1, 200))
def test_ranges_of_pages_hold_every_page_once(pages: int, partitions: int | None) -> None:
    ranges = [RANGE.fullmatch(text) for text in ctid_ranges(pages, partitions)]
    edges = [(int(found[1]), found[2] and int(found[2])) for found in ranges if found is not None]
    assert len(edges) == len(ranges)
    assert edges[0][0] == 0
    assert edges[-1][1] is None
    for (start, end), (following, _) in pairwise(edges):
        assert start < following
        assert end == following


@pytest.mark.parametrize(
    ("pages", "partitions", "count"),
    [(0, None, 1), (1, None, 1), (16_384, None, 1), (16_385, None, 2), (2**31, None, 64), (10, 4, 4)],
)
def test_large_tables_are_split_and_small_ones_are_not(
    pages: int, partitions: int | None, count: int
) -> None:
    assert len(ctid_ranges(pages, partitions)) == count
