"""docs/athena.md speaks of what is there: summary keys that are written, and all types that are."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest

from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.state.commit import PREFIX, MartState, MirrorState
from iceberg_datamart.core.state.watermark import Watermark
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


# --- the queries, on what `$history` said before September 2026 and on what it says since


# Snapshots of two runs, one never published, one that was gone back from, a compaction's, another tool's.
_SUMMARIES: dict[int, tuple[str, dict[str, str]]] = {
    1: ("append", {"run-id": "run-1", "added-records": "8", "consumed.queue": "71"}),
    2: (
        "overwrite",
        {"run-id": "run-2", "inserted": "1", "updated": "2", "deleted": "3", "consumed.queue": "72"},
    ),
    3: ("overwrite", {"run-id": "run-3", "inserted": "9"}),
    4: ("overwrite", {"run-id": "run-4", "inserted": "5", "consumed.queue": "74"}),
    5: ("replace", {"added-records": "11", "added-position-deletes": "7"}),
    6: ("overwrite", {"added-records": "4"}),
}
_ANCESTORS = (1, 2, 5, 6)
# Minutes after noon: staged at the snapshot's number; 2 was gone back to from 4.
_LOG = ((1.5, 1), (2.5, 2), (4.5, 4), (4.8, 2), (5.5, 5), (6.5, 6))
_OLD = tuple((float(number), number) for number in _SUMMARIES)


def reader(history: tuple[tuple[float, int], ...]) -> duckdb.DuckDBPyConnection:
    """Return a database with the metadata tables as Trino has them, `$history` as given."""
    found = duckdb.connect()
    found.execute("SET TimeZone = 'UTC'")
    found.execute("CREATE MACRO from_iso8601_timestamp(text) AS CAST(text AS TIMESTAMPTZ)")
    for schema, name in ((schema, name) for schema in ("main", "datamart") for name in _TABLES):
        found.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        table = f'{schema}."{name}$'
        found.execute(
            f'CREATE TABLE {table}snapshots" (snapshot_id bigint, committed_at timestamptz, operation text, '
            "summary map(text, text))"
        )
        found.execute(
            f'CREATE TABLE {table}history" (made_current_at timestamptz, snapshot_id bigint, '
            "is_current_ancestor boolean)"
        )
        for number, (operation, said) in _SUMMARIES.items():
            summary = {key if "added" in key else PREFIX + key: value for key, value in said.items()}
            summary[f"{PREFIX}complete-through"] = f"2026-03-01T11:0{number}:00Z"
            row = [number, NOON + timedelta(minutes=number), operation, summary]
            found.execute(f'INSERT INTO {table}snapshots" VALUES (?, ?, ?, ?)', row)
        for minutes, number in history:
            row = [NOON + timedelta(minutes=minutes), number, number in _ANCESTORS]
            found.execute(f'INSERT INTO {table}history" VALUES (?, ?, ?)', row)
    return found


_TABLES = ("account", "account_settlements")
# What DuckDB writes otherwise.
_DUCKDB = {
    "CROSS JOIN UNNEST(s.summary) AS t (key, value)": "CROSS JOIN LATERAL (SELECT unnest(map_keys(s.summary))"
    " AS key, unnest(map_values(s.summary)) AS value) AS t",
    "element_at(": "map_extract_value(",
}


def in_duckdb(text: str) -> str:
    for theirs, ours in _DUCKDB.items():
        text = text.replace(theirs, ours)
    return text


def queries() -> dict[str, str]:
    """Return the queries of the page and of the workgroup that ask `$history`."""
    blocks = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    found = {part.strip(): part for block in blocks for part in block.split(";") if "$history" in part}
    for file in sorted((ROOT / "infra" / "queries").glob("*.sql")):
        text = file.read_text("utf-8").replace("${table}", "account")
        loop = re.search(r"%\{ for .*?~\}\n(?:%\{ if .*?endif ~\}\n)?(.*?)%\{ endfor ~\}\n", text, re.DOTALL)
        if loop:
            text = text.replace(loop[0], loop[1].replace("${name}", "account"))
        if "$history" in text:
            found[file.name] = text
    return {name: in_duckdb(text) for name, text in found.items()}


@pytest.mark.parametrize("name", queries())
def test_a_query_gives_the_same_answer_with_either_history_and_each_commit_once(name: str) -> None:
    answers = [reader(history).execute(queries()[name]).fetchall() for history in (_OLD, _LOG)]
    assert answers[0] == answers[1]
    assert answers[0]
    assert set(Counter(answers[0]).values()) == {1}


def answer(name: str) -> list[dict[str, Any]]:
    found = reader(_LOG).execute(queries()[name])
    columns = [each[0] for each in found.description or ()]
    return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]


def test_the_queries_of_a_page_and_of_a_workgroup_are_all_tried() -> None:
    assert {"history.sql", "freshness.sql", "changes-per-run.sql"} < queries().keys()
    assert len(queries()) == 6
    for text in queries().values():
        assert "made_current_at" not in text


def test_changes_are_those_that_runs_counted_and_a_compaction_changes_none() -> None:
    found = answer("changes-per-run.sql")
    counts = [tuple(row[kind] for kind in ("inserted", "updated", "deleted")) for row in found]
    assert [row["run_id"] for row in found] == [None, None, "run-2", "run-1"]
    assert counts == [(None, None, None), (0, 0, 0), (1, 2, 3), (8, 0, 0)]


def test_history_is_what_the_table_descends_from_with_its_time_of_staging() -> None:
    found = answer("history.sql")
    assert [row["snapshot_id"] for row in found] == [6, 5, 2, 1]
    assert found[0]["staged_at"] == NOON + timedelta(minutes=6)
