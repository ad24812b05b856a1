"""Rule R10 on the real stack: no value and no row is lost in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.shops.shop_rules import measures

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]


@pytest.mark.runtime
def test_r10_an_unbounded_numeric_names_a_value_and_the_mend(laptop: Laptop, connection: Connection) -> None:
    measures(laptop, connection)
    connection.execute("insert into measure values (1, 0.123456789012345678901234567890, null, now())")
    error = laptop.failing_run()["tables"]["measure"]["error"]
    assert "amount" in error["message"]
    assert "0.12345678901234567890123456789" in error["message"]
    assert "tables.measure.columns.amount.type" in error["hint"]


DECIMAL = {"columns": {"amount": {"type": "decimal(10, 2)"}}}


@pytest.mark.runtime
def test_r10_a_not_a_number_leaves_the_last_good_version_in_mirror_and_mart(
    laptop: Laptop, connection: Connection, oracle: Oracle
) -> None:
    connection.execute("update public.purchase set amount = 'NaN', updated_at = now() where purchase_id = 8")
    for arguments, rejected in (((), 1), (("--load-type", "full"), 0)):
        assert laptop.run(*arguments)["tables"]["purchase"]["rejected"] == rejected
        oracle.check(laptop)
    connection.execute(
        "update public.purchase set amount = 8, updated_at = clock_timestamp() where purchase_id = 8"
    )
    laptop.run()
    oracle.check(laptop, against_source=True)


@pytest.mark.runtime
def test_r10_of_rows_with_the_same_key_the_newest_stays(laptop: Laptop, connection: Connection) -> None:
    measures(laptop, connection, duplicates="newest", **DECIMAL)
    connection.execute(
        "insert into measure values (1, 1, null, '2025-01-01Z'), (1, 2, null, '2025-01-03Z'), "
        "(1, 3, null, '2025-01-02Z'), (1, 4, null, null), (2, 5, null, '2025-01-01Z')"
    )
    for _ in range(2):
        laptop.run()
        assert sorted((row["id"], int(row["amount"])) for row in laptop.rows("measure")) == [(1, 2), (2, 5)]
    connection.execute("insert into measure values (2, 6, null, now()), (2, 7, null, '2025-01-01Z')")
    laptop.run()
    assert sorted((row["id"], int(row["amount"])) for row in laptop.rows("measure")) == [(1, 2), (2, 6)]


def test_r18_a_shared_key_is_refused_before_anything_is_written_or_the_newest_row_stays(
    laptop: Laptop, connection: Connection
) -> None:
    connection.execute(
        "create table meta (id bigint primary key, account text not null, at timestamptz default now());"
        "insert into meta select i, 'A' || i % 10 from generate_series(1, 100) i;"
        "create table item (id int primary key, v text, at timestamptz default now());"
        "create table archive () inherits (item);"
        "insert into item values (1, 'new'), (2, 'b');"
        "insert into archive values (1, 'old', now() - interval '1 day'), (3, 'c', now());"
        "create table dated (id int, v text, at timestamptz);"
        "insert into dated values (1, 'dated', '2026-01-01Z'), (1, 'undated', null), (2, 'x', '2026-01-02Z')"
    )
    dated = {"from": "public.dated", "primary_key": ["id"], "cursor": "at", "duplicates": "newest"}
    tables = {
        "meta": {"from": "public.meta", "primary_key": ["account"], "cursor": "at"},
        "item": {"from": "public.item", "cursor": "at"},
        "dated": dated,
    }
    laptop.configure(tables, {})
    found = laptop.failing_run()["tables"]
    for name, shared, example in (("meta", 10, "account=A0"), ("item", 1, "id=1")):
        assert found[name]["error"]["type"] == "DuplicateKeyError"
        assert f"{shared} values" in found[name]["error"]["message"]
        assert example in found[name]["error"]["message"]
    assert found["dated"]["dropped"] == 1
    assert not [path for path in laptop.files() if "meta" in path.parts or "item" in path.parts]
    laptop.settings["tables"] = {"dated": laptop.settings["tables"]["dated"]}
    laptop.save()
    connection.execute("insert into dated values (3, 'y', now())")
    for arguments in ((), ("--load-type", "full"), ()):
        laptop.run(*arguments)
        rows = {(row["id"], row["v"]) for row in laptop.rows("dated")}
        assert rows == {(1, "dated"), (2, "x"), (3, "y")}, arguments
    assert laptop.command("verify").exit_code == 0
    assert laptop.command("reconcile").report["tables"]["dated"]["outcome"] == "unchanged"
