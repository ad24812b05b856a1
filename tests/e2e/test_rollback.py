"""`rollback`: a table goes back, its CDC state with it, and the next run makes all exact again (R4)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.lake.catalog import LakeCatalog
from support.faults.other_tool import MART
from support.shops.shop_rules import UNCHANGED, outcomes, rename

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]


def rollback(laptop: Laptop, table: str, *arguments: str) -> dict[str, Any]:
    """Roll back, which must succeed, and return what it prints."""
    ended = laptop.command("rollback", table, *arguments)
    assert ended.exit_code == 0, f"{ended.stdout}\n{ended.stderr}"
    return ended.report


def newest(laptop: Laptop, table: str) -> dict[str, Any]:
    return laptop.history(table)[0]


@pytest.mark.runtime
@pytest.mark.matrix_on("glue-4.0")
def test_a_dry_run_tells_the_rows_the_marts_and_the_next_window_and_changes_nothing(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    first = newest(laptop, "customer")
    rename(connection, "renamed", "customer_id in (2, 5)")
    connection.execute("insert into customer (name, updated_at) values ('new', clock_timestamp())")
    laptop.run()
    before = laptop.files(), laptop.snapshot_ids(), laptop.timestamp()
    told = rollback(laptop, "customer", "--to-snapshot", str(first["snapshot_id"]), "--dry-run")
    assert (laptop.files(), laptop.snapshot_ids(), laptop.timestamp()) == before
    assert told["dry_run"]
    assert [each["snapshot_id"] for each in told["undone"]] == [newest(laptop, "customer")["snapshot_id"]]
    rows = told["rows"]
    assert (rows["inserted"], rows["updated"], rows["deleted"]) == (0, 2, 1)
    assert {(each["change"], *each["key"].values()) for each in rows["first"]} == {
        ("update", "2"),
        ("update", "5"),
        ("delete", "21"),
    }
    assert {tuple(each["columns"]) for each in rows["first"]} == {("name", "updated_at"), ()}
    assert told["marts"] == [MART]
    assert (told["watermark"], told["needs_reconcile"]) == (first["watermark"], False)
    done = rollback(laptop, "customer", "--to-snapshot", str(first["snapshot_id"]))
    assert done["watermark"] == laptop.status()["tables"]["customer"]["watermark"] == first["watermark"]
    planned = laptop.plan()["customer"]
    assert told["next_read"]["lower"] == planned["window"]["lower"] <= first["watermark"]
    assert (told["next_read"]["load_type"], told["next_read"]["reason"]) == ("incremental", planned["reason"])
    report = laptop.run()
    assert report["tables"]["customer"]["updated"] == 2
    assert report["tables"]["purchase"]["outcome"] == "unchanged"
    oracle.check(laptop, against_source=True)
    assert outcomes(laptop.run()) == UNCHANGED


@pytest.mark.runtime
@pytest.mark.matrix_on("glue-4.0")
def test_a_mart_that_is_rolled_back_follows_its_mirrors_by_itself(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    first = newest(laptop, MART)
    rename(connection, "renamed")
    laptop.run()
    told = rollback(laptop, MART, "--to-snapshot", str(first["snapshot_id"]), "--dry-run")
    assert (told["rows"]["updated"], told["next_read"], told["marts"]) == (11, None, [MART])
    rollback(laptop, MART, "--to-snapshot", str(first["snapshot_id"]))
    assert {row["name"] for row in laptop.rows(MART)}.isdisjoint({"renamed"})
    assert laptop.run()["marts"][MART]["updated"] == 11
    oracle.check(laptop, against_source=True)


def test_a_time_means_the_snapshot_that_was_current_then(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    first = newest(laptop, "customer")
    log = laptop.table("customer").metadata.snapshot_log[-1]
    rename(connection, "renamed")
    laptop.run()
    then = datetime.fromtimestamp(log.timestamp_ms / 1000).astimezone()
    for text in (then.isoformat(), (then + timedelta(milliseconds=1)).isoformat()):
        told = rollback(laptop, "customer", "--to-time", text, "--dry-run")
        assert told["to_snapshot_id"] == first["snapshot_id"]
    now = rollback(laptop, "customer", "--to-time", "2100-01-01T00:00:00Z")
    assert (now["undone"], now["to_snapshot_id"]) == ([], newest(laptop, "customer")["snapshot_id"])
    ended = laptop.command("rollback", "customer", "--to-time", (then - timedelta(days=1)).isoformat())
    assert ended.exit_code == 2
    assert "had no snapshot at" in ended.stderr
    oracle.check(laptop, against_source=True)


def test_what_only_a_full_load_had_found_is_found_again_after_a_rollback(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    first = newest(laptop, "purchase")
    connection.execute("delete from purchase where purchase_id in (4, 44)")
    connection.execute("update purchase set amount = 0 where purchase_id = 7")
    laptop.run("--load-type", "full")
    told = rollback(laptop, "purchase", "--to-snapshot", str(first["snapshot_id"]), "--dry-run")
    assert told["next_read"]["load_type"] == "reconcile"
    assert told["next_read"]["reason"] == "a rollback undid a comparison with the source"
    assert rollback(laptop, "purchase", "--to-snapshot", str(first["snapshot_id"]))["needs_reconcile"]
    report = laptop.run()["tables"]["purchase"]
    assert (report["deleted"], report["updated"]) == (2, 1)
    oracle.check(laptop, against_source=True)
    assert outcomes(laptop.run()) == UNCHANGED


def test_a_comparison_that_is_owed_is_done_once_also_where_it_finds_nothing(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    first = newest(laptop, "purchase")
    kept = connection.execute("delete from purchase where purchase_id = 4 returning *").fetchone()
    laptop.run("--load-type", "full")
    connection.execute("insert into purchase overriding system value values (%s, %s, %s, %s)", kept)
    rollback(laptop, "purchase", "--to-snapshot", str(first["snapshot_id"]))
    assert laptop.plan()["purchase"]["load_type"] == "reconcile"
    laptop.run()
    assert newest(laptop, "purchase")["load_type"] == "reconcile"
    oracle.check(laptop, against_source=True)
    before = laptop.files()
    assert laptop.plan()["purchase"]["load_type"] == "incremental"
    assert outcomes(laptop.run()) == UNCHANGED
    assert laptop.files() == before


def test_where_the_source_cannot_be_read_the_rollback_itself_still_works(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    first = newest(laptop, "customer")
    rename(connection, "renamed")
    laptop.run()
    connection.execute("alter table customer rename to elsewhere")
    told = rollback(laptop, "customer", "--to-snapshot", str(first["snapshot_id"]), "--dry-run")
    assert "does not exist" in told["next_read"]["error"]["message"]
    rollback(laptop, "customer", "--to-snapshot", str(first["snapshot_id"]))
    connection.execute("alter table elsewhere rename to customer")
    laptop.run()
    oracle.check(laptop, against_source=True)


def test_a_run_that_committed_meanwhile_is_not_rolled_back_unseen(
    laptop: Laptop, connection: Connection, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = newest(laptop, "customer")
    rename(connection, "seen")
    laptop.run()
    roll_back = LakeCatalog.roll_back

    def overtaken(catalog: LakeCatalog, table: str, current: int, snapshot_id: int) -> None:
        rename(connection, "not seen", "customer_id = 9")
        laptop.run()
        roll_back(catalog, table, current, snapshot_id)

    monkeypatch.setattr(LakeCatalog, "roll_back", overtaken)
    ended = laptop.command("rollback", "customer", "--to-snapshot", str(first["snapshot_id"]))
    assert ended.exit_code == 75
    assert "another run changed customer while it was rolled back" in ended.stderr
    oracle.check(laptop, against_source=True)


def test_what_cannot_be_rolled_back_is_refused_and_nothing_is_written(laptop: Laptop, oracle: Oracle) -> None:
    before = laptop.files()
    for arguments, words in (
        (("nobody", "--to-snapshot", "1"), "there is no table or mart 'nobody'"),
        (("customer",), "name where to go back to"),
        (("customer", "--to-snapshot", "1", "--to-time", "2026-01-01"), "name where to go back to"),
        (("customer", "--to-snapshot", "1"), "snapshot 1 is not there, or has expired"),
        (("customer", "--to-time", "yesterday"), "'yesterday' is no ISO time"),
    ):
        ended = laptop.command("rollback", *arguments)
        assert (ended.exit_code, words in ended.stderr) == (2, True), ended.stderr
    assert laptop.files() == before
    oracle.check(laptop, against_source=True)


def test_a_snapshot_that_was_rolled_back_itself_is_no_place_to_go(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    first = newest(laptop, "customer")
    rename(connection, "renamed")
    laptop.run()
    undone = newest(laptop, "customer")
    rollback(laptop, "customer", "--to-snapshot", str(first["snapshot_id"]))
    ended = laptop.command("rollback", "customer", "--to-snapshot", str(undone["snapshot_id"]))
    assert ended.exit_code == 2
    assert "is no ancestor of what it now holds" in ended.stderr
    laptop.run()
    oracle.check(laptop, against_source=True)
