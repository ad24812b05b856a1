"""docs/time-travel.md: its commands print what it shows, its queries find what PostgreSQL held then."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import yaml

from iceberg_datamart import glue_job as job
from iceberg_datamart.app.settings_file import load_config
from iceberg_datamart.core.state.commit import PREFIX, MartState
from iceberg_datamart.lake.spark.session import open_session
from support.oracles import second_reader
from support.oracles.oracle import assert_same, rows_of
from support.worlds.laptop import LINEAGE, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg
    from pyspark.sql import SparkSession

    from support.oracles.oracle import Row
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

PAGE = (Path(__file__).parents[2] / "docs" / "time-travel.md").read_text("utf-8")
SCHEMA = """
    create table account (
        account_id bigint primary key, account_name text not null, updated_at timestamptz not null);
    create table queue (
        queue_id bigint primary key, account_id bigint, amount numeric(12, 2),
        updated_at timestamptz not null);
    insert into account select i, 'account ' || i, clock_timestamp() from generate_series(1, 8) as i;
    insert into queue select i, 1 + i % 8, i * 2.5, clock_timestamp() from generate_series(1, 20) as i
"""
MART = "account_queues"
TRUTH = {
    "account": "select * from account",
    "queue": "select * from queue",
    MART: """
        select a.account_id, a.account_name, a.updated_at as account_updated_at,
            q.queue_id, q.amount, q.updated_at as queue_updated_at
        from account as a, queue as q where q.account_id = a.account_id""",
}
KEYS = {"account": ("account_id",), "queue": ("queue_id",), MART: ("account_id", "queue_id")}
# The snapshots of the page: their table, and which of its snapshots they are, oldest first.
SNAPSHOTS = {
    "8215737509049682851": ("account", 0),
    "3646763975043678329": ("account", 1),
    "6623734410158296205": ("account", 2),
    "6021080797508237079": ("queue", 0),
    "3328914784315217030": (MART, 0),
    "480288111022441887": (MART, 1),
    "3575654547668817340": (MART, 2),
}
METADATA_FILE = "/data/warehouse/datamart/account/metadata/00006-….metadata.json"
# What can be had on AWS alone.
NOT_RUN = {"sql athena", "console aws"}
# The terminal of the page: Rich takes one that is dumb to write no colours, and no spinner.
TERMINAL = {"COLUMNS": "120", "LINES": "40", "TERM": "dumb", "NO_COLOR": "1", "FORCE_COLOR": "1"}


def blocks(page: str) -> list[tuple[str, str]]:
    """Return the fenced blocks of a page, each with what stands behind the fence."""
    return re.findall(r"^```(.*)\n([^`]*)^```$", page, re.MULTILINE)


def statements(text: str) -> list[str]:
    return [part.strip() for part in re.split(r";$", text, flags=re.MULTILINE) if part.strip()]


@dataclass
class Lake:
    """The lake of the page: three runs, and after each what PostgreSQL held, by table.

    `between` lies after the second change of the source and before its run.
    """

    laptop: Laptop
    between: datetime
    told: list[dict[str, list[Row]]]
    ids: dict[str, str]

    def on_the_page(self, text: str) -> str:
        """Return text of the page with this lake's ids, times and places."""
        for number, own in self.ids.items():
            text = text.replace(number, own)
        stated = re.compile(r"2026-01-31([ T])08:15:00")
        text = stated.sub(lambda found: f"{self.between:%Y-%m-%d}{found[1]}{self.between:%H:%M:%S.%f}", text)
        text = text.replace("2026-01-31 10:00:00", f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S.%f}")
        text = text.replace("sqlite:////data/catalog.db", self.laptop.settings["catalog"]["uri"])
        text = text.replace("file:///data/warehouse", str(self.laptop.warehouse))
        return text.replace(METADATA_FILE, self.laptop.table("account").metadata_location)

    def id_of(self, table: str, position: int) -> int:
        return next(int(own) for number, own in self.ids.items() if SNAPSHOTS[number] == (table, position))


@pytest.fixture
def lake(laptop: Laptop, connection: Connection) -> Lake:
    """Return the lake after a full load, a full load that found a delete, and an incremental run."""
    connection.execute(SCHEMA)
    tables = {name: {"from": f"public.{name}", "cursor": "updated_at"} for name in ("account", "queue")}
    mart = {"from": "account", "joins": [{"table": "queue", "on": ["account_id"]}]}
    laptop.configure(tables, {MART: mart})
    told: list[dict[str, list[Row]]] = []

    def run(*arguments: str) -> None:
        laptop.run(*arguments)
        told.append({name: rows_of(connection, query, "public") for name, query in TRUTH.items()})

    run()
    connection.execute(
        "delete from account where account_id = 4; "
        "update account set account_name = 'renamed', updated_at = clock_timestamp() where account_id = 2"
    )
    # A run knows itself complete up to a second before it reads.
    between = connection.execute("select clock_timestamp(), pg_sleep(1.1)").fetchone()
    assert between is not None
    run("--load-type", "full")
    connection.execute(
        "insert into account values (9, 'new', clock_timestamp()); "
        "update account set account_name = 'closed', updated_at = clock_timestamp() where account_id = 8"
    )
    # So that the timestamp file, which is cut to the second, is not older than the watermark before.
    connection.execute("select pg_sleep(1.1)")
    run()
    held = {name: [each["snapshot_id"] for each in reversed(laptop.history(name))] for name in TRUTH}
    ids = {number: str(held[name][position]) for number, (name, position) in SNAPSHOTS.items()}
    return Lake(laptop, between[0], told, ids)


def test_every_block_of_the_page_does_what_the_page_says(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (TERMINAL | {"DATAMART_CONFIG": str(lake.laptop.file)}).items():
        monkeypatch.setenv(name, value)
    expected = {engine: iter(each) for engine, each in expectations(lake).items()}
    session = a_readers_session(lake.laptop)
    for engine, text in blocks(PAGE):
        if engine not in NOT_RUN:
            assert engine in ENGINES, f"no engine is known for a block of {engine!r}:\n{text}"
            ENGINES[engine](lake, lake.on_the_page(text), expected.get(engine, iter(())), session)
    for engine, left in expected.items():
        assert list(left) == [], f"the page has fewer queries of {engine} than the test"


def expectations(lake: Lake) -> dict[str, list[tuple[list[Row], tuple[str, ...]] | None]]:
    """Return the rows and key of each query of the page, in its order; None for what returns no rows."""
    account, key = [told["account"] for told in lake.told], KEYS["account"]
    current = [{"snapshot_id": lake.id_of("account", 1)}]
    consumed = [
        {
            "snapshot_id": lake.id_of(MART, position),
            "account": str(lake.id_of("account", position)),
            "queue": str(lake.id_of("queue", 0)),
        }
        for position in range(3)
    ]
    names = ("account_id", "name_before", "name_after")
    changed = [
        (2, "account 2", "renamed"),
        (4, "account 4", None),
        (8, "account 8", "closed"),
        (9, None, "new"),
    ]
    changes = [dict(zip(names, each, strict=True)) for each in changed]
    return {
        "sql spark": [
            (account[1], key),
            (account[0], key),
            (current, ("snapshot_id",)),
            (consumed, ("snapshot_id",)),
            (changes, key),
            (account[2], key),
            (lake.told[1][MART], KEYS[MART]),
            None,
            None,
        ],
        "python pyiceberg": [(account[1], key), (account[1], key), (account[0], key)],
        "sql duckdb": [(account[1], key), (account[0], key)],
    }


def a_readers_session(laptop: Laptop) -> SparkSession:
    """Return a Spark session as it is by default, where the clocks do not show UTC."""
    session = open_session(load_config(laptop.file, os.environ))
    session.conf.set("spark.sql.ansi.enabled", "false")
    session.conf.set("spark.sql.session.timeZone", "America/Los_Angeles")
    return session


def by_spark(_lake: Lake, text: str, expected: Iterator[Any], session: SparkSession) -> None:
    for statement in statements(text):
        found = [row.asDict() for row in session.sql(statement).collect()]
        compare(statement, found, expected)


def by_duckdb(_lake: Lake, text: str, expected: Iterator[Any], _session: SparkSession) -> None:
    for statement in statements(text):
        compare(statement, second_reader.queried(statement), expected)


def by_pyiceberg(_lake: Lake, text: str, expected: Iterator[Any], _session: SparkSession) -> None:
    names: dict[str, Any] = {}
    exec(text, names)  # noqa: S102  (what the page tells people to do)
    for name, value in names.items():
        if isinstance(value, pa.Table):
            compare(f"{name} of {text}", value.to_pylist(), expected)


def by_command_line(_lake: Lake, text: str, _expected: Iterator[Any], _session: SparkSession) -> None:
    for command in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, _, output = command.partition("\n")
        pattern = ".*".join(map(re.escape, unchanging(output).split("…")))
        found = unchanging(printed(line))
        assert re.fullmatch(pattern, found, re.DOTALL), f"{line}\nprints\n{found}\nthe page says\n{output}"


def by_settings(lake: Lake, text: str, _expected: Iterator[Any], _session: SparkSession) -> None:
    for table, settings in yaml.safe_load(text)["tables"].items():
        lake.laptop.settings["tables"][table] |= settings
    lake.laptop.save()
    assert lake.laptop.plan()["account"]["step"] == "merge"


ENGINES: dict[str, Callable[[Lake, str, Iterator[Any], SparkSession], None]] = {
    "sql spark": by_spark,
    "sql duckdb": by_duckdb,
    "python pyiceberg": by_pyiceberg,
    "console": by_command_line,
    "yaml": by_settings,
}


def compare(text: str, found: list[Row], expected: Iterator[Any]) -> None:
    """Assert that a query found the next expected rows; columns of lineage and runs are passed over."""
    wanted = next(expected, "unknown")
    assert wanted != "unknown", f"say in `expectations` which rows this must find:\n{text}"
    if wanted is not None:
        passed_over = {*LINEAGE, "run_before", "run_after"}
        rows = [{name: utc(row[name]) for name in row if name not in passed_over} for row in found]
        assert_same(text, rows, *wanted)


def utc(value: Any) -> Any:
    """Return a value as PyIceberg returns it: PySpark's instants have no zone, and show this machine's."""
    return value.astimezone(timezone.utc) if isinstance(value, datetime) else value


def printed(line: str) -> str:
    """Return what a command prints on the page's terminal: its report, and where it fails, the error."""
    program, *words = shlex.split(line)
    assert program == "iceberg-datamart", line
    ended = within(*words)
    return ended.stdout + (ended.stderr if ended.exit_code else "")


def unchanging(text: str) -> str:
    """Return output without what differs from one run to the next: times, run ids, durations, widths."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{3})?", "TIME", text)
    text = re.sub(r"\d{8}T\d{6}\.\d+Z-[0-9a-f]+", "RUN", text)
    text = re.sub(r" \d+\.\d$", " SECONDS", text, flags=re.MULTILINE)
    return " ".join(re.sub(r"─+", "─", text).split())


def test_no_snapshot_of_the_page_is_unknown() -> None:
    assert set(re.findall(r"\d{15,}", PAGE)) == set(SNAPSHOTS)


def test_every_block_is_run_or_known_not_to_be() -> None:
    assert {engine for engine, _ in blocks(PAGE)} == {*ENGINES, *NOT_RUN}
    assert PAGE.count("```") == 2 * len(blocks(PAGE))


def test_what_is_not_run_names_keys_and_parameters_that_there_are() -> None:
    written = MartState("run-1", "digest", {"account": 7, "queue": 8}).summary()
    text = "".join(text for engine, text in blocks(PAGE) if engine in NOT_RUN)
    keys = re.findall(rf"{re.escape(PREFIX)}[a-z.-]+", text)
    assert keys
    assert set(keys) <= set(written)
    options = {option for action in job.parser()._actions for option in action.option_strings}
    named = re.findall(r'"(--\w+)"', text)
    assert named
    assert set(named) <= options
