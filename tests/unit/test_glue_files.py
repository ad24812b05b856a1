"""What the catalog says of files, as columns of a mirror and options of a reader."""

from __future__ import annotations

from typing import Any

import pytest

from iceberg_datamart.core.settings.model import TableConfig
from iceberg_datamart.core.source.recipe import recipe_changes
from iceberg_datamart.errors import SourceError
from iceberg_datamart.sources.glue.catalog import GluePartition, GlueTable
from iceberg_datamart.sources.glue.files import GlueFiles, _columns
from iceberg_datamart.sources.glue.formats import file_form


def found(classification: str = "csv", **parts: Any) -> GlueTable:
    whole: dict[str, Any] = {
        "location": "s3://bucket/t/",
        "parameters": {"classification": classification, **parts.pop("parameters", {})},
        "serde": {},
        "columns": (("id", "bigint"),),
        "partition_columns": (),
        **parts,
    }
    return GlueTable("t", "glue:1/d/t", **whole)


def table(**settings: Any) -> TableConfig:
    return TableConfig.model_validate({"source": "s", "from": "t", "primary_key": ["id"], **settings})


@pytest.mark.parametrize(
    ("hive", "iceberg"),
    [
        ("tinyint", "int"),
        ("smallint", "int"),
        ("int", "int"),
        ("bigint", "long"),
        ("float", "float"),
        ("double", "double"),
        ("boolean", "boolean"),
        ("decimal(18,2)", "decimal(18, 2)"),
        ("string", "string"),
        ("varchar(12)", "string"),
        ("char(3)", "string"),
        ("date", "date"),
        ("timestamp", "timestamptz"),
        ("binary", "binary"),
        ("array<bigint>", "list<long>"),
    ],
)
def test_every_type_has_one_in_the_mirror(hive: str, iceberg: str) -> None:
    columns = _columns("t", found(columns=(("id", "bigint"), ("c", hive))), table())
    assert [(column.name, column.type, column.nullable) for column in columns] == [
        ("id", "long", False),
        ("c", iceberg, True),
    ]


@pytest.mark.parametrize(
    "hive", ["struct<a:int>", "map<string,int>", "array<struct<a:int>>", "uniontype<int>"]
)
def test_a_type_that_no_mirror_holds_is_refused_unless_it_is_excluded_or_text(hive: str) -> None:
    seen = found(columns=(("id", "bigint"), ("c", hive)))
    with pytest.raises(SourceError, match="column 'c'"):
        _columns("t", seen, table())
    assert [column.name for column in _columns("t", seen, table(exclude=["c"]))] == ["id"]
    assert _columns("t", seen, table(columns={"c": {"type": "string"}}))[1].type == "string"


def test_columns_of_partitions_stand_last() -> None:
    seen = found(partition_columns=(("day", "date"),))
    assert [column.name for column in _columns("t", seen, table())] == ["id", "day"]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({}, {"sep": ",", "quote": '"', "escape": '"', "header": "false"}),
        ({"serde": {"field.delim": "|"}}, {"sep": "|"}),
        ({"parameters": {"delimiter": ";"}}, {"sep": ";"}),
        (
            {"serde": {"separatorChar": "\t", "quoteChar": "'", "escapeChar": "\\"}},
            {"sep": "\t", "quote": "'", "escape": "\\"},
        ),
        ({"parameters": {"skip.header.line.count": "1"}}, {"header": "true", "enforceSchema": "true"}),
        ({"serde": {"serialization.encoding": "latin1"}}, {"encoding": "ISO-8859-1"}),
        ({"library": "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe"}, {"sep": "\x01"}),
    ],
)
def test_csv_is_read_as_its_serde_says(parts: dict[str, Any], said: dict[str, str]) -> None:
    options = file_form(found(**parts)).options
    assert options["mode"] == "FAILFAST"
    assert {name: options[name] for name in said} == said


@pytest.mark.parametrize(
    ("classification", "parts", "words"),
    [
        ("csv", {"serde": {"serialization.encoding": "UTF-16"}}, "'serialization.encoding' = 'UTF-16'"),
        ("csv", {"serde": {"serialization.encoding": "klingon"}}, "'serialization.encoding' = 'klingon'"),
        ("csv", {"serde": {"timestamp.formats": "dd.MM.yyyy"}}, "'timestamp.formats' = 'dd.MM.yyyy'"),
        ("csv", {"parameters": {"skip.footer.line.count": "1"}}, "'skip.footer.line.count' = '1'"),
        ("csv", {"parameters": {"skip.header.line.count": "2"}}, "skips 2 lines"),
        ("csv", {"serde": {"serialization.last.column.takes.rest": "true"}}, "takes.rest' = 'true'"),
        ("csv", {"serde": {"line.delim": "|"}}, "'line.delim'"),
        ("csv", {"serde": {"no.one.knows": "it"}}, "'no.one.knows' = 'it'"),
        ("csv", {"library": "org.apache.hadoop.hive.serde2.RegexSerDe"}, "has SerDe org.apache"),
        ("csv", {"columns": (("id", "bigint"), ("c", "array<int>"))}, "column 'c' .* is a list"),
        ("json", {"serde": {"mapping.ts": "timestamp"}}, "'mapping.ts' = 'timestamp'"),
        ("json", {"serde": {"case.insensitive": "FALSE"}}, "'case.insensitive' = 'FALSE'"),
        ("json", {"parameters": {"timestamp.formats": "millis"}}, "'timestamp.formats'"),
        ("orc", {"serde": {"orc.column.index.access": "true"}}, "'orc.column.index.access' = 'true'"),
        ("parquet", {"library": "org.apache.hadoop.hive.ql.io.orc.OrcSerde"}, "has SerDe org.apache"),
    ],
)
def test_what_a_serde_is_told_and_is_not_followed_is_refused(
    classification: str, parts: dict[str, Any], words: str
) -> None:
    with pytest.raises(SourceError, match=words) as refused:
        file_form(found(classification, **parts))
    assert "'t'" in refused.value.message
    assert refused.value.hint


def test_what_crawlers_and_athena_write_of_themselves_is_accepted() -> None:
    hive = "org.apache.hadoop.hive"
    told: dict[str, dict[str, Any]] = {
        "csv": {"library": f"{hive}.serde2.OpenCSVSerde", "serde": {"separatorChar": ",", "quoteChar": '"'}},
        "json": {"library": "org.openx.data.jsonserde.JsonSerDe", "serde": {"paths": "a,b"}},
        "parquet": {"library": f"{hive}.ql.io.parquet.serde.ParquetHiveSerDe"},
        "orc": {"library": f"{hive}.ql.io.orc.OrcSerde"},
        "avro": {"library": f"{hive}.serde2.avro.AvroSerDe", "serde": {"avro.schema.literal": "{}"}},
    }
    for classification, parts in told.items():
        serde = {"serialization.format": "1", **parts.pop("serde", {})}
        crawlers = {"UPDATED_BY_CRAWLER": "c", "compressionType": "none", "recordCount": "7"}
        file_form(found(classification, serde=serde, parameters=crawlers, **parts))


# --- the listing


class Bucket:
    """An S3 client that has objects of one byte, but for markers and copies, which are empty."""

    def __init__(self, *keys: str) -> None:
        self._objects = [
            {"Key": key, "Size": int("/_" not in key and "._C" not in key), "ETag": key}
            for key in sorted(keys)
        ]

    def get_paginator(self, _: str) -> Bucket:
        return self

    def paginate(self, *, Prefix: str, **_: str) -> list[dict[str, Any]]:  # noqa: N803  (boto3's)
        return [{"Contents": [each for each in self._objects if each["Key"].startswith(Prefix)]}]

    def list_objects_v2(self, *, Prefix: str, **_: str) -> dict[str, Any]:  # noqa: N803  (boto3's)
        return self.paginate(Prefix=Prefix)[0]


class Catalog:
    """A catalog of one table and its partitions."""

    def __init__(self, described: GlueTable, *partitions: GluePartition) -> None:
        self._table, self._partitions = described, partitions

    def table(self, *_: str) -> GlueTable:
        return self._table

    def partitions(self, _: str, *, columns: bool) -> tuple[GluePartition, ...]:
        del columns
        return self._partitions


def described(
    monkeypatch: pytest.MonkeyPatch,
    seen: GlueTable,
    *keys: str,
    partitions: tuple[GluePartition, ...] = (),
    **settings: Any,
) -> tuple[Any, Any, str]:
    """Return what is said of a table in a bucket of such keys, how it is read, and its digest."""
    monkeypatch.setattr("iceberg_datamart.sources.glue.files.client", lambda _: Bucket(*keys))
    files: Any = GlueFiles(Catalog(seen, *partitions))  # type: ignore[arg-type]
    found = files.describe("t", table(**settings))
    return found.facts, found.read(None), found.fingerprint(None)


def test_the_files_are_those_below_the_location_whatever_signs_are_in_their_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = ("t/b#1?.csv", "t/a%20 [x].csv", "t/_SUCCESS", "t/.part", "t2/c.csv")
    _, read, _ = described(monkeypatch, found(), *keys)
    assert read.folders == (((), ("s3://bucket/t/a%20 [x].csv", "s3://bucket/t/b#1?.csv")),)


@pytest.mark.parametrize(
    ("location", "keys", "words"),
    [
        ("s3://bucket/t/", ("t//a.csv",), "t//a.csv cannot be read, because it has two slashes"),
        ("s3://bucket/t/", ("t/../a.csv",), "has . or .. for a folder"),
        ("s3://bucket/t/", ("t/a/",), "ends with a slash"),
        ("s3://bucket/t/", ("t/a.COPYING", "t/a._COPYING_"), None),
        ("s3://bucket//lead/", ("/lead/a.csv",), "begins with a slash"),
        ("s3://bucket/t/a.csv", ("t/a.csv",), "is one file"),
        ("s3://bucket/none/", ("t/a.csv",), "no object is"),
        ("hdfs://node/t/", (), "no address on S3"),
        ("", (), "no address on S3"),
    ],
)
def test_a_key_or_a_location_that_hadoop_would_read_otherwise_is_refused(
    monkeypatch: pytest.MonkeyPatch, location: str, keys: tuple[str, ...], words: str | None
) -> None:
    if words is None:  # Empty, and so no file.
        assert described(monkeypatch, found(location=location), *keys)[1].folders[0][1] == (
            "s3://bucket/t/a.COPYING",
        )
        return
    with pytest.raises(SourceError) as refused:
        described(monkeypatch, found(location=location), *keys)
    assert words in refused.value.message
    assert refused.value.exit_code == 1


def test_a_folder_with_a_marker_alone_is_an_empty_table(monkeypatch: pytest.MonkeyPatch) -> None:
    assert described(monkeypatch, found(), "t/_SUCCESS")[1].folders == ()


def test_the_root_of_a_bucket_may_be_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    for location in ("s3://bucket", "s3://bucket/"):
        assert described(monkeypatch, found(location=location), "a.csv")[1].folders[0][1] == (
            "s3://bucket/a.csv",
        )


DAYS = {"partition_columns": (("day", "date"),)}


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (GluePartition(("2026-03-02",), "s3://bucket/t/d", columns=("b", "id")), "has the columns b, id"),
        (
            GluePartition(("2026-03-02",), "s3://bucket/t/d", ("", {"field.delim": ";"})),
            "has a SerDe that reads it otherwise",
        ),
        (GluePartition(("2026-03-02",), "s3://bucket/none"), "has no partitions, or none with an object"),
        (None, "has no partitions, or none with an object"),
    ],
)
def test_a_partition_that_is_not_read_as_its_table_is_refused(
    monkeypatch: pytest.MonkeyPatch, part: GluePartition | None, words: str
) -> None:
    parts = () if part is None else (part,)
    with pytest.raises(SourceError) as refused:
        described(monkeypatch, found(**DAYS), "t/d/a.csv", partitions=parts)
    assert words in refused.value.message


def test_a_partition_that_says_the_same_as_its_table_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = tuple(
        GluePartition((value,), f"s3://bucket/t/day={value}", ("", {"serialization.format": "1"}), ("id",))
        for value in ("2026-03-02", "__HIVE_DEFAULT_PARTITION__")
    )
    keys = [f"{part.location.removeprefix('s3://bucket/')}/a.csv" for part in parts]
    read = described(monkeypatch, found(**DAYS), *keys, partitions=parts)[1]
    assert [values for values, _ in read.folders] == [("2026-03-02",), (None,)]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cursor": "name"}, "cursor column 'name' of table 't' has type string"),
        ({"cursor": "at", "cursor_timezone": "Europe/Berlin"}, "cursor_timezone is Europe/Berlin"),
    ],
)
def test_a_cursor_that_would_be_read_otherwise_than_it_is_meant_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], words: str
) -> None:
    seen = found(columns=(("id", "bigint"), ("name", "string"), ("at", "timestamp"), ("day", "date")))
    with pytest.raises(SourceError, match=words):
        described(monkeypatch, seen, "t/a.csv", **settings)
    described(monkeypatch, seen, "t/a.csv", cursor="day", cursor_timezone="Europe/Berlin")


CORRECTED: dict[str, dict[str, Any]] = {
    "the SerDe": {"parameters": {"skip.header.line.count": "1"}},
    "the columns in the catalog": {"columns": (("id", "bigint"), ("c", "string"))},
    "the location": {"location": "s3://bucket/t2/"},
    "the classification": {"classification": "json"},
    "the partition columns": DAYS,
}


@pytest.mark.parametrize("what", CORRECTED)
def test_r19_a_table_that_was_corrected_is_read_again_whole(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    keys = ("t/a", "t2/a")
    parts = (GluePartition(("2026-03-02",), "s3://bucket/t"),)
    before, _, digest = described(monkeypatch, found(), *keys)
    after, _, other = described(monkeypatch, found(**CORRECTED[what]), *keys, partitions=parts)
    assert what in recipe_changes(before.recipe, after.recipe)
    assert digest != other
    assert described(monkeypatch, found(), *keys)[0].recipe == before.recipe
    assert described(monkeypatch, found(), *keys, "t/b")[0].recipe == before.recipe, "files are data"
