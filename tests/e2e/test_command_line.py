"""What a caller may rely on: exit codes, the documented JSON, and what happens to odd tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.shops.shop import open_shop

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

REPORT = {"run_id", "status", "tables", "marts"}
OUTCOME = {
    "outcome",
    "rows_read",
    "inserted",
    "updated",
    "deleted",
    "rejected",
    "snapshot_id",
    "watermark",
    "seconds",
    "error",
}


@pytest.fixture
def unloaded(laptop: Laptop, connection: Connection) -> Oracle:
    """Return the oracle of a shop that no run has seen."""
    return open_shop(laptop, connection)


def test_the_report_is_the_only_thing_on_standard_output(
    laptop: Laptop, connection: Connection, unloaded: Oracle
) -> None:
    ended = laptop.process("run", "--json")
    assert ended.exit_code == 0, ended.stderr
    assert ended.stdout.startswith("{\n")
    assert ended.stdout.endswith("}\n")
    report = ended.report
    assert set(report) >= REPORT
    assert report["status"] == "succeeded"
    assert set(report["tables"]) == {"customer", "purchase"}
    for part in (*report["tables"].values(), report["marts"]["customer_purchases"]):
        assert set(part) >= OUTCOME
        assert isinstance(part["snapshot_id"], int)
        assert part["error"] is None
    customer = report["tables"]["customer"]
    assert (customer["outcome"], customer["rows_read"], customer["inserted"]) == ("merged", 20, 20)
    assert customer["watermark"] == "2025-03-01T10:20:00.001200Z"
    for line in ended.stderr.splitlines():
        assert f"run={report['run_id']} " in line, "a log line carries the run's id, and nothing else is said"
    unloaded.check(laptop, against_source=True)
    connection.execute("alter table purchase rename to hidden")
    failed = laptop.process("run", "--json")
    assert (failed.exit_code, failed.report["status"]) == (1, "failed")
    assert failed.report["tables"]["purchase"]["error"]["type"] == "SourceTableMissingError"
    assert " ERROR " in failed.stderr
    assert "Traceback" not in failed.stderr


def test_settings_that_cannot_work_end_with_2(laptop: Laptop, unloaded: Oracle) -> None:
    assert unloaded.tables
    laptop.settings["tables"]["customer"]["cursr"] = "updated_at"
    laptop.save()
    for verb in ("run", "plan", "status", "runs", "history"):
        ended = laptop.process(verb, "--json") if verb == "run" else laptop.command(verb)
        assert ended.exit_code == 2, verb
        assert "cursr" in ended.stderr
        assert "Traceback" not in ended.stderr
    assert laptop.command("run", "--no-such-option").exit_code == 2
    assert laptop.command("run", "--table", "no such table").exit_code == 2
    assert laptop.command("history", "no such table").exit_code == 2


def test_a_source_that_cannot_be_reached_is_a_failure(laptop: Laptop, unloaded: Oracle) -> None:
    assert unloaded.tables
    laptop.settings["sources"]["prd"]["url"] = "postgresql://nobody@127.0.0.1:1/prd"
    laptop.save()
    ended = laptop.process("run", "--json")
    assert ended.exit_code == 75
    errors = {part["error"]["type"] for part in ended.report["tables"].values()}
    assert errors == {"SourceUnreachableError"}
    assert not laptop.timestamp_file.exists()


@pytest.mark.parametrize("required", [False, True])
def test_the_mart_follows_without_a_missing_table_unless_it_is_required(
    laptop: Laptop, connection: Connection, oracle: Oracle, *, required: bool
) -> None:
    if required:
        laptop.settings["marts"]["customer_purchases"] = {
            **laptop.settings["marts"]["customer_purchases"],
            "require": ["purchase"],
        }
        laptop.save()
    connection.execute("update customer set name = 'seen', updated_at = now() where customer_id = 2")
    connection.execute("alter table purchase rename to hidden")
    before = laptop.history("customer_purchases")
    report = laptop.failing_run()
    assert report["tables"]["purchase"]["error"]["type"] == "SourceTableMissingError"
    assert report["tables"]["customer"]["outcome"] == "merged"
    mart = report["marts"]["customer_purchases"]
    if required:
        assert mart["outcome"] == "skipped"
        assert "purchase" in mart["reason"]
        assert laptop.history("customer_purchases") == before
    else:
        assert mart["outcome"] == "merged"
        oracle.follow(full=False, tables=["customer"])
        oracle.check(laptop)
    connection.execute("alter table hidden rename to purchase")
    connection.execute("update purchase set amount = 2, updated_at = now() where purchase_id = 2")
    laptop.run()
    oracle.check(laptop, against_source=True)


def test_an_empty_source_is_skipped_and_said(
    laptop: Laptop, connection: Connection, unloaded: Oracle
) -> None:
    connection.execute("create table kept as table purchase; truncate purchase")
    ended = laptop.command("run")
    assert ended.exit_code == 0
    part = ended.report["tables"]["purchase"]
    assert (part["outcome"], part["reason"]) == ("skipped", "the source is empty")
    assert "WARNING" in ended.stderr
    unloaded.check(laptop, against_source=True)
    connection.execute("insert into purchase overriding system value table kept")
    laptop.run()
    unloaded.check(laptop, against_source=True)


def test_a_full_load_of_a_source_that_lost_its_rows_is_stopped(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    connection.execute("delete from purchase where purchase_id > 10")
    report = laptop.failing_run("--load-type", "full")
    assert report["tables"]["purchase"]["error"]["type"] == "DeleteGuardError"
    oracle.check(laptop)
    laptop.settings["tables"]["purchase"]["max_delete_fraction"] = 1
    laptop.save()
    laptop.run("--load-type", "full")
    oracle.check(laptop, against_source=True)


def test_a_plan_changes_nothing_and_a_run_does_what_it_says(
    laptop: Laptop, connection: Connection, unloaded: Oracle
) -> None:
    assert {step["load_type"] for step in laptop.plan().values()} == {"full"}
    assert not laptop.warehouse.exists()
    assert not laptop.timestamp_file.exists()
    laptop.run()
    connection.execute(
        "update customer set name = 'seen', updated_at = clock_timestamp() where customer_id = 2"
    )
    before = laptop.files(), laptop.snapshot_ids(), laptop.timestamp()
    planned = laptop.plan("--table", "customer")
    assert set(planned) == {"customer"}
    assert (laptop.files(), laptop.snapshot_ids(), laptop.timestamp()) == before
    assert set(laptop.run("--table", "customer")["tables"]) == {"customer"}
    unloaded.check(laptop, against_source=True)
