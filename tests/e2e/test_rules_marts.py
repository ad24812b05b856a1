"""A mart equals its join whatever it was before, and nothing is published that was not counted (R8)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pyiceberg.exceptions import NoSuchTableError

from iceberg_datamart.core.changes import Merge
from iceberg_datamart.lake import changeset
from support.oracles.oracle import assert_same, rows_of

if TYPE_CHECKING:
    import psycopg

    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]

LEFT = {"from": "a", "joins": [{"table": "b", "on": ["id"], "how": "left"}]}
INNER = {"from": "a", "joins": [{"table": "b", "on": ["id"], "how": "inner"}]}
ROW_LOCAL = {
    "number": "id + coalesce(bid, 0)",
    "text": "upper(concat(v, 'now'))",
    "day": "date_format(at, 'yyyy-MM-dd')",
    "parsed": "to_timestamp('2020-01-01 00:00:00') < at",
    "since": "at > timestamp '2020-01-01 00:00:00'",
    "chosen": "CASE WHEN v IN ('now', 'before') THEN struct(id, v).v END",
    "each": "size(filter(split(v, 'e'), part -> part <> 'b'))",
    "noted": "id + 1 -- the next",
}
NO_COLUMN = {
    "interval": "at - at",
    "void": "NULL",
    "struct": "struct(id, v)",
    "map": "map(id, v)",
    "voids": "array(NULL)",
    "two": "id, v",
    "two_named": "id AS one, v",
    "named": "id AS other",
}
UNKNOWN = {
    "column": "id + nothing",
    "function": "nothing(id)",
    "typed": "at + v",
}
DEPENDENT = {
    "window": "sum(id) OVER ()",
    "rank": "row_number() OVER (PARTITION BY v ORDER BY id)",
    "subquery": "(SELECT max(bid) FROM datamart.datamart.b)",
    "exists": "EXISTS (SELECT 1 FROM datamart.datamart.b AS other WHERE other.id > 1)",
    "list": "id IN (SELECT bid FROM datamart.datamart.b)",
    "aggregate": "max(id)",
    "rows": "explode(array(id, bid))",
    "clock": "at < current_timestamp()",
    "now": "coalesce(at, now())",
    "today": "datediff(current_date(), at)",
    "unix": "unix_timestamp()",
    "moment": "at < timestamp 'now'",
    "cast": "at < cast('to' || 'day' AS timestamp)",
    "implied": "at < 'yesterday'",
    "parsed": "at < to_timestamp('now')",
    "parsed_day": "to_date('today') > to_date(at)",
    "zone": "current_timezone()",
    "random": "rand(7) + id",
    "uuid": "uuid()",
    "place": "monotonically_increasing_id()",
    "partition": "spark_partition_id() + id",
    "file": "input_file_name()",
    "catalog": "current_catalog() || v",
    "engine": "version()",
    "cipher": "aes_encrypt(v, '0000111122223333')",
    "java": "java_method('java.util.UUID', 'randomUUID')",
    "shuffled": "shuffle(array(id, bid))",
}
FILTERS = {
    "filter_subquery": "id = (SELECT max(bid) FROM datamart.datamart.b)",
    "filter_clock": "at < now()",
    "filter_random": "rand() < 0.5",
    "filter_column": "nothing > 0",
    "filter_number": "id",
    "filter_more": "id > 0 UNION ALL SELECT 1, now(), '', 1, now()",
}
TABLES = """
create table a (id int primary key, at timestamptz not null default now(), v text);
create table b (bid int primary key, id int, seen timestamptz not null default now());
insert into a select i, now(), 'before' from generate_series(1, 9) as i;
insert into b select i, i from generate_series(1, 3) as i;
"""


def two_tables(laptop: Laptop, connection: Connection, marts: dict[str, Any]) -> Laptop:
    connection.execute(TABLES)
    tables = {"a": {"from": "public.a", "cursor": "at"}, "b": {"from": "public.b", "cursor": "seen"}}
    return laptop.configure(tables, marts)


def joined(connection: Connection, how: str) -> list[dict[str, Any]]:
    return rows_of(connection, f"select a.*, b.bid, b.seen from a {how} join b using (id)", "public")


@pytest.mark.engines("matrix")
def test_r8_an_inner_join_made_left_has_rows_without_a_match_and_made_inner_again_loses_them(
    laptop: Laptop, connection: Connection
) -> None:
    two_tables(laptop, connection, {"m": INNER}).run()
    laptop.settings["marts"]["m"] = LEFT
    assert laptop.save().run()["marts"]["m"]["inserted"] == 6
    assert_same("m", laptop.rows("m"), joined(connection, "left"), ("id", "bid"))
    laptop.settings["marts"]["m"] = INNER
    assert laptop.save().run()["marts"]["m"]["deleted"] == 6
    assert_same("m", laptop.rows("m"), joined(connection, "inner"), ("id", "bid"))


@pytest.mark.parametrize("command", [("reconcile",), ("run", "--load-type", "full")], ids=" ".join)
def test_a_row_with_null_in_its_key_leaves_mirror_and_mart(
    laptop: Laptop, connection: Connection, command: tuple[str, ...]
) -> None:
    """As versions before 0.1, or another tool, may have written it."""
    two_tables(laptop, connection, {"m": LEFT}).run()
    for table, key in (("datamart.datamart.a", "id"), ("datamart.datamart.m", "id")):
        if any(field.required for field in laptop.table(table[-1]).schema().fields):
            laptop.spark_sql(f"alter table {table} drop identifier fields {key}")
            laptop.spark_sql(f"alter table {table} alter column {key} drop not null")
    laptop.run()
    columns = "id, at, v, _run_id, _merged_at"
    laptop.spark_sql(
        f"insert into datamart.datamart.a ({columns}) select null, at, v, _run_id, _merged_at "
        "from datamart.datamart.a where id = 9"
    )
    laptop.run()
    ended = laptop.command(*command)
    assert ended.exit_code == 0, ended.stderr
    assert ended.report["tables"]["a"]["deleted"] == 1
    assert_same("m", laptop.rows("m"), joined(connection, "left"), ("id", "bid"))
    assert {row["id"] for row in laptop.rows("a")} == set(range(1, 10))


@pytest.mark.engines("matrix")
@pytest.mark.parametrize("mode", ["merge-on-read", "copy-on-write"])
def test_r8_a_merge_that_touches_fewer_rows_than_were_counted_is_not_published(
    laptop: Laptop, connection: Connection, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    two_tables(laptop, connection, {"m": INNER})
    for settings in (*laptop.settings["tables"].values(), *laptop.settings["marts"].values()):
        settings["properties"] = {"write.merge.mode": mode}
    laptop.save().run()
    before = {name: laptop.rows(name) for name in ("a", "m")}
    connection.execute(
        "update a set v = 'after', at = now() where id = 2; update a set at = now() where id = 3"
    )

    def missing_one(*arguments: Any) -> Merge:
        merge = Merge(*arguments)
        return replace(merge, bounds=f"{merge.bounds} AND _datamart_old.id <> 2")

    monkeypatch.setattr(changeset, "Merge", missing_one)
    report = laptop.failing_run()
    assert "0 to insert, 2 to update, 0 to delete" in report["tables"]["a"]["error"]["message"]
    assert "9 rows became 10" in report["tables"]["a"]["error"]["message"]
    assert {name: laptop.rows(name) for name in ("a", "m")} == before
    monkeypatch.setattr(changeset, "Merge", Merge)
    laptop.run()
    assert_same("m", laptop.rows("m"), joined(connection, "inner"), ("id", "bid"))


def test_r21_a_column_that_is_compared_otherwise_now_is_told_though_no_row_changed(
    laptop: Laptop, connection: Connection
) -> None:
    connection.execute(
        "create table c (id int primary key, word text, at timestamptz default now());"
        "create table d (did int primary key, word text, seen timestamptz default now());"
        "insert into c values (1, 'one'), (2, 'two'); insert into d values (1, 'one'), (2, 'TWO');"
        """create collation loose from "C";"""
        "update pg_collation set collisdeterministic = false where collname = 'loose'"
    )
    tables = {"c": {"from": "public.c", "cursor": "at"}, "d": {"from": "public.d", "cursor": "seen"}}
    mart = {"from": "c", "joins": [{"table": "d", "on": ["word"], "how": "inner"}]}
    laptop.configure(tables, {"m": mart}).run()
    connection.execute("alter table d alter word type text collate loose")
    for verb in ("run", "verify"):
        ended = laptop.command(verb)
        assert ended.exit_code == 1, ended
        assert "mart 'm' joins 'c.word' = 'd.word': 'd.word' is text with a nondeterministic" in ended.stdout


def test_r21_what_is_more_than_its_row_is_refused_before_anything_is_written(
    laptop: Laptop, connection: Connection
) -> None:
    expressions = {**DEPENDENT, **NO_COLUMN, **UNKNOWN}
    marts: dict[str, Any] = {name: {**LEFT, "expressions": {"e": text}} for name, text in expressions.items()}
    marts |= {name: {**LEFT, "filter": text} for name, text in FILTERS.items()}
    right = {**LEFT, "expressions": ROW_LOCAL, "filter": "v <> 'now' AND id BETWEEN 1 AND 8 -- eight rows"}
    ended = two_tables(laptop, connection, {**marts, "right": right}).command("run")
    assert ended.exit_code == 2, "all of it is in the settings"
    found = ended.report["marts"]
    assert found.pop("right")["inserted"] == 8
    assert {name for name, part in found.items() if part["outcome"] != "failed"} == set()
    for name, part in found.items():
        place = f"marts.{name}.{'filter' if name in FILTERS else 'expressions.e'}"
        assert place in part["error"]["message"], part["error"]
        assert "Nothing was written." in part["error"]["hint"]
        with pytest.raises(NoSuchTableError):
            laptop.table(name)


def test_r21_each_row_has_one_verdict_and_is_in_one_table(laptop: Laptop, connection: Connection) -> None:
    two_tables(laptop, connection, {}).run()
    check = {"type": "expression", "name": "half", "sql": "rand() < 0.5", "on_fail": "reject"}
    laptop.settings["tables"]["a"]["checks"] = [check]
    connection.execute("insert into a select i, now(), 'more' from generate_series(10, 309) as i")
    report = laptop.save().run()["tables"]["a"]
    kept = {row["id"] for row in laptop.rows("a")}
    rejected = [
        json.loads(row["row"])["id"] for row in laptop.table("a__rejected").scan().to_arrow().to_pylist()
    ]
    assert report["inserted"] + report["rejected"] == 300
    assert len(rejected) == len(set(rejected)) == report["rejected"] > 0
    assert kept | set(rejected) == set(range(1, 310))
    assert kept & set(rejected) == set()
