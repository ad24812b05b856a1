"""Columns, key and snapshots of an Iceberg source, as its metadata file says them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata, new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.types import (
    FixedType,
    IcebergType,
    ListType,
    LongType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimeType,
    UUIDType,
)

from iceberg_datamart.errors import SourceError, SourceRefusedError
from iceberg_datamart.sources.glue.catalog import GlueTable
from iceberg_datamart.sources.glue.iceberg import iceberg_table
from support.fakes.ports import configured, table

if TYPE_CHECKING:
    from iceberg_datamart.core.source.reads import IcebergRead, SourceTable

PLACE = "s3://bucket/t/metadata/00000-a.metadata.json"


class Bucket:
    """An S3 client that knows one object; without content, it denies it."""

    def __init__(self, content: bytes | None) -> None:
        self._content = content

    def get_object(self, **_: str) -> dict[str, Any]:
        if self._content is None:
            raise ClientError(
                {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "GetObject"
            )
        return {"Body": io.BytesIO(self._content)}


def metadata(*types: IcebergType, key: list[int] | None = None) -> TableMetadata:
    """Return a table with column `id`, then `c2`, `c3`, … of these types."""
    others = [NestedField(number, f"c{number}", kind) for number, kind in enumerate(types, start=2)]
    schema = Schema(
        NestedField(1, "id", LongType(), required=True),
        *others,
        identifier_field_ids=[1] if key is None else key,
    )
    return new_table_metadata(schema, UNPARTITIONED_PARTITION_SPEC, UNSORTED_SORT_ORDER, "s3://bucket/t")


def described(content: bytes | None, place: str = PLACE, **settings: Any) -> tuple[SourceTable, IcebergRead]:
    config = configured(tables={"t": table("t", **{"primary_key": None, "cursor": None, **settings})})
    found = GlueTable("t", "glue:1/db/t", "", {"metadata_location": place}, {}, (), ())
    return iceberg_table("t", found, config.tables["t"], Bucket(content))


def written(*types: IcebergType, key: list[int] | None = None) -> bytes:
    return metadata(*types, key=key).model_dump_json().encode()


def test_columns_and_key_are_those_of_the_metadata() -> None:
    list_of = ListType(20, StringType(), element_required=False)
    source, read = described(written(TimestampType(), UUIDType(), FixedType(4), list_of))
    assert {column.name: column.type for column in source.columns} == {
        "id": "long",
        "c2": "timestamp",
        "c3": "string",
        "c4": "binary",
        "c5": "list<string>",
    }
    assert (source.primary_key, source.columns[0].nullable) == (("id",), False)
    assert (read.metadata, read.columns) == (PLACE, source.columns)


def test_a_table_recreated_is_another_source() -> None:
    assert described(written())[0].identity != described(written())[0].identity


def test_another_soft_delete_is_another_position() -> None:
    content = written()
    found = [described(content, soft_delete=text)[0].snapshots for text in (None, "id = 1")]
    assert found[0] != found[1]


def test_a_column_recreated_under_the_same_name_is_another_position() -> None:
    plain = written(LongType())
    again = plain.replace(b'"id":2,', b'"id":3,')
    assert again != plain
    assert described(plain)[0].snapshots == described(plain)[0].snapshots
    assert described(again)[0].snapshots != described(plain)[0].snapshots


@pytest.mark.parametrize(
    ("content", "settings", "words"),
    [
        (written(key=[]), {}, "no identifier fields"),
        (written(TimeType()), {"exclude": ["c2"]}, "column 'c2' of Iceberg table 't' has type time"),
        (
            written(StructType(NestedField(9, "x", LongType()))),
            {},
            "'c2' of Iceberg table 't' has type struct",
        ),
        (written(), {"primary_key": ["ID"]}, "no column 'ID'"),
        (written(), {"cursor": "gone"}, "no column 'gone'"),
        (written(StringType()), {"cursor": "c2"}, "cursor column 'c2' of table 't' has type string"),
        (written(), {"cursor": "id", "cursor_timezone": "Asia/Tokyo"}, "cursor_timezone is Asia/Tokyo"),
        (b'{"format-version": 9}', {}, "is not understood"),
        (written(), {"place": "hdfs://node/t/metadata/a.metadata.json"}, "no address on S3"),
        (written(), {"place": ""}, "no address on S3"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # the metadata has a fresh uuid each time
)
def test_a_table_that_cannot_be_followed_is_refused(
    content: bytes, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(SourceError, match=words):
        described(content, **settings)


def test_metadata_that_the_role_may_not_read_names_the_right() -> None:
    with pytest.raises(SourceRefusedError) as refused:
        described(None)
    assert "s3:GetObject" in (refused.value.hint or "")
