"""How the files of a Glue table are to be read, by its SerDe's parameters: followed exactly, or refused.

Parameters: https://docs.aws.amazon.com/athena/latest/ug/supported-serdes.html
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from iceberg_datamart.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iceberg_datamart.sources.glue.catalog import GlueTable

FORMATS = ("parquet", "csv", "json", "orc", "avro")
# What stands in the name of each SerDe that is known to read a format as Spark does.
_LIBRARIES = {
    "parquet": ("parquet",),
    "csv": ("lazysimpleserde", "opencsvserde"),
    "json": ("jsonserde",),
    "orc": ("orc",),
    "avro": ("avro",),
}
# Parameters that say nothing of how a value is read, or what is done anyway: malformed lines fail a table.
_IDLE = {
    *("serialization.format", "serialization.encoding", "serialization.null.format", "serialization.lib"),
    *("skip.header.line.count", "columns", "columns.types", "classification", "paths", "explicit.null"),
    *("avro.schema.literal", "avro.schema.url", "ignore.malformed.json", "use.null.for.invalid.data"),
    *("field.delim", "separatorChar", "quoteChar", "escapeChar", "escape.delim", "quote.delim", "delimiter"),
    *("mapkey.delim", "collection.delim", "colelction.delim", "hive.lazysimple.extended_boolean_literal"),
    *("strip.outer.array", "orc.schema", "parquet.compression", "orc.compress", "avro.output.codec"),
}
# Parameters of a SerDe or a table that would have values read in another way; this value alone is followed.
_ONLY = {
    "skip.footer.line.count": "0",
    "line.delim": "\n",
    "serialization.last.column.takes.rest": "false",
    "dots.in.keys": "false",
    "case.insensitive": "true",
    "orc.column.index.access": "false",
    "hive.orc.column.index.access": "false",
    "parquet.column.index.access": "false",
    "timestamp.formats": "",
}
# Names of Python's codecs and of Java's charsets: those in which bytes below 128 are ASCII's signs.
_ENCODINGS = {
    "utf-8": "UTF-8",
    "ascii": "US-ASCII",
    **{f"iso8859-{number}": f"ISO-8859-{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 15)},
    **{f"cp{number}": f"windows-{number}" for number in range(1250, 1259)},
}
_NULL = "\\N"
_CONTROL_A = "\x01"


@dataclass(frozen=True)
class FileForm:
    """How files are read: options of Spark's reader, and of text its encoding and what stands for NULL.

    Empty values are NULL besides. `escape` is a sign that would escape others outside of quotes, which no
    reader of Spark does: files that have it are refused.
    """

    options: Mapping[str, str] = field(default_factory=dict)
    encoding: str = "UTF-8"
    null: str = ""
    escape: str | None = None


def file_form(found: GlueTable) -> FileForm:
    """Return how the table's files are read. Raises: SourceError for a parameter that cannot be followed."""
    require_followed(found)
    if found.classification in ("parquet", "orc"):
        return FileForm({"mergeSchema": "true"})
    if found.classification == "avro":
        return FileForm()
    encoding, null = _encoding(found), found.reading.get("serialization.null.format", _NULL)
    if found.classification == "json":
        return FileForm({}, encoding)
    return FileForm(_csv(found, encoding), encoding, null, found.reading.get("escape.delim"))


def require_followed(found: GlueTable) -> None:
    """Raise SourceError where the catalog has files read in a way that is not followed."""
    library = found.library.lower()
    if library and not any(name in library for name in _LIBRARIES[found.classification]):
        hint = f"Known are {', '.join(_LIBRARIES[found.classification])}. Nothing was written."
        message = (
            f"Glue table '{found.name}' of classification '{found.classification}' has SerDe {found.library}"
        )
        raise SourceError(f"{message}, which is not followed", hint=hint)
    for name, only in _ONLY.items():
        value = found.reading.get(name, only)
        if value.lower() not in (only, ""):
            raise _unfollowed(found, name, value, f"Only {only!r} can be." if only else "It has to go.")
    for name, value in sorted(found.serde.items()):
        if name not in _IDLE and name not in _ONLY:
            raise _unfollowed(found, name, value, "Remove it, or have the files written another way.")


def _unfollowed(found: GlueTable, name: str, value: str, hint: str) -> SourceError:
    message = f"Glue table '{found.name}' has SerDe parameter '{name}' = {value!r}, which is not followed"
    return SourceError(message, hint=f"{hint} Nothing was written.")


def _encoding(found: GlueTable) -> str:
    name = found.reading.get("serialization.encoding", "utf-8")
    try:
        known = _ENCODINGS.get(codecs.lookup(name).name)
    except LookupError:
        known = None
    if known is None:
        hint = f"Known are {', '.join(_ENCODINGS.values())}."
        raise _unfollowed(found, "serialization.encoding", name, hint)
    return known


def _csv(found: GlueTable, encoding: str) -> dict[str, str]:
    """Return the options of a reader that has every line and every quote checked."""
    lists = [name for name, kind in found.columns if not re.match(r"[a-z]+(\(|$)", kind)]
    if lists:
        message = f"column '{lists[0]}' of Glue table '{found.name}' is a list or has parts, in CSV"
        raise SourceError(message, hint="Let the catalog have it as string. Nothing was written.")
    lines = found.reading.get("skip.header.line.count", "0")
    if lines not in ("0", "1"):
        hint = "Spark skips one line of names, or none."
        raise SourceError(f"Glue table '{found.name}' skips {lines} lines of each file", hint=hint)
    quote = found.serde.get("quoteChar") or found.serde.get("quote.delim") or '"'
    return {
        "mode": "FAILFAST",
        "header": "true" if lines == "1" else "false",
        "enforceSchema": "true",
        # A value between quotes may have lines; what ends others with \r\n is taken off later.
        "multiLine": "true",
        "lineSep": "\n",
        "unescapedQuoteHandling": "RAISE_ERROR",
        "encoding": encoding,
        "sep": _separator(found),
        "quote": quote,
        "escape": found.serde.get("escapeChar") or quote,
    }


def _separator(found: GlueTable) -> str:
    """Return what stands between two values; Hive's own sign where its SerDe is told of none."""
    given = found.serde.get("separatorChar") or found.serde.get("field.delim")
    if given or "lazysimple" not in found.library.lower():
        return given or found.parameters.get("delimiter") or ","
    told = found.serde.get("serialization.format", "1")
    return found.parameters.get("delimiter") or (_CONTROL_A if told.isdecimal() else told)
