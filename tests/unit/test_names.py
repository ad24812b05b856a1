"""The name of a source table is read back as it was written, or refused with what to write instead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.names import SourceName

PARTS = st.text(min_size=1)


@given(st.none() | PARTS, PARTS)
def test_every_source_name_is_read_back_from_its_text(schema: str | None, name: str) -> None:
    assert SourceName.parse(str(SourceName(schema, name))) == SourceName(schema, name)


@pytest.mark.parametrize(
    ("text", "schema", "name"),
    [
        ("account", None, "account"),
        ("public.account", "public", "account"),
        ("My Schema.Order Items", "My Schema", "Order Items"),
        ('"My Schema"."Order ""x"" Items"', "My Schema", 'Order "x" Items'),
        ('public."Order"', "public", "Order"),
        ('"a.b"', None, "a.b"),
    ],
)
def test_a_source_name_keeps_case_spaces_and_quotes(text: str, schema: str | None, name: str) -> None:
    assert SourceName.parse(text) == SourceName(schema, name)


@pytest.mark.parametrize(
    "text",
    ["", ".", "a.", ".a", "a.b.c", '"a', 'a"b"', '"a"b', '""', '"a"."b"."c"', "a. b", " a", '"a" . "b"'],
)
def test_a_source_name_that_could_mean_two_things_is_refused_with_the_fix(text: str) -> None:
    with pytest.raises(ValueError, match="put double quotes around"):
        SourceName.parse(text)


def test_a_source_name_has_no_empty_part() -> None:
    with pytest.raises(ValueError, match="empty"):
        SourceName("", "account")
