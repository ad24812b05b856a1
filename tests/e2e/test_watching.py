"""What people and monitors who watch the job rely on: `plan`, `status` and `history`."""

from __future__ import annotations

import re
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pytest

from support.shops.shop import open_shop
from support.shops.shop_rules import rename

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Databases, Laptop

    Connection = psycopg.Connection[Any]


@pytest.fixture
def unloaded(laptop: Laptop, connection: Connection) -> Oracle:
    """Return the oracle of a shop that no run has seen."""
    return open_shop(laptop, connection)


def test_who_looks_before_the_first_run_leaves_the_folder_as_it_was(laptop: Laptop, unloaded: Oracle) -> None:
    for verb in ("plan", "status", "history"):
        assert laptop.command(verb).exit_code == 0, verb
        assert [path.name for path in laptop.directory.iterdir()] == [laptop.file.name], verb
    laptop.run()
    unloaded.check(laptop, against_source=True)


def test_status_tells_how_each_table_is_from_metadata_and_who_may_lag(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    connection.execute("select pg_sleep(2.5)")
    laptop.run()
    said = laptop.status()
    file = said["timestamp_file"]["timestamp"].replace(" ", "T") + "+00:00"
    for name, table in {**said["tables"], **said["marts"]}.items():
        assert (table["health"], table["reasons"]) == ("ok", []), name
        # Nothing changed, so no commit tells of the second run.
        assert (table["complete_through"], table["complete_through_by"]) == (file, "timestamp_file"), name
        assert table["lag_by"] == "source"
        passed = datetime.fromisoformat(said["sources"]["prd"]["now"]) - datetime.fromisoformat(file)
        assert table["lag_seconds"] == pytest.approx(passed.total_seconds(), abs=0.001)
        held = laptop.table(name).inspect.files()
        assert table["data_files"] == held.filter(pc.field("content") == 0).num_rows
        assert table["delete_files"] == held.filter(pc.field("content") > 0).num_rows
        assert table["bytes"] == pc.sum(held["file_size_in_bytes"]).as_py()
        assert table["snapshots"] == len(laptop.table(name).snapshots())
    assert laptop.command("status", "--max-lag", "1h").exit_code == 0
    laptop.settings["tables"]["late"] = {"source": "prd", "from": "public.customer", "enabled": False}
    laptop.settings["tables"]["new"] = {"source": "prd", "from": "public.customer"}
    laptop.save()
    ended = laptop.command("status", "--max-lag", "0s")
    assert ended.exit_code == 1
    line = next(line for line in ended.stderr.splitlines() if line.startswith("error: lag of more than 0s"))
    assert all(
        name in line for name in ("customer (", "purchase (", "customer_purchases (", "new (not known)")
    )
    assert "late" not in line
    words = {name: table["health"] for name, table in ended.report["tables"].items()}
    assert words == {"customer": "stale", "purchase": "stale", "late": "disabled", "new": "missing"}
    assert laptop.command("status", "--max-lag", "soon").exit_code == 2
    oracle.check(laptop, against_source=True)


def test_status_tells_of_a_table_that_failed_in_its_last_run_until_a_run_succeeds(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    never = {"type": "expression", "sql": "name <> 'renamed'"}
    laptop.settings["tables"]["customer"]["checks"] = [never]
    laptop.save()
    rename(connection, "renamed")
    laptop.failing_run()
    laptop.run("--table", "purchase")
    ended = laptop.command("status")
    assert ended.exit_code == 1
    assert "'customer' failed in the last run" in ended.stderr
    words = {name: table["health"] for name, table in ended.report["tables"].items()}
    assert words == {"customer": "failed", "purchase": "ok"}
    laptop.settings["tables"]["customer"]["checks"] = []
    laptop.save().run()
    assert laptop.status()["tables"]["customer"]["health"] == "ok"
    oracle.check(laptop, against_source=True)


def test_a_source_that_refuses_is_told_by_the_exit_code_and_all_of_the_lake_is_shown(
    laptop: Laptop, oracle: Oracle
) -> None:
    before = laptop.status()
    laptop.settings["sources"]["prd"]["url"] = laptop.url.rpartition("/")[0] + "/no_such_database"
    laptop.save()
    ended = laptop.command("status")
    assert ended.exit_code == 1, "it is there, so trying again is no use"
    assert ended.stderr.startswith("error: source 'prd' cannot be reached: ")
    for kind in ("tables", "marts"):
        for name, table in ended.report[kind].items():
            known = {key: text for key, text in table.items() if not key.startswith("lag")}
            assert known == {key: before[kind][name][key] for key in known}, name
            assert table["lag_by"] == "clock"
            assert table["lag_seconds"] is not None
    text = laptop.shown("status")
    assert (text.exit_code, text.stdout.count("cannot be reached")) == (1, 0)
    assert text.stderr.count("cannot be reached") == 1
    laptop.settings["sources"]["prd"]["url"] = laptop.url
    laptop.save()
    oracle.check(laptop, against_source=True)


def test_r7_runs_of_ones_own_are_told_apart_and_hold_the_horizon_as_any_other_session_does(
    laptop: Laptop, databases: Databases, database: str, oracle: Oracle
) -> None:
    laptop.settings["sources"]["prd"]["url"] += "?application_name=nightly"
    laptop.save()
    with ExitStack() as stack:
        opened = [stack.enter_context(databases.connected(database)) for _ in range(3)]
        names = ("nightly", "iceberg-datamart", "month end")
        for session, name in zip(opened, names, strict=True):
            session.execute("select set_config('application_name', %s, false)", [name])
            session.execute("begin")
            session.execute("select now()")
        (since,) = opened[0].execute("select now()").fetchone() or (None,)
        opened[0].execute("select pg_sleep(1.2)")
        said = laptop.status()["sources"]["prd"]
        told = laptop.shown("status").stdout.splitlines()
    found = {each["application_name"]: each["is_own"] for each in said["open_transactions"]}
    assert found == {"nightly": True, "iceberg-datamart": True, "month end": False}
    assert datetime.fromisoformat(said["horizon"]) <= since
    own = [line for line in told if "a run of this program, session " in line]
    assert (len(own), len([line for line in told if "holds back" in line])) == (2, 3)
    oracle.check(laptop, against_source=True)


def test_a_plan_tells_rows_estimates_and_what_is_unchanged_and_writes_nothing(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    before = laptop.files(), laptop.snapshot_ids(), laptop.timestamp()
    connection.execute(
        "insert into customer (name, updated_at) select 'new', now() from generate_series(1, 7)"
    )
    planned = laptop.plan()
    found = {table: (step["unchanged"], step["rows_are_estimated"]) for table, step in planned.items()}
    assert found == {"customer": (False, False), "purchase": (True, False)}
    assert 7 <= planned["customer"]["rows"] <= 8, "the window is closed below"
    text = laptop.shown("plan").stdout
    assert re.search("unchanged +purchase ", text)
    (whole,) = laptop.plan("--load-type", "full", "--table", "purchase").values()
    assert (whole["rows"], whole["rows_are_estimated"]) == (60, False)
    many = "insert into customer (name, updated_at) select 'many', now() from generate_series(1, 20000)"
    connection.execute(f"{many}; analyze customer")
    guessed = laptop.plan()["customer"]
    assert guessed["rows_are_estimated"]
    assert guessed["rows"] == pytest.approx(20_007, rel=0.1)
    assert "about " in laptop.shown("plan").stdout
    assert (laptop.files(), laptop.snapshot_ids(), laptop.timestamp()) == before
    report = laptop.run()
    assert report["tables"]["purchase"]["outcome"] == "unchanged"
    assert report["tables"]["customer"]["inserted"] == 20_007
    oracle.check(laptop, against_source=True)


def test_a_plan_that_refuses_tables_shows_each_with_its_fix_and_ends_as_a_run_would(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    connection.execute("alter table purchase rename to hidden; alter table customer rename to gone")
    ended = laptop.command("plan")
    assert ended.exit_code == 1
    refused = [step["table"] for step in ended.report["steps"] if step["step"] == "refuse"]
    assert refused == ["customer", "purchase"]
    text = laptop.shown("plan")
    assert text.exit_code == 1
    fixes = [line for line in text.stderr.splitlines() if line.startswith("hint:")]
    assert (text.stderr.count("error: "), len(fixes)) == (2, 2)
    assert "error: customer: " in text.stderr
    laptop.settings["sources"]["prd"]["url"] = laptop.url.rpartition("/")[0] + "/no_such_database"
    away = laptop.save().command("plan")
    assert (away.exit_code, away.stderr.count("error: ")) == (1, 1)
    assert "error: customer, purchase: source 'prd'" in away.stderr, "one error for all tables of a source"
    connection.execute("alter table hidden rename to purchase; alter table gone rename to customer")
    laptop.settings["sources"]["prd"]["url"] = laptop.url
    laptop.save()
    oracle.check(laptop, against_source=True)


def test_history_is_cut_only_where_that_is_said_and_tells_what_a_mart_joins_when_asked(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    for number in range(2):
        rename(connection, f"change {number}")
        laptop.run()
    every = laptop.history("customer")
    assert len(every) == 3
    cut = laptop.command("history", "customer", "--limit", "1").report
    assert (cut["tables"]["customer"], cut["left_out"]) == (every[:1], {"customer": 2})
    since = laptop.command("history", "customer", "--since", every[1]["committed_at"]).report
    assert since["tables"]["customer"] == every[:2]
    assert laptop.command("history", "customer", "--since", "1h").report["tables"]["customer"] == every
    assert laptop.command("history", "customer", "--since", "0s").report["tables"]["customer"] == []
    for wrong in (("--since", "yesterday"), ("--limit", "0")):
        assert laptop.command("history", *wrong).exit_code == 2
    with pytest.MonkeyPatch.context() as terminal:
        terminal.setenv("FORCE_COLOR", "1")
        terminal.setenv("COLUMNS", "30")
        text = laptop.shown("history", "--limit", "2").stdout
    assert "1 earlier snapshots are left out" in " ".join(text.split())
    assert all(str(snapshot["snapshot_id"]) in text for snapshot in every[:2]), "no id is cut"
    assert " joins " not in text
    assert "joins customer" in laptop.shown("history", "--verbose").stdout
    oracle.check(laptop, against_source=True)
