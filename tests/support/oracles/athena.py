"""What Athena requires of an Iceberg table, as AWS documents it, asked of the metadata itself.

Athena cannot be run outside AWS; these are its documented conditions, not its behaviour:
https://docs.aws.amazon.com/athena/latest/ug/querying-iceberg.html (Glue catalog, format version 2),
https://docs.aws.amazon.com/athena/latest/ug/querying-iceberg-supported-data-types.html (types),
https://docs.aws.amazon.com/athena/latest/ug/tables-databases-columns-names.html (names in lower case).
The job promises more than Athena asks: Parquet alone, and no deletes but by position.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from support.oracles import second_reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Json = Mapping[str, Any]

TYPES = {
    *("boolean", "int", "long", "float", "double", "string", "binary", "date", "timestamp", "timestamptz")
}
_DECIMAL = re.compile(r"decimal\(\d{1,2}, ?\d{1,2}\)")
_LONGEST_NAME = 255  # bytes
_NAME = re.compile(r"[a-z0-9_]+")


def problems_at(
    metadata_location: str, s3: second_reader.S3 | None = None, glue_table: Json | None = None
) -> list[str]:
    """Return what Athena could not read of a table: in its metadata, or in the files of any snapshot."""
    metadata = second_reader.metadata(metadata_location, s3)
    files = [
        file
        for snapshot in metadata.get("snapshots", ())
        for file in second_reader.live_files(metadata_location, snapshot["snapshot-id"], s3)
    ]
    found = problems(metadata, files, glue_table)
    if (
        glue_table is not None
        and glue_table.get("Parameters", {}).get("metadata_location") != metadata_location
    ):
        found.append(f"Glue names another metadata file than {metadata_location}")
    return found


def problems(metadata: Json, files: Iterable[Json] = (), glue_table: Json | None = None) -> list[str]:
    """Return what Athena could not read, or what the job does not promise; empty for a sound table.

    `metadata` is the metadata file's JSON, `files` are those of `second_reader.live_files`, and `glue_table`
    is the table as Glue's GetTable returns it, where there is one.
    """
    found = [
        *_format_problems(metadata),
        *_null_problems(metadata),
        *_schema_problems(metadata),
        *_history_problems(metadata),
        *_file_problems(files),
    ]
    return found if glue_table is None else [*found, *_glue_problems(metadata, glue_table)]


def _format_problems(metadata: Json) -> Iterator[str]:
    if metadata["format-version"] != 2:
        yield f"format version {metadata['format-version']}, not 2"
    written = metadata.get("properties", {}).get("write.format.default", "parquet")
    if written.lower() != "parquet":
        yield f"data files are written as {written}, not Parquet"


def _null_problems(part: Any, path: str = "") -> Iterator[str]:
    """Yield fields that are null: what is not there must be left out.

    Iceberg 1.0, Glue 4.0's, and 1.4, Athena's, read no snapshot with `"parent-snapshot-id": null`: their
    https://github.com/apache/iceberg/blob/apache-iceberg-1.4.2/core/src/main/java/org/apache/iceberg/SnapshotParser.java
    asks whether the field is there, and then for a number.
    """
    if part is None:
        yield f"{path} is null"
    pairs = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, each in pairs:
        yield from _null_problems(each, f"{path}.{key}".lstrip("."))


def _schema_problems(metadata: Json) -> Iterator[str]:
    """Yield problems of all schemas: time travel reads a snapshot in the schema that it had."""
    for schema in metadata["schemas"]:
        yield from _struct_problems(schema, f"schema {schema['schema-id']}: ")


def _struct_problems(struct: Json, path: str) -> Iterator[str]:
    names = [field["name"] for field in struct["fields"]]
    lowered = [name.lower() for name in names]
    for name in names:
        if lowered.count(name.lower()) > 1:
            yield f"{path}column {name!r} differs from another by case alone"
        if not 0 < len(name.encode()) <= _LONGEST_NAME:
            yield f"{path}column {name!r} is longer than {_LONGEST_NAME} bytes"
    for field in struct["fields"]:
        yield from _type_problems(field["type"], f"{path}column {field['name']!r}")


def _type_problems(kind: str | Json, path: str) -> Iterator[str]:
    if isinstance(kind, str):
        if kind not in TYPES and not _DECIMAL.fullmatch(kind):
            yield f"{path} has type {kind}"
    elif kind["type"] == "struct":
        yield from _struct_problems(kind, f"{path}: ")
    else:
        parts = ["element"] if kind["type"] == "list" else ["key", "value"]
        for part in parts:
            yield from _type_problems(kind[part], f"{path}: {part}")


def _history_problems(metadata: Json) -> Iterator[str]:
    """Yield what would lead time travel astray: by version through the snapshots, by time through the log."""
    snapshots = sorted(metadata.get("snapshots", ()), key=lambda each: each.get("sequence-number", 0))
    ids, current = {each["snapshot-id"] for each in snapshots}, metadata.get("current-snapshot-id")
    current = None if current == -1 else current
    refs = metadata.get("refs", {})
    for name, ref in refs.items():
        if ref["snapshot-id"] not in ids:
            yield f"ref {name!r} names snapshot {ref['snapshot-id']}, which is not there"
    if refs.get("main", {}).get("snapshot-id") != current:
        yield f"ref 'main' is not the current snapshot {current}"
    for one, next_one in pairwise(snapshots):
        if next_one["timestamp-ms"] < one["timestamp-ms"]:
            yield f"snapshot {next_one['snapshot-id']} is older than {one['snapshot-id']}, which came before"
    log = metadata.get("snapshot-log", [])
    if any(later["timestamp-ms"] < earlier["timestamp-ms"] for earlier, later in pairwise(log)):
        yield "the snapshot log goes back in time"
    if current is not None and (not log or log[-1]["snapshot-id"] != current):
        yield f"the snapshot log does not end with the current snapshot {current}"


def _file_problems(files: Iterable[Json]) -> Iterator[str]:
    seen: dict[str, Json] = {file["file_path"]: file for file in files}
    for path, file in seen.items():
        if file["content"] == "EQUALITY_DELETES":
            yield f"{path} holds deletes by equality"
        if file["file_format"].upper() != "PARQUET":
            yield f"{path} is {file['file_format']}, not Parquet"


def _glue_problems(metadata: Json, table: Json) -> Iterator[str]:
    """Yield what the Glue table lacks: https://iceberg.apache.org/docs/1.10.0/aws/#glue-catalog."""
    parameters = table.get("Parameters", {})
    if parameters.get("table_type", "").upper() != "ICEBERG":
        yield f"Glue's table_type is {parameters.get('table_type')!r}, not 'ICEBERG'"
    if not parameters.get("metadata_location", "").endswith(".metadata.json"):
        yield f"Glue's metadata_location is {parameters.get('metadata_location')!r}"
    for kind, name in (("table", table["Name"]), ("database", table["DatabaseName"])):
        if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
            yield f"the {kind}'s name {name!r} is not of a-z, 0-9 and _"
    if not metadata["location"].startswith("s3://"):
        yield f"the table lies at {metadata['location']}, not on S3"
