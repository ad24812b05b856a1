"""DuckDB's dialect says what Spark's says: literals, equality, order, and what a MERGE would leave."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.core.changes import Lineage, Merge
from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.mart.arms import Taken, restricted_sql
from iceberg_datamart.core.quality.predicates import Expression
from iceberg_datamart.core.source.slices import Slicing
from iceberg_datamart.core.sql.changeset import Sides, changeset_sql, differences_sql, single_changes_sql
from iceberg_datamart.core.sql.duckdb import DUCKDB
from iceberg_datamart.errors import LakeError, NeedsSparkError
from iceberg_datamart.lake.in_process.digests import digests_sql
from iceberg_datamart.lake.in_process.failures import translating
from iceberg_datamart.lake.in_process.session import Session
from iceberg_datamart.lake.in_process.writing import matched_sql, written_sql
from support.fakes.ports import NOON

if TYPE_CHECKING:
    from collections.abc import Iterator

LAST = 2**63 - 2
LITERALS = [
    (LAST, "timestamptz", "epoch_us({})"),
    (-(10**17), "timestamp", "epoch_us({})"),
    (2_145_031_948, "date", "{} - DATE '1970-01-01'"),
    (-(2**63), "long", "{}"),
    (-(2**31), "int", "{}"),
    ("it's \\ \n\"", "string", "{}"),
    (Decimal("-12345678901234567890123456789012345.678"), "decimal(38, 3)", "{}"),
    (Decimal("1E+3"), "decimal(4, 0)", "{}"),
    (Decimal("0.000000000001"), "decimal(38, 12)", "{}"),
    (1e-310, "double", "{}"),
    (float("-inf"), "double", "{}"),
    (True, "boolean", "{}"),
]


@pytest.fixture
def session() -> Iterator[Session]:
    found = Session()
    yield found
    found.close()


@pytest.mark.parametrize(("value", "kind", "back"), LITERALS)
def test_a_literal_is_the_value_that_it_was_made_of(
    session: Session, value: Any, kind: str, back: str
) -> None:
    assert session.fetched(f"SELECT {back.format(DUCKDB.literal(value, kind))}") == [(value,)]


@pytest.mark.parametrize(
    ("value", "kind"), [(2**63 - 1, "timestamptz"), (Decimal("1" * 39), "decimal(38, 0)")]
)
def test_a_literal_that_duckdb_cannot_hold_is_left_to_spark(value: Any, kind: str) -> None:
    with pytest.raises(NeedsSparkError):
        DUCKDB.literal(value, kind)


def test_sql_that_people_wrote_is_left_to_spark() -> None:
    with pytest.raises(NeedsSparkError, match="size"):
        Expression("size(v) > 1").sql(DUCKDB)


def test_nan_is_nan_and_minus_zero_is_zero_also_as_keys_and_within_lists(session: Session) -> None:
    session.cursor.execute(
        "CREATE TABLE l AS SELECT * FROM (VALUES ('nan'::DOUBLE), (-0.0::DOUBLE), (NULL)) AS t(x)"
    )
    session.cursor.execute(
        "CREATE TABLE r AS SELECT * FROM (VALUES ('nan'::DOUBLE), (0.0::DOUBLE), (NULL)) AS t(x)"
    )
    for left, right in (("l.x", "r.x"), ("[l.x]", "[r.x]")):
        joined = f"SELECT count(*) FROM l FULL OUTER JOIN r ON {DUCKDB.same(left, right)}"
        assert session.fetched(joined) == [(3,)]


def test_null_comes_first_and_with_desc_last_and_nan_is_the_greatest(session: Session) -> None:
    values = "(VALUES ('nan'::DOUBLE), (1.0), (NULL), ('inf'::DOUBLE)) AS t(x)"
    up = [str(x) for (x,) in session.fetched(f"SELECT x FROM {values} ORDER BY x")]
    down = [str(x) for (x,) in session.fetched(f"SELECT x FROM {values} ORDER BY x DESC")]
    assert up == ["None", "1.0", "inf", "nan"]
    assert down == up[::-1]


@pytest.mark.parametrize("protected", [None, "protected"])
@pytest.mark.parametrize("null_safe", [False, True])
def test_no_comparison_joins_each_row_with_every_other(
    session: Session, protected: str | None, *, null_safe: bool
) -> None:
    for name in ("new", "old", "protected"):
        session.cursor.execute(f'CREATE TABLE {name} AS SELECT i AS "k", i AS "v" FROM range(10000) AS t(i)')
    sides = Sides("new", "old", ["k"], ["k", "v"], protected=protected, null_safe=null_safe)
    for select in (changeset_sql(DUCKDB, sides, full=True), differences_sql(DUCKDB, sides)):
        assert_joined_by_hash(session, select)


def assert_joined_by_hash(session: Session, select: str) -> None:
    plan = session.fetched(f"EXPLAIN {select}")[0][1]
    assert "HASH_JOIN" in plan
    assert "NL_JOIN" not in plan
    assert "NESTED_LOOP" not in plan


def test_of_a_window_only_the_keys_that_it_has_are_counted(session: Session) -> None:
    session.cursor.execute('CREATE TABLE old AS SELECT i AS "k", i AS "v" FROM range(100000) AS t(i)')
    session.cursor.execute('CREATE TABLE new AS SELECT i AS "k", 0 AS "v" FROM range(99990, 100010) AS t(i)')
    session.cursor.execute("INSERT INTO old VALUES (99999, 7), (5, 5)")
    select = changeset_sql(DUCKDB, Sides("new", "old", ["k"], ["k", "v"]), full=False)
    [plan] = json.loads(session.fetched(f"EXPLAIN (ANALYZE, FORMAT json) {select}")[0][1])["children"]
    assert counted_rows(plan) == [11]
    changes = f"SELECT _datamart_change, count(*) FROM ({select}) GROUP BY ALL"
    assert dict(session.fetched(changes)) == {"insert": 10, "update": 9, "replace": 1}


def counted_rows(plan: dict[str, Any]) -> list[int]:
    """Return how many rows the windows of a plan had."""
    found = [rows for child in plan["children"] for rows in counted_rows(child)]
    return [*found, plan["operator_cardinality"]] if "WINDOW" in plan["operator_name"] else found


def test_no_merge_joins_each_row_with_every_other(session: Session) -> None:
    old = "SELECT i AS k, i AS v, 'f' AS _datamart_file, i AS _datamart_pos FROM range(10000) AS t(i)"
    session.cursor.execute(f"CREATE TABLE old AS {old}")
    session.cursor.execute(
        "CREATE TABLE new AS SELECT i AS k, i AS v, 'update' AS _datamart_change FROM range(10000) AS t(i)"
    )
    merge = Merge("t", "new", ["k"], ["k", "v"], Lineage("me", NOON))
    matched = session.kept(matched_sql(merge, "old"))
    for select in (matched_sql(merge, "old"), written_sql(merge, matched)):
        assert_joined_by_hash(session, select)


def test_no_arm_of_a_mart_keeps_all_rows_of_the_mart(session: Session) -> None:
    """For an EXISTS beside other predicates DuckDB does: a join by the values of both sides."""
    session.cursor.execute('CREATE TABLE mart AS SELECT i AS "id", i AS "v" FROM range(100000) AS t(i)')
    session.cursor.execute('CREATE TABLE keys AS SELECT i * 100 AS "id" FROM range(1000) AS t(i)')
    key = Column("id", "long")
    arms = [Taken(("id",), [key], [(i * 100,) for i in range(n)], "keys") for n in (500, 1000)]
    select = restricted_sql(DUCKDB, "mart", ["id", "v"], arms)
    assert "DELIM" not in session.fetched(f"EXPLAIN {select}")[0][1]
    assert session.fetched(f"SELECT count(*), count(DISTINCT id) FROM ({select})") == [(500, 500)]


def test_a_merge_leaves_what_its_changes_say(session: Session) -> None:
    """Keys may be there twice, or be NULL; an update keeps what the table has of absent columns."""
    dice = random.Random(1)  # noqa: S311  (repeatable on purpose)
    old = [(key, dice.randrange(3), f"kept {key}", at) for at, key in enumerate([*range(40), 5, 5, 9, None])]
    new = {key: dice.randrange(3) for key in (*range(0, 50, 2), 9, 5, None)}
    put(session, "old", ["k", "v", "absent", "_datamart_pos"], old)
    session.cursor.execute("ALTER TABLE old ADD COLUMN _datamart_file VARCHAR DEFAULT 'file'")
    put(session, "new", ["k", "v"], list(new.items()))
    sides = Sides("new", "old", ["k"], ["k", "v"], null_safe=True)
    held = session.kept(changeset_sql(DUCKDB, sides, full=True))
    changes = f"({single_changes_sql(DUCKDB, held, ['k', 'v'])})"
    merge = Merge("t", changes, ["k"], ["k", "v"], Lineage("me", NOON), [Column("absent", "string")])
    matched = session.kept(matched_sql(merge, "old"))
    gone = {pos for (pos,) in session.fetched(f"SELECT _datamart_pos FROM {matched}")}
    written = session.fetched(f'SELECT "k", "v", "absent" FROM ({written_sql(merge, matched)})')
    left = [(key, value) for key, value, _, pos in old if pos not in gone]
    assert sorted(map(str, [*left, *(row[:2] for row in written)])) == sorted(map(str, new.items()))
    kept = {key: text for key, _, text, _ in old}
    twice = {5, 9}
    for key, _, absent in written:
        assert absent == (None if key in twice else kept.get(key)), key


def put(session: Session, name: str, columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    kinds = ", ".join(f"{c} {'VARCHAR' if c == 'absent' else 'BIGINT'}" for c in columns)
    session.cursor.execute(f"CREATE TABLE {name} ({kinds})")
    marks = ", ".join("?" for _ in columns)
    session.cursor.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)


def test_more_columns_than_duckdb_nests_operators_are_digested(session: Session) -> None:
    columns = {f"c{number}": "long" for number in range(1200)}
    session.cursor.execute(f"CREATE TABLE wide ({', '.join(f'{name} BIGINT' for name in columns)})")
    session.cursor.execute(f"INSERT INTO wide SELECT {', '.join('7' for _ in columns)}")
    ((slice_number, rows, *_),) = session.fetched(
        digests_sql("wide", columns, Slicing.of(Column("c0", "long"), 0, 99, 4))
    )
    assert (slice_number, rows) == (0, 1)


def test_what_duckdb_cannot_compute_is_left_to_spark(session: Session) -> None:
    with pytest.raises(NeedsSparkError, match="queue: it cannot be done in process"), translating("queue"):
        session.fetched(f"SELECT {'1 + ' * 1200}1")


def test_what_memory_has_no_room_for_goes_to_a_private_folder_that_is_removed() -> None:
    session = Session("60MB")
    folder = session._scratch.path
    assert folder.stat().st_mode & 0o077 == 0
    held = session.kept("SELECT i, md5(CAST(i AS VARCHAR)) AS s FROM range(3000000) AS t(i)")
    assert sum(path.stat().st_size for path in folder.iterdir()) > 10_000_000
    assert session.fetched(f"SELECT count(DISTINCT i) FROM {held}") == [(3_000_000,)]
    session.close()
    assert not folder.exists()


def test_too_little_memory_is_told_with_the_setting_to_change() -> None:
    session = Session("60MB")
    with pytest.raises(LakeError) as raised, translating("queue"):
        session.fetched("SELECT list(CAST(i AS VARCHAR)) FROM range(20000000) AS t(i)")
    assert raised.value.message.startswith("queue: memory was too little")
    assert "run.memory" in raised.value.hint
    session.close()


def test_a_decimal_may_have_all_its_digits_behind_the_point(session: Session) -> None:
    value = Decimal("-0." + "9" * 38)
    assert session.fetched(f"SELECT {DUCKDB.literal(value, 'decimal(38, 38)')}") == [(value,)]
    assert session.fetched(f"SELECT {DUCKDB.literal(Decimal(0), 'decimal(4, 4)')}") == [(Decimal(0),)]
