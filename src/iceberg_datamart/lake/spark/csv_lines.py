"""The lines of CSV files looked at before they are parsed: their bytes, and whether every quote is closed.

A reader takes all bytes that are no signs of the encoding for the same sign, and what follows a quote that
is not closed for its value.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from iceberg_datamart.core.sql.spark import literal
from iceberg_datamart.errors import UnfitValueError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import SparkSession

    from iceberg_datamart.core.source.reads import FilesRead

_FILE = "_datamart_file"
_FACTS = ("foreign", "escaped", "quotes")


def require_whole_lines(session: SparkSession, read: FilesRead, paths: Sequence[str]) -> None:
    """Raise UnfitValueError where the values in one of the files cannot be told for certain: one pass."""
    lines = session.read.format("text").load(list(paths))
    facts = [f"{text} AS _datamart_{name}" for name, text in line_facts(read).items()]
    found = lines.selectExpr(f"input_file_name() AS {_FILE}", *facts)
    summed = found.groupBy(_FILE).agg({f"_datamart_{name}": "sum" for name in _FACTS})
    for row in summed.collect():
        problem = problem_of(read, {name: row[f"sum(_datamart_{name})"] for name in _FACTS})
        if problem is not None:
            message, fix = problem
            raise UnfitValueError(f"file {row[_FILE]} {message}", hint=f"{fix}. Nothing was written.")


def line_facts(read: FilesRead) -> dict[str, str]:
    """Return what is counted in each line, as Spark's SQL of its column `value`: 0 where all is well."""
    content, encoding = "CAST(value AS binary)", literal(read.encoding)
    text, quote = f"decode({content}, {encoding})", read.options["quote"]
    return {
        "foreign": f"CAST(encode({text}, {encoding}) <> {content} AS int)",
        "escaped": "0" if read.escape is None else f"CAST(instr({text}, {literal(read.escape)}) > 0 AS int)",
        "quotes": _counted(_of_fields(text, read.options), quote),
    }


def problem_of(read: FilesRead, facts: Mapping[str, int | None]) -> tuple[str, str] | None:
    """Return what is wrong with a file of such lines, and how that is corrected; None where nothing is."""
    if facts["foreign"]:
        return (
            f"has {facts['foreign']} lines with bytes that are none of {read.encoding}",
            "Write it so, or say its encoding in the SerDe parameter serialization.encoding",
        )
    if facts["escaped"]:
        return (
            f"escapes signs by {read.escape!r} in {facts['escaped']} lines, which is not followed",
            "Put values between quotes instead, and remove the SerDe parameter escape.delim",
        )
    if (facts["quotes"] or 0) % 2:
        return (
            f"has an odd number of quotes {read.options['quote']}: one is not closed",
            "Correct the file: what follows would be taken for its value",
        )
    return None


def _of_fields(text: str, options: Mapping[str, str]) -> str:
    """Return the text without escaped quotes, and without those that neither begin nor end a value."""
    quote, escape, separator = options["quote"], options["escape"], options["sep"]
    if escape != quote:
        text = f"regexp_replace({text}, {literal(_exactly(escape) + '.')}, '')"
    edges = f"{_exactly(separator)}|{_exactly(quote)}"
    inner = f"(?<!^|{edges}){_exactly(quote)}(?!$|{edges})"
    return f"regexp_replace({text}, {literal(inner)}, '')"


def _counted(text: str, sign: str) -> str:
    return f"length({text}) - length(replace({text}, {literal(sign)}, ''))"


def _exactly(text: str) -> str:
    """Return a pattern of this text alone, as Java and Python read it."""
    return re.escape(text)
