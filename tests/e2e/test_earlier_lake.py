"""A lake that an earlier commit made goes on: nothing of it is compared or written without need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import pytest

from iceberg_datamart.lake.runtime import present_runtime
from support.oracles.oracle import assert_same

if TYPE_CHECKING:
    import psycopg

    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

LAKES = Path(__file__).parents[1] / "support" / "lakes"
# All paths in an Iceberg table are absolute; these lead into the folder where a process was started.
HERE = "/proc/self/cwd"
TABLES = """
create table customer (id int primary key, name text, updated_at timestamptz not null);
create table purchase (
    id int primary key, customer_id int, amount numeric(9,2), updated_at timestamptz not null
);
insert into customer select n, 'customer ' || n, '2026-03-01 12:00:00+00' from generate_series(1, 4) n;
insert into purchase select n, n % 4 + 1, n * 1.25, '2026-03-01 12:00:00+00' from generate_series(1, 8) n
"""
MART = {
    "from": "customer",
    "joins": [{"table": "purchase", "on": {"id": "customer_id"}, "how": "left"}],
    "filter": "amount > 0",
    "expressions": {"shout": "upper(name)"},
}
JOIN = """
select c.id as customer_id, c.name, c.updated_at as customer_updated_at, p.id as purchase_id, p.amount,
       p.updated_at as purchase_updated_at, upper(c.name) as shout
from customer c left join purchase p on p.customer_id = c.id where p.amount > 0
"""


@pytest.mark.matrix
@pytest.mark.skipif(
    not present_runtime().required_columns,
    reason="Iceberg 1.0 has no required columns: the first run makes those of the fixture optional, which "
    "is another schema, and so the mart is compared",
)
def test_a_mart_whose_definition_was_digested_from_sparks_text_is_not_compared_whole(
    laptop: Laptop, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lake was made by commit 72d2f93."""
    connection.execute(TABLES)
    ZipFile(LAKES / "before_definitions.zip").extractall(laptop.directory)
    tables = {name: {"from": name, "cursor": "updated_at"} for name in ("customer", "purchase")}
    laptop.configure(tables, {"customer_purchases": MART})
    laptop.settings["catalog"] |= {"uri": f"sqlite:///{HERE}/catalog.db", "warehouse": f"{HERE}/warehouse"}
    laptop.save()
    monkeypatch.chdir(laptop.directory)
    before = laptop.snapshot_ids()["customer_purchases"]

    def run(*words: str) -> dict[str, Any]:
        ended = laptop.process("run", "--json", *words)
        assert ended.exit_code == 0, ended.stderr
        return json.loads(ended.stdout)

    run("--accept-new-source")
    assert laptop.snapshot_ids()["customer_purchases"] == before
    connection.execute("update customer set name = 'changed', updated_at = now() where id = 2")
    mart = run()["marts"]["customer_purchases"]
    assert (mart["outcome"], mart["updated"]) == ("merged", 2)
    with connection.cursor() as cursor:
        names = [column.name for column in cursor.execute(JOIN).description or ()]
        expected = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    assert_same(
        "customer_purchases", laptop.rows("customer_purchases"), expected, ("customer_id", "purchase_id")
    )
