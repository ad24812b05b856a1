"""Lines of JSON: every digit as it stands, every object, and an error for what says two things or none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.lake.spark.json_lines import MalformedLineError, Value, rows_in

COLUMNS = [("id", False), ("tags", True)]


def rows(line: str, encoding: str = "utf-8") -> list[tuple[Value, ...]]:
    return rows_in(line.encode(encoding), COLUMNS, encoding)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0.1234567890123456789", "0.1234567890123456789"),
        ("1234567890123456.70", "1234567890123456.70"),
        ("1.50", "1.50"),
        ("1e-05", "1e-05"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("NaN", "NaN"),
        ("true", "true"),
        ("null", None),
        ('""', ""),
        ('"1.50"', "1.50"),
        (r'"a\"b\\c\nd\u00e9\ud83d\ude00"', 'a"b\\c\ndé😀'),
        ('{"b": 1.50, "a": ["x", null, 0.10]}', '{"b":1.50,"a":["x",null,0.10]}'),
    ],
)
def test_a_value_is_the_text_that_stands_there(value: str, text: str | None) -> None:
    assert rows(f'{{"id": {value}}}') == [(text, None)]
    assert rows(f'{{"tags": [{value}]}}') == [(None, [text])]


@pytest.mark.parametrize(
    "line", ['{"id":1}{"id":2}', ' {"id":1}\t {"id":2} ', '[{"id":1},{"id":2}]', '{"ID":1}{"Id":2}']
)
def test_every_object_of_a_line_is_a_row_whatever_the_case_of_its_names(line: str) -> None:
    assert rows(line) == [("1", None), ("2", None)]


@pytest.mark.parametrize("line", ["", "  ", "[]", "\t\r"])
def test_a_line_without_objects_has_no_rows(line: str) -> None:
    assert rows(line) == []


@pytest.mark.parametrize(
    "line",
    [
        '{"id": 1} garbage',
        '{"id": 1},',
        '{"id": 1',
        '{"id": 01}',
        '{"id": +1}',
        "{'id': 1}",
        '{"id": 1, "id": 2}',
        '{"id": 1, "ID": 1}',
        '{"id": "half \\ud83d"}',
        '{"tags": "[1]"}',
        '{"tags": {"a": 1}}',
        '"id"',
        "1",
        "null",
        '[{"id": 1}, 2]',
        "[" * 100_000,
    ],
)
def test_a_line_that_says_two_things_or_none_is_refused_and_shown(line: str) -> None:
    with pytest.raises(MalformedLineError) as refused:
        rows(line)
    assert repr(line[:80]) in str(refused.value)


def test_bytes_of_another_encoding_are_refused_and_read_in_their_own() -> None:
    assert rows('{"id": "Zoë"}', "ISO-8859-1") == [("Zoë", None)]
    with pytest.raises(MalformedLineError, match="decode byte 0xeb"):
        rows_in('{"id": "Zoë"}'.encode("latin-1"), COLUMNS, "UTF-8")


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.booleans()), st.text())
def test_any_text_comes_back(others: dict[str, str | int], value: str) -> None:
    members = {key: each for key, each in others.items() if key.lower() not in ("id", "tags")}
    assert rows(json.dumps({**members, "id": value})) == [(value, None)]
    assert rows(json.dumps({"tags": [value]}, ensure_ascii=False)) == [(None, [value])]
