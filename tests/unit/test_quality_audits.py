"""What is wrong with a table as a whole: the statements, run by another engine, beside the rule in Python."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.plan.planner import merge_order
from iceberg_datamart.core.quality.audits import (
    Audit,
    CountAudit,
    ForeignKeyAudit,
    KeyAudit,
    SqlAudit,
    audits_of,
    first_failures,
)
from iceberg_datamart.core.settings.audits import AuditConfig
from iceberg_datamart.errors import ConfigError
from support.fakes.ports import configured, table
from support.oracles.sqlite_engine import SQLITE, Engine

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = (Column("id", "int", nullable=False), Column("a", "int"), Column("b c", "string"))
SAID = ("tables.t.audits[0]", "n", "error")
values = st.one_of(st.none(), st.integers(0, 2))
pairs = st.lists(st.tuples(values, values), max_size=8)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    found = Engine()
    yield found
    found.close()


def compiled(*audits: dict[str, Any]) -> tuple[Audit, ...]:
    settings = [AuditConfig.model_validate(audit) for audit in audits]
    return audits_of("tables.t", settings, COLUMNS, ("id",))


@given(rows=pairs)
def test_a_key_is_doubled_where_two_rows_have_it_also_where_it_holds_nulls(
    engine: Engine, rows: list[tuple[Any, ...]]
) -> None:
    relations = {"t": engine.put("t", ["id", "b c"], rows)}
    found = engine.rows(KeyAudit(*SAID, "t", ("id", "b c")).failing_sql(SQLITE, relations))
    assert sorted(found, key=repr) == sorted((k for k, n in Counter(rows).items() if n > 1), key=repr)


@pytest.mark.parametrize("columns", [(("a", "x"),), (("a", "x"), ("b c", "y z"))])
@given(rows=pairs, parents=pairs)
def test_a_row_points_to_nothing_where_it_has_no_null_and_no_row_there_has_its_values(
    engine: Engine, columns: tuple[tuple[str, str], ...], rows: list[Any], parents: list[Any]
) -> None:
    numbered = [(number, *row) for number, row in enumerate(rows)]
    relations = {
        "t": engine.put("t", ["id", "a", "b c"], numbered),
        "p": engine.put("p", ["x", "y z"], parents),
    }
    audit = ForeignKeyAudit(*SAID, "t", ("id",), "p", columns)
    width = len(columns)
    there = [parent[:width] for parent in parents]
    expected = [row[: 1 + width] for row in numbered if None not in row[1 : 1 + width]]
    assert sorted(engine.rows(audit.failing_sql(SQLITE, relations))) == sorted(
        row for row in expected if row[1:] not in there
    )


def test_a_foreign_key_may_point_to_the_table_itself(engine: Engine) -> None:
    relations = {"t": engine.put("t", ["id", "a", "b c"], [(1, None, ""), (2, 1, ""), (3, 9, "")])}
    audit = ForeignKeyAudit(*SAID, "t", ("id",), "t", (("a", "id"),))
    assert engine.rows(audit.failing_sql(SQLITE, relations)) == [(3, 9)]


def test_a_statement_of_people_reads_the_relations_and_may_end_in_a_comment(engine: Engine) -> None:
    relations = {"t": engine.put("staged", ["id"], [(1,), (2,)]), "o": engine.put("o", ["id"], [(2,)])}
    audit = SqlAudit(*SAID, "SELECT id FROM {t} WHERE id IN (SELECT id FROM {o}) -- only {{these}}")
    assert audit.tables == ("t", "o")
    assert engine.rows(audit.failing_sql(SQLITE, relations)) == [(2,)]
    listed = SqlAudit(*SAID, "WITH x AS (SELECT 7 AS y) SELECT * FROM x")
    assert engine.rows(listed.failing_sql(SQLITE, {})) == [(7,)]


@pytest.mark.parametrize(
    ("least", "most", "rows", "says"),
    [
        (None, 2, 2, None),
        (None, 2, 3, "3 rows; max is 2"),
        (2, None, 2, None),
        (2, None, 1, "1 rows; min is 2"),
        (0, 0, 0, None),
    ],
)
def test_the_number_of_rows_lies_within_its_bounds(
    engine: Engine, least: int | None, most: int | None, rows: int, says: str | None
) -> None:
    audit = CountAudit(*SAID, "t", least, most)
    relations = {"t": engine.put("t", ["id"], [(number,) for number in range(rows)])}
    assert engine.rows(audit.count_sql(relations)) == [(rows,)]
    assert audit.finding(rows) == says


def test_each_type_becomes_its_audit_with_its_place_its_name_and_what_follows() -> None:
    found = compiled(
        {"type": "unique_key"},
        {"type": "row_count", "min": 1, "name": "some", "on_fail": "warn"},
        {"type": "foreign_key", "columns": {"a": "x"}, "table": "o"},
        {"type": "sql", "sql": "select 1 from {t}"},
    )
    assert found == (
        KeyAudit("tables.t.audits[0]", "unique_key", "error", "t", ("id",)),
        CountAudit("tables.t.audits[1]", "some", "warn", "t", 1, None),
        ForeignKeyAudit("tables.t.audits[2]", "foreign_key (a)", "error", "t", ("id",), "o", (("a", "x"),)),
        SqlAudit("tables.t.audits[3]", "sql (select 1 from {t})", "error", "select 1 from {t}"),
    )
    assert [audit.tables for audit in found] == [("t",), ("t",), ("t", "o"), ("t",)]


def test_a_column_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigError) as caught:
        compiled({"type": "unique_key"}, {"type": "foreign_key", "columns": ["zz"], "table": "o"})
    assert caught.value.message == "tables.t.audits[1]: there is no column 'zz'"
    assert caught.value.hint == "Columns are: id, a, b c."


def test_a_finding_says_how_many_and_shows_the_first() -> None:
    key, foreign = KeyAudit(*SAID, "t", ("id",)), ForeignKeyAudit(*SAID, "t", ("id",), "p", (("a", "x"),))
    assert key.finding(1, "id=1") == "1 key has several rows: id=1"
    assert key.finding(2, "id=1; id=2") == "2 keys have several rows, the first: id=1; id=2"
    assert foreign.finding(1, "id=1, a=2") == "1 row points to no row of 'p': id=1, a=2"
    assert SqlAudit(*SAID, "").finding(5, "x=1") == "5 rows found, the first: x=1"


def test_what_is_shown_of_a_row_is_short() -> None:
    rows = [[("id", 1), ("text", "x" * 61)], [("id", None)]]
    assert first_failures(rows) == f"id=1, text={'x' * 60}…; id=None"


# --- which table comes first


def test_tables_come_after_those_that_their_audits_name_and_the_others_first() -> None:
    def naming(*names: str) -> dict[str, Any]:
        audits = [{"type": "foreign_key", "columns": ["id"], "table": name} for name in names]
        return table("x", audits=audits)

    tables = {"d": naming("b", "c"), "b": naming("a", "b"), "a": naming(), "c": naming("a"), "e": naming()}
    config = configured(tables=tables)
    assert list(merge_order(config, tables).items()) == [
        ("a", ()),
        ("e", ()),
        ("b", ("a",)),
        ("c", ("a",)),
        ("d", ("b", "c")),
    ]
    assert merge_order(config, ["d", "c"]) == {"c": (), "d": ("c",)}, "those that do not run are not awaited"
