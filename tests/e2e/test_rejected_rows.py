"""Rule R10 on the real stack: rows that a mirror cannot hold are kept aside, once; the others are merged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.lake.publishing import Publishing
from iceberg_datamart.lake.rejected import RejectedRows
from support.oracles.oracle import Mirrored, Oracle
from support.shops.shop_rules import UNCHANGED, measures, outcomes, prepared

if TYPE_CHECKING:
    import psycopg

    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

DECIMAL = {"columns": {"amount": {"type": "decimal(10, 2)"}}}


@pytest.fixture
def measure(laptop: Laptop, connection: Connection) -> Oracle:
    """Return the oracle of a table whose first run found one row."""
    found = measures(laptop, connection, **DECIMAL)
    connection.execute("insert into measure values (1, 99999999.99, '2025-01-01', '2025-01-01Z')")
    laptop.run()
    return found


def rejected(laptop: Laptop, table: str = "measure") -> list[dict[str, Any]]:
    return sorted(
        laptop.table(f"{table}__rejected").scan().to_arrow().to_pylist(), key=lambda row: row["row"]
    )


def reasons(laptop: Laptop) -> list[str]:
    return [row["reason"] for row in rejected(laptop)]


def ids(laptop: Laptop) -> list[int]:
    return sorted(row["id"] for row in laptop.rows("measure"))


EXACT = "0.1234567890123456789012345678901234567890"
# By a table's name: the values of a row that does not fit, and why.
UNFIT = {
    "cents": ("2, 1.005, null, now()", "1.005 in column 'amount' does not fit decimal(10, 2)"),
    "millions": ("2, 123456789.5, null, now()", "123456789.5 in column 'amount' does not fit decimal(10, 2)"),
    "no_number": ("2, 'NaN', null, now()", "NaN in column 'amount' does not fit decimal(10, 2)"),
    "no_day": ("2, 1, 'infinity', now()", "infinity in column 'day' does not fit a column of type date"),
    "after_all": (
        "2, 1, null, 'infinity'",
        "infinity in column 'at' does not fit a column of type timestamptz",
    ),
    "before_all": (
        "2, 1, null, '-infinity'",
        "-infinity in column 'at' does not fit a column of type timestamptz",
    ),
    "no_key": ("null, 1, null, null", "NULL in key column 'id'"),
    "no_key_no_number": (
        "null, 'NaN', null, now()",
        "NULL in key column 'id'; NaN in column 'amount' does not fit decimal(10, 2)",
    ),
    "exact": (
        f"2, {EXACT}, 'infinity', '2025-01-02T03:04:05.123456Z'",
        (
            f"{EXACT} in column 'amount' does not fit decimal(10, 2); "
            "infinity in column 'day' does not fit a column of type date"
        ),
    ),
}


def open_unfit(laptop: Laptop, connection: Connection) -> Oracle:
    """Make a table like `measure` for each case, with one row, and their settings."""
    for name in UNFIT:
        connection.execute(f"create table {name} (id int, amount numeric, day date, at timestamptz)")
        connection.execute(f"insert into {name} values (1, 99999999.99, '2025-01-01', '2025-01-01Z')")
    table = {"cursor": "at", "primary_key": ["id"], **DECIMAL}
    laptop.configure({name: {"from": f"public.{name}", **table} for name in UNFIT}, {})
    select = "select id, amount, day, at from"
    mirrors = {name: Mirrored(name, ("id",), f"{select} {name}") for name in UNFIT}
    return Oracle(connection, "public", mirrors, {})


def test_r10_a_row_that_does_not_fit_is_kept_with_its_reason_and_the_others_are_merged(
    laptop: Laptop, connection: Connection
) -> None:
    oracle = open_unfit(laptop, connection)
    laptop.run()
    for name, (values, _) in UNFIT.items():
        connection.execute(f"insert into {name} values ({values}), (3, 3, null, now())")
    ended = laptop.command("run")
    assert ended.exit_code == 0
    for name, (_, reason) in UNFIT.items():
        report = ended.report["tables"][name]
        assert (report["outcome"], report["inserted"], report["rejected"]) == ("merged", 1, 1), name
        said = f"table '{name}': 1 rejected, kept in '{name}__rejected'; the first: {reason}"
        assert report["warnings"] == [said]
        assert said in ended.stderr
        (kept,) = rejected(laptop, name)
        assert (kept["reason"], kept["_run_id"]) == (reason, ended.report["run_id"])
        assert json.loads(kept["row"]).keys() == {"id", "amount", "day", "at"}
        assert sorted(row["id"] for row in laptop.rows(name)) == [1, 3], name
    assert json.loads(rejected(laptop, "exact")[0]["row"], parse_float=str) == {
        "id": 2,
        "amount": EXACT,
        "day": "infinity",
        "at": "2025-01-02T03:04:05.123456+00:00",
    }, "every value is kept in full"
    before = laptop.files(), laptop.snapshot_ids()
    for arguments in ((), ("--load-type", "full")):
        assert outcomes(laptop.run(*arguments)) == UNCHANGED
        assert (laptop.files(), laptop.snapshot_ids()) == before
    fitting = "id = coalesce(id, 9), amount = 1.50, day = null, at = clock_timestamp()"
    for name in UNFIT:
        connection.execute(f"update {name} set {fitting}")
    assert {part["rejected"] for part in laptop.run()["tables"].values()} == {0}
    oracle.check(laptop, against_source=True)


def test_an_excluded_column_is_not_kept(laptop: Laptop, connection: Connection) -> None:
    measures(laptop, connection, exclude=["day"], **DECIMAL)
    connection.execute("insert into measure values (2, 'NaN', '2025-01-01', now())")
    report = laptop.run()["tables"]["measure"]
    assert (report["outcome"], report["reason"]) == ("skipped", "all rows of the source are rejected")
    assert json.loads(rejected(laptop)[0]["row"]).keys() == {"id", "amount", "at"}


def test_r10_equal_rows_are_kept_as_often_as_they_are_there(
    laptop: Laptop, connection: Connection, measure: Oracle
) -> None:
    connection.execute("insert into measure values (null, 2, null, null), (null, 2, null, null)")
    laptop.run()
    assert reasons(laptop) == ["NULL in key column 'id'"] * 2
    connection.execute("insert into measure values (null, 2, null, null), (2, 2, null, now())")
    assert laptop.run()["tables"]["measure"]["rejected"] == 1
    laptop.run()
    assert reasons(laptop) == ["NULL in key column 'id'"] * 3
    connection.execute("delete from measure where id is null")
    measure.check(laptop, against_source=True)


def test_r10_a_row_that_becomes_unfit_keeps_its_last_good_version(
    laptop: Laptop, connection: Connection, measure: Oracle
) -> None:
    connection.execute(
        "insert into measure select id, id, null, '2025-01-02Z' from generate_series(2, 4) as id"
    )
    laptop.run()
    good = laptop.rows("measure")
    connection.execute("update measure set amount = 'NaN', at = clock_timestamp() where id = 2")
    for arguments in ((), ("--load-type", "full"), ("--load-type", "full")):
        laptop.run(*arguments)
        assert sorted(laptop.rows("measure"), key=str) == sorted(good, key=str)
    assert len(rejected(laptop)) == 1
    connection.execute("delete from measure where id = 3")
    laptop.run("--load-type", "full")
    assert ids(laptop) == [1, 2, 4], "rows that the source lost go, rejected ones stay"
    connection.execute("delete from measure where id = 2")
    laptop.run("--load-type", "full")
    measure.check(laptop, against_source=True)


def test_r10_reconcile_finds_unfit_rows_that_no_cursor_told_of_and_deletes_none(
    laptop: Laptop, connection: Connection, measure: Oracle
) -> None:
    connection.execute(
        "insert into measure select id, id, null, '2025-01-02Z' from generate_series(2, 4) as id"
    )
    laptop.run()
    connection.execute("update measure set amount = 'NaN' where id = 2; delete from measure where id = 4")
    connection.execute("insert into measure values (null, 5, null, '2024-01-01Z')")
    report = laptop.command("reconcile").report["tables"]["measure"]
    assert (report["deleted"], report["updated"], report["rejected"]) == (1, 0, 2)
    assert ids(laptop) == [1, 2, 3]
    before = laptop.files(), laptop.snapshot_ids()
    assert outcomes(laptop.command("reconcile").report) == UNCHANGED
    assert (laptop.files(), laptop.snapshot_ids()) == before
    connection.execute("update measure set amount = 2 where id = 2; delete from measure where id is null")
    laptop.command("reconcile")
    measure.check(laptop, against_source=True)


@pytest.mark.usefixtures("measure")
def test_r10_a_fit_row_of_the_same_key_is_merged_all_the_same(laptop: Laptop, connection: Connection) -> None:
    connection.execute("insert into measure values (1, 'NaN', null, now()), (1, 7, null, '2025-02-01Z')")
    laptop.settings["tables"]["measure"]["duplicates"] = "newest"
    laptop.save().run("--load-type", "full")
    assert [int(row["amount"]) for row in laptop.rows("measure")] == [7]
    connection.execute("delete from measure where amount = 'NaN'")
    laptop.run("--load-type", "full")
    assert [int(row["amount"]) for row in laptop.rows("measure")] == [7]


def test_r2_a_crash_after_the_rejected_rows_and_before_the_commit_keeps_them_once(
    laptop: Laptop, connection: Connection, measure: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> int:
        raise KeyboardInterrupt

    connection.execute("insert into measure values (null, 2, null, now()), (2, 2, null, now())")
    before = laptop.snapshot_ids(), laptop.timestamp()
    with monkeypatch.context() as broken:
        broken.setattr(Publishing, "commit", crash)
        with pytest.raises(KeyboardInterrupt), prepared(laptop) as run:
            run()
    assert len(rejected(laptop)) == 1
    assert (laptop.snapshot_ids(), laptop.timestamp()) == before
    report = laptop.run()["tables"]["measure"]
    assert (report["inserted"], report["rejected"]) == (1, 0)
    assert len(rejected(laptop)) == 1
    connection.execute("delete from measure where id is null")
    measure.check(laptop, against_source=True)


def test_r10_where_rejected_rows_cannot_be_kept_nothing_is_committed(
    laptop: Laptop, connection: Connection, measure: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> set[str]:
        raise OSError("no space left on device")

    connection.execute("insert into measure values (null, 2, null, now()), (2, 2, null, now())")
    before = laptop.snapshot_ids(), laptop.timestamp()
    with monkeypatch.context() as broken:
        broken.setattr(RejectedRows, "_append", full_disk)
        assert "no space" in laptop.failing_run()["tables"]["measure"]["error"]["message"]
    assert (laptop.snapshot_ids(), laptop.timestamp()) == before
    assert laptop.run()["tables"]["measure"]["rejected"] == 1
    connection.execute("delete from measure where id is null")
    measure.check(laptop, against_source=True)


def test_r12_two_runs_that_reject_the_same_row_keep_it_once(
    laptop: Laptop, connection: Connection, measure: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, rivals = RejectedRows._known, []

    def overtaken(keeper: RejectedRows, *arguments: Any) -> dict[str, str]:
        found = known(keeper, *arguments)
        if not rivals:
            rivals.append("rival")
            rivals.append(laptop.run())
        return found

    connection.execute("insert into measure values (null, 2, null, now()), (2, 2, null, now())")
    laptop.run()
    connection.execute("insert into measure values (null, 3, null, now()), (3, 3, null, now())")
    monkeypatch.setattr(RejectedRows, "_known", overtaken)
    assert laptop.command("run").exit_code in {0, 75}
    assert rivals[1]["tables"]["measure"]["rejected"] == 1
    assert len(rejected(laptop)) == 2
    connection.execute("delete from measure where id is null")
    measure.check(laptop, against_source=True)


@pytest.mark.usefixtures("measure")
def test_r10_more_rejected_rows_than_a_person_can_mend_fail_the_table(
    laptop: Laptop, connection: Connection
) -> None:
    connection.execute("insert into measure select null, i, null, now() from generate_series(1, 10001) as i")
    before = laptop.files()
    error = laptop.failing_run()["tables"]["measure"]["error"]
    assert error["message"] == "more than 10000 rows cannot be held by the mirror: NULL in key column 'id'"
    assert laptop.files() == before
    connection.execute("delete from measure where amount = 1")
    connection.execute("insert into measure values (2, 2, null, now())")
    assert laptop.run()["tables"]["measure"]["rejected"] == 10_000
    assert ids(laptop) == [1, 2]
