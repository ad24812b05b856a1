"""`verify` on the real stack: it finds what was broken, sets pending rows apart, writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.shops.shop_rules import rename

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Ended, Laptop

    Connection = psycopg.Connection[Any]


def verified(laptop: Laptop, *arguments: str) -> tuple[Ended, dict[str, Any]]:
    """Return what `verify` said; it may have changed nothing."""
    before = laptop.files(), laptop.snapshot_ids(), laptop.timestamp()
    ended = laptop.command("verify", *arguments)
    assert (laptop.files(), laptop.snapshot_ids(), laptop.timestamp()) == before
    return ended, {**ended.report["tables"], **ended.report["marts"]}


def test_equal_tables_are_equal(laptop: Laptop, oracle: Oracle) -> None:
    ended, found = verified(laptop)
    assert ended.exit_code == 0, ended.stdout
    assert {name: (v["result"], v["expected"], v["held"]) for name, v in found.items()} == {
        name: ("equal", len(laptop.rows(name)), len(laptop.rows(name))) for name in found
    }
    assert set(found) == {"customer", "purchase", "customer_purchases"}
    oracle.check(laptop, against_source=True)


def test_a_mirror_that_another_tool_changed_is_different(laptop: Laptop, oracle: Oracle) -> None:
    del oracle
    mirror = "datamart.datamart.customer"
    laptop.spark_sql(f"update {mirror} set name = 'forged' where customer_id in (4, 5)")
    laptop.spark_sql(f"delete from {mirror} where customer_id = 6")
    laptop.spark_sql(
        f"insert into {mirror} select 999, name, updated_at, _run_id, _merged_at from {mirror} "
        "where customer_id = 1"
    )
    ended, found = verified(laptop)
    assert ended.exit_code == 1
    customer = found["customer"]
    assert [customer[kind] for kind in ("missing", "stale", "extra", "pending")] == [1, 2, 1, 0]
    first = {row["key"]["customer_id"]: (row["kind"], row["columns"]) for row in customer["first"]}
    assert first == {
        "4": ("stale", ["name"]),
        "5": ("stale", ["name"]),
        "6": ("missing", []),
        "999": ("extra", []),
    }
    assert found["purchase"]["result"] == "equal"
    assert found["customer_purchases"]["result"] == "pending", "it is the join of what it consumed"
    assert any("reconcile --table customer" in note for note in customer["notes"])
    laptop.command("reconcile")
    assert verified(laptop)[0].exit_code == 0


def test_r18_a_key_that_another_tool_wrote_twice_is_too_many_until_all_rows_are_compared(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    for name in ("customer", "customer_purchases"):
        table = f"datamart.datamart.{name}"
        laptop.spark_sql(f"insert into {table} select * from {table} where customer_id = 4")
    ended, found = verified(laptop)
    assert ended.exit_code == 1
    assert [found["customer"][kind] for kind in ("missing", "stale", "extra")] == [0, 0, 1]
    assert found["customer"]["first"] == [{"kind": "extra", "key": {"customer_id": "4"}, "columns": []}]
    assert found["customer_purchases"]["extra"] > 0
    rename(connection, "of a key that is there twice", "customer_id = 4")
    doubled = "datamart.datamart.purchase"
    laptop.spark_sql(f"insert into {doubled} select * from {doubled} where purchase_id in (1, 2)")
    report = laptop.failing_run()
    error = report["marts"]["customer_purchases"]["error"]
    assert error["message"].startswith("mart 'customer_purchases' would have the key ")
    assert error["message"].endswith(" twice: another tool wrote a key twice in customer or purchase")
    assert error["hint"] == "iceberg-datamart reconcile --table customer --table purchase"
    merged = report["tables"]["customer"]
    assert (merged["deleted"], merged["inserted"], merged["updated"]) == (2, 1, 0)
    report = laptop.command("reconcile").report
    purchase = report["tables"]["purchase"]
    assert (purchase["deleted"], purchase["inserted"]) == (4, 2)
    assert verified(laptop)[0].exit_code == 0
    oracle.follow(full=True)
    oracle.check(laptop, against_source=True)


def test_a_mart_that_another_tool_changed_is_different(laptop: Laptop, oracle: Oracle) -> None:
    del oracle
    mart = "datamart.datamart.customer_purchases"
    laptop.spark_sql(f"update {mart} set amount = amount + 1 where purchase_id = 7")
    laptop.spark_sql(f"delete from {mart} where purchase_id = 8")
    _, found = verified(laptop)
    assert found["customer"]["result"] == found["purchase"]["result"] == "equal"
    assert [found["customer_purchases"][kind] for kind in ("missing", "stale", "extra")] == [1, 1, 0]
    assert found["customer_purchases"]["first"][-1]["columns"] in ([], ["amount"])


def test_r14_rows_that_changed_after_the_last_run_are_pending_and_not_equal(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    rename(connection, "not merged yet", "customer_id in (7, 8)")
    connection.execute(
        "insert into purchase (customer_id, amount, updated_at) values (1, 1, clock_timestamp())"
    )
    ended, found = verified(laptop)
    assert ended.exit_code == 1
    assert ended.report["result"] == found["customer"]["result"] == "pending"
    assert (found["customer"]["pending"], found["purchase"]["pending"]) == (2, 1)
    connection.execute("update customer set name = 'without cursor', updated_at = null where customer_id = 9")
    found = verified(laptop)[1]
    assert found["customer"]["result"] == "different", "nothing tells when that row changed"
    laptop.run()
    assert verified(laptop)[1]["customer"]["result"] == "equal"
    oracle.check(laptop, against_source=True)


def test_r14_a_row_that_the_last_run_has_read_is_never_pending(
    laptop: Laptop, connection: Connection
) -> None:
    connection.execute(
        "create table tied (id int primary key, v text, updated_at timestamptz);"
        "insert into tied select i, 'a', timestamptz '2026-01-01 00:00:00Z' from generate_series(1, 100) i;"
        "create table recent (id int primary key, updated_at timestamptz default clock_timestamp());"
        "insert into recent select i from generate_series(1, 100) i;"
        "create table counted (id int primary key, v numeric);"
        "insert into counted select i, i from generate_series(1, 10) i"
    )
    tables: dict[str, Any] = {
        name: {"from": f"public.{name}", "cursor": "updated_at"} for name in ("tied", "recent")
    }
    tables["counted"] = {"from": "public.counted", "columns": {"v": {"type": "decimal(10,2)"}}}
    laptop.configure(tables, {})
    connection.execute("update recent set updated_at = clock_timestamp() where id <= 50")
    laptop.run()
    assert verified(laptop)[0].exit_code == 0
    connection.execute(
        "update counted set v = 'NaN' where id in (1, 2); insert into counted values (11, 'NaN')"
    )
    laptop.run()
    for name in ("tied", "recent"):
        laptop.spark_sql(f"delete from datamart.datamart.{name} where id > 10")
    _, found = verified(laptop)
    for name in ("tied", "recent"):
        kinds = [found[name][kind] for kind in ("expected", "held", "missing", "pending")]
        assert kinds == [100, 10, 90, 0], name
    counted = found["counted"]
    assert [counted[kind] for kind in ("result", "expected", "missing", "stale", "extra", "rejected")] == [
        *("different", 11, 1, 2, 0, 3)
    ]
    assert any("3 of these rows are rejected" in note for note in counted["notes"])


def test_what_the_cursor_does_not_show_is_a_difference(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    del oracle
    connection.execute("update customer set name = 'silent' where customer_id = 3")
    connection.execute("delete from purchase where purchase_id = 5")
    ended, found = verified(laptop)
    assert ended.exit_code == 1
    assert (found["customer"]["stale"], found["purchase"]["extra"]) == (1, 1)
    assert any("deletes (1 extra)" in note for note in found["purchase"]["notes"])


def test_verify_holds_while_the_source_is_written_to(
    laptop: Laptop, connection: Connection, other: Connection, oracle: Oracle
) -> None:
    del oracle
    with other.transaction():
        other.execute("update customer set name = 'open', updated_at = now() where customer_id <= 3")
        laptop.run()
        assert verified(laptop)[0].exit_code == 0
    ended, found = verified(laptop)
    assert (ended.exit_code, found["customer"]["pending"]) == (1, 3), (
        "a late commit is the next run's business"
    )
    rename(connection, "and now")
    assert verified(laptop)[0].report["result"] == "pending"


def test_a_table_that_cannot_be_compared_fails_alone(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    del oracle
    connection.execute("alter table customer add column nickname text")
    ended, found = verified(laptop)
    assert ended.exit_code == 1
    assert "nickname" in found["customer"]["error"]["message"]
    assert found["purchase"]["result"] == "equal"


def test_one_table_is_verified_alone(laptop: Laptop, oracle: Oracle) -> None:
    del oracle
    ended, found = verified(laptop, "--table", "purchase")
    assert ended.exit_code == 0
    assert set(found) == {"purchase", "customer_purchases"}


def test_a_mirror_that_does_not_exist_lacks_every_row(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    del oracle
    connection.execute("create table extra (id int primary key); insert into extra values (1), (2)")
    laptop.settings["tables"]["extra"] = {"source": "prd", "from": "public.extra"}
    laptop.save()
    ended = laptop.command("verify")
    assert ended.exit_code == 1
    assert ended.report["tables"]["extra"]["missing"] == 2
