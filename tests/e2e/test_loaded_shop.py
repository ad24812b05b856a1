"""The shop that tests share is the loaded one each time: nothing of an earlier test is in it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from support.shops.shop import MARTS
from support.shops.shop_rules import UNCHANGED, outcomes, rename

if TYPE_CHECKING:
    from support.oracles.oracle import Oracle
    from support.shops.loaded_shop import LoadedShop
    from support.worlds.laptop import Databases, Laptop

    Connection = psycopg.Connection[Any]


def test_a_restored_shop_is_the_loaded_one_whatever_was_done_to_it_and_whoever_is_connected(
    databases: Databases, loaded_shop: LoadedShop
) -> None:
    laptop, url = loaded_shop.restored(), databases.server.url(loaded_shop.database)
    loaded = laptop.files(), laptop.snapshot_ids(), laptop.timestamp(), laptop.file.read_bytes()
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        laptop.settings["marts"]["customer_purchases"]["joins"][0]["type"] = "left"
        rename(connection, "of an earlier test")
        laptop.run()
        connection.execute("alter table purchase add note text; drop table customer")
        connection.execute(f"alter database {loaded_shop.database} set timezone = 'Asia/Kolkata'")
        laptop.timestamp_file.unlink()
        connection.execute("begin; insert into purchase (amount) values (1); prepare transaction 'forgotten'")
        connection.execute("begin; select from purchase")
        again = loaded_shop.restored()
    assert (again.files(), again.snapshot_ids(), again.timestamp(), again.file.read_bytes()) == loaded
    assert again.settings["marts"] == MARTS
    assert outcomes(again.run()) == UNCHANGED
    assert (again.files(), again.snapshot_ids()) == loaded[:2]
    with closing(psycopg.connect(url)) as connection:
        assert connection.execute("show timezone").fetchone() == ("UTC",)
        assert connection.execute("select count(*) from pg_prepared_xacts").fetchone() == (0,)


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
