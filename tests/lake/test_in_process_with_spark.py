"""Spark and the in-process engine on one table: each reads what the other wrote, and goes on from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.core.columns import Column
from iceberg_datamart.errors import NeedsSparkError
from iceberg_datamart.lake.runtime import GLUE_4_0, present_runtime
from iceberg_datamart.lake.spark.session import open_session
from support.lakes.local_lake import LocalLake, Row, numbered, ordered

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.runtime, pytest.mark.matrix_on("glue-4.0")]

NAME = "datamart.datamart.t"
COLUMNS = (Column("id", "long"), Column("v", "string"), Column("n", "int"))


class Both:
    """One table, its reader in process, and Spark as another tool has it."""

    def __init__(self, folder: Path, warehouse: str | None = None) -> None:
        self.lake = LocalLake(folder, warehouse)
        # As the lake makes it on this runtime: Iceberg 1.0 plans no MERGE into required columns.
        self.lake.create(columns=COLUMNS)
        # Not staged: what Spark writes here is seen at once.
        self.lake.catalog.set_properties("t", {"write.wap.enabled": "false"})
        self._spark = open_session(self.lake.config)

    def sql(self, text: str) -> list[Row]:
        return [tuple(row) for row in self._spark.sql(text).collect()]

    def merge(self, first: int, last: int, v: str) -> None:
        """Let Spark update and insert rows, and delete those of which it says so."""
        rows = f"SELECT id, concat('{v}', id) AS v, 1 AS n FROM range({first}, {last + 1})"
        self.sql(
            f"MERGE INTO {NAME} o USING ({rows}) s ON o.id = s.id "
            "WHEN MATCHED AND s.id % 10 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET * "
            "WHEN NOT MATCHED THEN INSERT *"
        )

    def rows(self) -> list[Row]:
        """Return the rows, which all readers must find alike."""
        rows = self.lake.rows_of_all_readers()
        assert ordered(self.sql(f"SELECT * FROM {NAME}")) == rows
        return rows


@pytest.fixture
def both(tmp_path: Path) -> Both:
    return Both(tmp_path)


def expected(rows: dict[int, tuple[str, int | None]]) -> list[Row]:
    return ordered([(key, *values) for key, values in rows.items()])


def merged(rows: dict[int, tuple[str, int | None]], first: int, last: int, v: str) -> None:
    for key in range(first, last + 1):
        if key % 10 == 0 and key in rows:
            del rows[key]
        else:
            rows[key] = (f"{v}{key}", 1)


@pytest.mark.parametrize("granularity", ["partition", "file"])
def test_each_goes_on_from_what_the_other_wrote(both: Both, granularity: str) -> None:
    # Both merge manifests, also those that the other wrote.
    few = {"commit.manifest.min-count-to-merge": "3"}
    both.lake.catalog.set_properties("t", {"write.delete.granularity": granularity, **few})
    rows: dict[int, tuple[str, int | None]] = {}
    both.lake.change(numbered(1, 40))
    rows |= {key: (f"v{key}", None) for key in range(1, 41)}
    for step, first in enumerate((5, 17, 1, 25), start=1):
        both.merge(first, first + 20, f"spark{step}-")
        merged(rows, first, first + 20, f"spark{step}-")
        assert both.rows() == expected(rows)
        both.lake.change(numbered(first, first + 6, f"mine{step}-"), f"id BETWEEN {first} AND {first + 7}")
        rows |= {key: (f"mine{step}-{key}", None) for key in range(first, first + 7)}
        rows.pop(first + 7, None)
        assert both.rows() == expected(rows)
    assert int(both.lake.summary()["total-position-deletes"]) > 40


def maintained(both: Both) -> None:
    both.sql(
        f"CALL datamart.system.rewrite_data_files(table => '{NAME}', options => map('rewrite-all', 'true'))"
    )


def tidied(both: Both) -> None:
    if present_runtime() is not GLUE_4_0:
        options = "options => map('rewrite-all', 'true')"
        both.sql(f"CALL datamart.system.rewrite_position_delete_files(table => '{NAME}', {options})")


def gathered(both: Both) -> None:
    both.sql(f"CALL datamart.system.rewrite_manifests(table => '{NAME}')")


def expired(both: Both) -> None:
    both.sql(
        f"CALL datamart.system.expire_snapshots(table => '{NAME}', "
        "older_than => timestamp '2100-01-01 00:00:00', retain_last => 1)"
    )


def rewritten(both: Both) -> None:
    both.lake.catalog.set_properties("t", {"write.update.mode": "copy-on-write"})
    both.sql(f"UPDATE {NAME} SET n = n WHERE id = 2")


@pytest.mark.parametrize("tool", [maintained, tidied, gathered, expired, rewritten])
def test_what_another_tool_maintains_is_read_and_written_on(both: Both, tool: Callable[[Both], None]) -> None:
    both.lake.change(numbered(1, 30))
    both.merge(3, 33, "spark")
    both.lake.change(numbered(1, 2, "mine"), "id <= 4")
    before = both.rows()
    tool(both)
    assert both.rows() == before
    both.lake.change(numbered(50, 52), "id = 5")
    after = both.rows()
    assert len(after) == len(before) + 2
    tool(both)
    assert both.rows() == after
    both.merge(49, 60, "again")
    assert {row[0] for row in both.rows()} == ({row[0] for row in after} | set(range(49, 61))) - {50}


def test_more_manifests_than_iceberg_keeps_are_merged_and_nothing_is_lost(both: Both) -> None:
    both.lake.catalog.set_properties("t", {"commit.manifest.min-count-to-merge": "20"})
    both.lake.change(numbered(1, 2000))
    for each in range(1, 25):
        both.lake.change(numbered(each, each, f"{each}-"), f"id = {each}", mark=str(each))
    table = both.lake.tables.load("t")
    current = table.current_snapshot()
    assert current is not None
    assert len(current.manifests(table.io)) < 20
    rows = both.rows()
    assert len(rows) == 2000
    assert sum(row[1] == f"{row[0]}-{row[0]}" for row in rows) == 24
    assert both.lake.summary()["mark"] == "24"
    assert both.lake.summary()["total-position-deletes"] == "24"
    both.merge(1, 30, "spark")
    assert len(both.rows()) == 2000 - 3
    both.lake.change(numbered(10, 10), None)
    assert len(both.rows()) == 2000 - 2


def test_columns_change_between_the_engines(both: Both) -> None:
    both.lake.change("SELECT 1::BIGINT AS id, 'one' AS v, 11 AS n UNION ALL SELECT 2, 'two', 22")
    both.sql(f"ALTER TABLE {NAME} RENAME COLUMN n TO number")
    both.sql(f"ALTER TABLE {NAME} ALTER COLUMN number TYPE bigint")
    both.sql(f"ALTER TABLE {NAME} ADD COLUMN late decimal(9, 2) AFTER id")
    assert both.rows() == [(1, None, "one", 11), (2, None, "two", 22)]
    both.lake.change(
        "SELECT 3::BIGINT AS id, 1.5::DECIMAL(9,2) AS late, 'three' AS v, 33::BIGINT AS number", "id = 1"
    )
    both.sql(f"ALTER TABLE {NAME} DROP COLUMN v")
    both.sql(f"ALTER TABLE {NAME} ADD COLUMN v int")
    both.sql(f"UPDATE {NAME} SET v = 7 WHERE id = 2")
    assert [(row[0], row[2], row[3]) for row in both.rows()] == [(2, 22, 7), (3, 33, None)]


def test_a_table_whose_only_snapshot_is_staged_is_empty_to_spark(both: Both) -> None:
    both.lake.catalog.set_properties("t", {"write.wap.enabled": "true"})
    staged = both.lake.stage(numbered(1, 3))
    assert both.sql(f"SELECT * FROM {NAME}") == []
    relation = f"datamart.datamart.t.snapshot_id_{staged.snapshot_id}"
    assert ordered(both.sql(f"SELECT id FROM {relation}")) == [(1,), (2,), (3,)]
    both.lake.staging().publish(staged)
    assert [row[0] for row in both.rows()] == [1, 2, 3]


def test_folders_may_have_any_name_that_java_can_name(tmp_path: Path) -> None:
    both = Both(tmp_path / "catalog", str(tmp_path / "a b's 100%25 wäre"))
    both.lake.change(numbered(1, 9))
    both.merge(2, 5, "spark")
    both.lake.change(numbered(7, 7, "mine"), "id IN (2, 7)")
    both.merge(7, 12, "again")
    assert sorted(row[0] for row in both.lake.rows()) == [1, *range(3, 13)]
    assert ordered(both.sql(f"SELECT * FROM {NAME}")) == both.lake.rows() == both.lake.rows_of_pyiceberg()


@pytest.mark.skipif(present_runtime() is GLUE_4_0, reason="Iceberg 1.0 has no such format")
def test_deletion_vectors_are_left_to_spark(both: Both) -> None:
    both.lake.change(numbered(1, 9))
    both.sql(f"ALTER TABLE {NAME} SET TBLPROPERTIES ('format-version' = '3')")
    both.merge(2, 5, "spark")
    with pytest.raises(NeedsSparkError, match="version 3"):
        both.lake.rows()


TYPES = {
    "b": "boolean",
    "i": "int",
    "l": "long",
    "f": "float",
    "d": "double",
    "p": "decimal(38, 9)",
    "q": "decimal(9, 2)",
    "day": "date",
    "z": "timestamptz",
    "s": "string",
    "x": "binary",
    "li": "list<int>",
    "ls": "list<string>",
}
VALUES: tuple[tuple[str, ...], ...] = (
    (
        *(
            "true",
            "-2147483648",
            "9223372036854775807",
            "'NaN'",
            "'Infinity'",
            "12345678901234567890.123456789",
        ),
        *("-9999999.99", "'2024-02-29'", "'2024-02-29 23:59:59.123456+00'", r"'tab	ü☃'", r"'\x00\xFF'"),
        *("[1, NULL]", "['a', NULL, '']"),
    ),
    (
        *("false", "2147483647", "-9223372036854775808", "'-0.0'", "5e-324", "-0.000000001"),
        *("0.01", "'9999-12-31'", "'1969-12-31 23:59:59.999999+00'", "''", "''", "[]", "[NULL]"),
    ),
    ("NULL",) * 13,
)


def of_types(first: int) -> str:
    rows = []
    for at, values in enumerate(VALUES, start=first):
        casts = (
            f"({value})::{duckdb} AS {name}"
            for (name, duckdb), value in zip(DUCKDB.items(), values, strict=True)
        )
        rows.append(f"SELECT {at}::BIGINT AS id, {', '.join(casts)}")
    return " UNION ALL ".join(rows)


DUCKDB = {
    **dict(zip(TYPES, ("BOOLEAN", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL(38,9)"), strict=False)),
    "q": "DECIMAL(9,2)",
    "day": "DATE",
    "z": "TIMESTAMPTZ",
    "s": "VARCHAR",
    "x": "BLOB",
    "li": "INTEGER[]",
    "ls": "VARCHAR[]",
}


def test_values_of_every_type_are_the_same_to_both(tmp_path: Path) -> None:
    both = Both(tmp_path)
    both.lake.create("k", columns=[Column("id", "long"), *(Column(*each) for each in TYPES.items())])
    both.lake.catalog.set_properties("k", {"write.wap.enabled": "false"})
    both.lake.change(of_types(1), name="k")
    both.sql(
        "INSERT INTO datamart.datamart.k SELECT id + 10, " + ", ".join(TYPES) + " FROM datamart.datamart.k"
    )
    columns = ", ".join(TYPES)
    mine = f"SELECT id % 10, {columns} FROM {both.lake.tables.relation('k')}"
    for one, other in (("< 10", "> 10"), ("> 10", "< 10")):
        differ = f"SELECT count(*) FROM (({mine} WHERE id {one}) EXCEPT ALL ({mine} WHERE id {other}))"
        assert both.lake.fetch(differ) == [(0,)]
    as_text = (
        # As text it has an exponent in Spark 3.3.
        "CAST(p * 1000000000 AS string)",
        "hex(x)",
        "CAST(day AS string)",
        "unix_micros(z)",
        "CAST(f AS string)",
        "s",
    )
    told = both.sql(f"SELECT {', '.join(as_text)} FROM datamart.datamart.k WHERE id IN (1, 2) ORDER BY id")
    assert told == [
        ("12345678901234567890123456789.000000", "00FF", "2024-02-29", 1709251199123456, "NaN", "tab\tü☃"),
        ("-1.000000", "", "9999-12-31", -1, "-0.0", ""),
    ]
    predicates: Any = ("i = -2147483648", "p < 0", "day > date '9000-01-01'", "s = ''", "d = 5e-324", "l > 0")
    for predicate in predicates:
        found = both.sql(f"SELECT count(*) FROM datamart.datamart.k WHERE {predicate}")
        assert found == [(2,)], predicate
    for (name, kind), *values in zip(DUCKDB.items(), *VALUES[:2], strict=True):
        for at, value in enumerate(values, start=1):
            for comparison in ("=", ">=", "<="):
                where = f"{name} {comparison} ({value})::{kind} AND id % 10 = {at}"
                found = both.lake.fetch(
                    f"SELECT count(*) FROM {both.lake.tables.relation('k')} WHERE {where}"
                )
                assert found == [(2,)], where
