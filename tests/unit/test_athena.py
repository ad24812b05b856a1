"""The check of what Athena requires: it passes a sound table, and finds each thing that is wrong with one."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from support.oracles.athena import problems

if TYPE_CHECKING:
    from collections.abc import Callable

    Json = dict[str, Any]

FIELDS = [
    {"id": 1, "name": "id", "required": True, "type": "long"},
    {"id": 2, "name": "price", "required": False, "type": "decimal(12, 2)"},
    {"id": 3, "name": "at", "required": False, "type": "timestamptz"},
    {
        "id": 4,
        "name": "tags",
        "required": False,
        "type": {"type": "list", "element-id": 5, "element": "string"},
    },
]
SOUND: Json = {
    "format-version": 2,
    "location": "s3://bucket/datamart/account",
    "schemas": [{"type": "struct", "schema-id": 0, "fields": FIELDS}],
    "properties": {"write.merge.mode": "merge-on-read"},
    "current-snapshot-id": 12,
    "refs": {"main": {"snapshot-id": 12, "type": "branch"}},
    "snapshots": [
        {"sequence-number": 1, "snapshot-id": 11, "timestamp-ms": 1000},
        {"sequence-number": 2, "snapshot-id": 12, "timestamp-ms": 2000},
    ],
    "snapshot-log": [{"timestamp-ms": 1001, "snapshot-id": 11}, {"timestamp-ms": 2001, "snapshot-id": 12}],
}
FILES: list[Json] = [
    {"content": "EXISTING", "file_format": "PARQUET", "file_path": "s3://bucket/1.parquet"},
    {"content": "POSITION_DELETES", "file_format": "PARQUET", "file_path": "s3://bucket/2.parquet"},
]
IN_GLUE: Json = {
    "Name": "account",
    "DatabaseName": "datamart",
    "Parameters": {"table_type": "ICEBERG", "metadata_location": "s3://bucket/3.metadata.json"},
}


def test_a_sound_table_has_no_problem() -> None:
    assert problems(SOUND, FILES, IN_GLUE) == []


def test_an_empty_table_has_no_problem() -> None:
    empty = {name: SOUND[name] for name in ("format-version", "location", "schemas")}
    assert problems({**empty, "current-snapshot-id": -1, "snapshots": []}) == []


def add_field(name: str, kind: Any) -> Callable[[Json], object]:
    return lambda m: m["schemas"][0]["fields"].append({"id": 9, "name": name, "type": kind})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda m: m.update({"format-version": 3}), "format version 3"),
        (lambda m: m.update({"format-version": 1}), "format version 1"),
        (lambda m: m["properties"].update({"write.format.default": "orc"}), "written as orc"),
        (add_field("n", "uuid"), "column 'n' has type uuid"),
        (add_field("n", "fixed[16]"), "column 'n' has type fixed[16]"),
        (add_field("n", "time"), "column 'n' has type time"),
        (add_field("n", "timestamp_ns"), "column 'n' has type timestamp_ns"),
        (add_field("n", {"type": "list", "element": "uuid"}), "column 'n': element has type uuid"),
        (add_field("n", {"type": "map", "key": "time", "value": "int"}), "column 'n': key has type time"),
        (
            add_field("n", {"type": "struct", "fields": [{"name": "deep", "type": "uuid"}]}),
            "column 'n': column 'deep' has type uuid",
        ),
        (add_field("ID", "int"), "column 'ID' differs from another by case alone"),
        (add_field("ä" * 128, "int"), "is longer than 255 bytes"),
        (lambda m: m["refs"].update(old={"snapshot-id": 10, "type": "tag"}), "ref 'old' names snapshot 10"),
        (lambda m: m["snapshots"][0].update({"parent-snapshot-id": None}), "0.parent-snapshot-id is null"),
        (lambda m: m["refs"].pop("main"), "ref 'main' is not the current snapshot 12"),
        (lambda m: m["snapshots"][1].update({"timestamp-ms": 999}), "snapshot 12 is older than 11"),
        (lambda m: m["snapshot-log"][1].update({"timestamp-ms": 1000}), "log goes back in time"),
        (lambda m: m["snapshot-log"].pop(), "log does not end with the current snapshot 12"),
    ],
)
def test_what_is_wrong_with_the_metadata_is_found(spoil: Callable[[Json], object], words: str) -> None:
    metadata = deepcopy(SOUND)
    spoil(metadata)
    found = problems(metadata, FILES, IN_GLUE)
    assert any(words in problem for problem in found), found


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ({"content": "EQUALITY_DELETES"}, "holds deletes by equality"),
        ({"content": "POSITION_DELETES", "file_format": "PUFFIN"}, "is PUFFIN, not Parquet"),
        ({"file_format": "ORC"}, "is ORC, not Parquet"),
        ({"file_format": "AVRO"}, "is AVRO, not Parquet"),
    ],
)
def test_a_file_that_the_job_does_not_promise_is_found(file: Json, words: str) -> None:
    (found,) = problems(SOUND, [*FILES, {**FILES[0], "file_path": "s3://bucket/9", **file}])
    assert words in found


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: t["Parameters"].pop("table_type"), "table_type is None"),
        (lambda t: t["Parameters"].pop("metadata_location"), "metadata_location is None"),
        (lambda t: t.update(Name="Account"), "the table's name 'Account'"),
        (lambda t: t.update(DatabaseName="data-mart"), "the database's name 'data-mart'"),
    ],
)
def test_what_is_wrong_with_the_glue_table_is_found(spoil: Callable[[Json], object], words: str) -> None:
    table = deepcopy(IN_GLUE)
    spoil(table)
    (found,) = problems(SOUND, FILES, table)
    assert words in found


def test_a_table_of_glue_that_lies_elsewhere_than_on_s3_is_found() -> None:
    assert problems({**SOUND, "location": "file:///lake/account"}, FILES) == []
    (found,) = problems({**SOUND, "location": "file:///lake/account"}, FILES, IN_GLUE)
    assert "not on S3" in found
