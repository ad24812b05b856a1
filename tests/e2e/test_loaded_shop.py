"""The shop that tests share is the loaded one each time: nothing of an earlier test is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.shops.shop import MARTS
from support.shops.shop_rules import UNCHANGED, outcomes, rename

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.shops.loaded_shop import LoadedShop
    from support.worlds.laptop import Databases, Laptop

    Connection = psycopg.Connection[Any]


def test_a_restored_shop_is_the_loaded_one_whatever_was_done_to_it(
    laptop: Laptop, connection: Connection, other: Connection, databases: Databases, loaded_shop: LoadedShop
) -> None:
    database = connection.info.dbname
    loaded = laptop.files(), laptop.snapshot_ids(), laptop.timestamp(), laptop.file.read_bytes()
    laptop.settings["marts"]["customer_purchases"]["joins"][0]["type"] = "left"
    rename(connection, "of an earlier test")
    laptop.run()
    connection.execute("alter table purchase add note text; drop table customer")
    connection.execute(f"alter database {database} set timezone = 'Asia/Kolkata'")
    laptop.timestamp_file.unlink()
    other.execute("begin; insert into purchase (amount) values (1); prepare transaction 'forgotten'")
    other.execute("begin; select from purchase")
    again = loaded_shop.restored()
    assert (again.files(), again.snapshot_ids(), again.timestamp(), again.file.read_bytes()) == loaded
    assert again.settings["marts"] == MARTS
    assert outcomes(again.run()) == UNCHANGED
    assert (again.files(), again.snapshot_ids()) == loaded[:2]
    with databases.connected(database) as opened:
        assert opened.execute("show timezone").fetchone() == ("UTC",)
        assert opened.execute("select count(*) from pg_prepared_xacts").fetchone() == (0,)


@pytest.mark.parametrize("number", [1, 2])
def test_a_change_is_merged_into_a_restored_shop(
    laptop: Laptop, connection: Connection, oracle: Oracle, number: int
) -> None:
    rename(connection, f"change {number}", "customer_id = 2")
    report = laptop.run()
    assert report["tables"]["customer"]["updated"] == 1, "another test's change would be one, too"
    assert report["tables"]["purchase"]["outcome"] == "unchanged"
    assert report["marts"]["customer_purchases"]["outcome"] == "merged"
    assert len(laptop.history("customer")) == 2
    oracle.check(laptop, against_source=True)
