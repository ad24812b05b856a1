"""What people and monitors who watch the job rely on: `plan`, `status` and `history`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pytest

from support.shops.shop import open_shop

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Laptop

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
    text = laptop.process("status")
    assert (text.exit_code, text.stdout.count("cannot be reached")) == (1, 0)
    assert text.stderr.count("cannot be reached") == 1
    laptop.settings["sources"]["prd"]["url"] = laptop.url
    laptop.save()
    oracle.check(laptop, against_source=True)


def test_r7_a_run_of_ones_own_that_is_under_way_is_told_apart_and_holds_the_horizon_all_the_same(
    laptop: Laptop, connection: Connection, other: Connection, oracle: Oracle
) -> None:
    laptop.settings["sources"]["prd"]["url"] += "?application_name=nightly"
    laptop.save()
    for name, is_own in (("nightly", True), ("iceberg-datamart", True), ("month end", False)):
        other.execute("select set_config('application_name', %s, false)", [name])
        with other.transaction():
            (since,) = other.execute("select now()").fetchone() or (None,)
            connection.execute("select pg_sleep(1.2)")
            said = laptop.status()["sources"]["prd"]
            (session,) = said["open_transactions"]
            assert (session["application_name"], session["is_own"]) == (name, is_own)
            assert datetime.fromisoformat(said["horizon"]) <= since
            told = laptop.process("status").stdout
            assert ("a run of this program" in told) == is_own
    oracle.check(laptop, against_source=True)
