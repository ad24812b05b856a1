"""The benchmark's contestants without Spark hold what PostgreSQL holds, after each kind of change."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from iceberg_datamart.demo.proof import MART
from iceberg_datamart.demo.rows import TABLES
from iceberg_datamart.demo.seed import create_tables, load

if TYPE_CHECKING:
    from support.worlds.laptop import Databases

ROOT = Path(__file__).parents[2]
ROWS = 2000


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT)
    return import_module("bench.measure")


@pytest.mark.parametrize(
    "name",
    [
        "by-hand",
        pytest.param(
            "dlt", marks=pytest.mark.skipif(find_spec("dlt") is None, reason="`make bench` installs it")
        ),
    ],
)
def test_the_tables_of_a_contestant_equal_those_of_postgres(
    name: str, measure: Any, tmp_path: Path, databases: Databases
) -> None:
    deltas = import_module("bench.deltas")
    url = databases.server.url(databases.new())
    with psycopg.connect(url, autocommit=True) as connection:
        create_tables(connection)
        load(connection, ROWS)
    # 80 accounts and 200 queues: 10 are spread over accounts, 150 over queues.
    changes = [
        *(deltas.FULL_LOAD, deltas.QUIET, deltas.TEN_ACCOUNTS),
        *(deltas.Delta(deltas.CLUSTERED, 100), deltas.Delta(deltas.SCATTERED, 150)),
    ]
    measured, entered = measure.measure(tmp_path, url, [name], 1, changes)
    assert (len(measured), entered.failed) == (5, {})
    (job,) = entered.jobs
    proofs = {proof.table: proof.comparison for proof in job.proofs()}
    assert set(proofs) == {*TABLES, *([MART] if name == "by-hand" else [])}
    assert [table for table, comparison in proofs.items() if not comparison.equal] == []
    assert proofs["settlement_transaction"].rows == ROWS + 100
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("update account set name = 'other' where id = 7")
    assert not next(job.proofs()).comparison.equal


def test_an_operation_that_needs_more_rows_than_there_are_changes_none(
    databases: Databases, measure: Any
) -> None:
    deltas = import_module("bench.deltas")
    assert measure.SIZES["S"] // 10 < deltas.SCATTERED_100K.rows
    with psycopg.connect(databases.server.url(databases.new()), autocommit=True) as connection:
        create_tables(connection)
        load(connection, ROWS)
        assert not deltas.SCATTERED_1K.make(connection, 7)
        changed = "select count(*) from {} where updated_at > now() - interval '1 day'"
        for table in ("account", "queue"):
            assert connection.execute(changed.format(table)).fetchall() == [(0,)]
