"""docs/athena.md speaks of what is there: summary keys that are written, and all types that are."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path

from iceberg_datamart.receipt import PREFIX, MartState, MirrorState
from iceberg_datamart.watermark import CursorKind, Watermark
from support.oracles.athena import TYPES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "athena.md").read_text("utf-8")
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def test_every_summary_key_of_the_queries_is_one_that_commits_record() -> None:
    mark = Watermark(CursorKind.INTEGER, 1)
    mirror = MirrorState("run-1", "full", "fake:1", NOON, NOON, "at", mark, mark, "digest")
    mart = MartState("run-1", "definition", {"account": 7})
    written = mirror.summary().keys() | mart.summary().keys()
    named = set(re.findall(rf"{re.escape(PREFIX)}[a-z-]+(?:\.%)?", PAGE))
    assert len(named) >= 4
    for key in named:
        assert any(each.startswith(key.removesuffix("%")) for each in written), f"nothing writes {key}"


def test_the_types_are_those_of_which_athena_reads_all_and_mirrors_have_all() -> None:
    listed = set(re.findall(r"^\| ([a-z]+)(?:\(p, s\))? \| [a-z]", PAGE, re.MULTILINE))
    assert listed == TYPES | {"decimal", "list"}
    mapped = re.findall(
        r"^\| .* \| ([a-z, ]+?)(?:\(p, s\)| of string)? \| .*\|$",
        (ROOT / "docs" / "types.md").read_text("utf-8"),
        re.MULTILINE,
    )
    assert {kind for each in mapped for kind in each.split(", ")} - {
        "notes",
        "as its base type",
        "the same",
    } == listed
