"""What the generated SQL means: quoting, literals, key ranges, and changesets run by SQLite."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.changes import Lineage, Merge
from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.instants import EPOCH
from iceberg_datamart.core.sql.bounds import key_ranges, one_of, within
from iceberg_datamart.core.sql.changeset import Sides, changeset_sql
from iceberg_datamart.core.sql.dialect import matching
from iceberg_datamart.core.sql.keys import Batch, deduplicated_sql
from iceberg_datamart.core.sql.merge import merge_sql
from iceberg_datamart.core.sql.reserved import CHANGE, COPIES, NEW, OLD
from iceberg_datamart.core.sql.spark import SPARK, literal, quoted
from support.oracles.sqlite_engine import SQLITE, Engine, needs_full_join

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

names = st.text(min_size=1, max_size=12)
Row = tuple[Any, ...]


@pytest.fixture
def engine() -> Iterator[Engine]:
    found = Engine()
    yield found
    found.close()


# --- names and values


@given(names)
def test_a_quoted_name_is_one_name_whatever_is_in_it(name: str) -> None:
    inside = quoted(name)[1:-1]
    assert inside.replace("``", "").count("`") == 0
    assert inside.replace("``", "`") == name


def test_parts_of_a_name_are_quoted_one_by_one() -> None:
    assert quoted("lake", "my.db", "a`b") == "`lake`.`my.db`.`a``b`"


@given(st.text())
def test_a_text_literal_ends_where_the_text_ends(value: str) -> None:
    body = literal(value)
    assert re.fullmatch(r"'(?:[^'\\]|\\.)*'", body, re.DOTALL)
    assert re.sub(r"\\(.)", r"\1", body[1:-1], flags=re.DOTALL) == value


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (7, "int", "7"),
        (7, "long", "7L"),
        (-7, "long", "-7L"),
        ("7", "string", "'7'"),
        ("it's \\ here", "string", "'it\\'s \\\\ here'"),
        (-1, "timestamptz", "timestamp_micros(-1L)"),
        (-1, "date", "date_from_unix_date(-1)"),
        (Decimal("1.50"), "decimal(9, 2)", "1.50BD"),
        (Decimal("1E+3"), "decimal(9, 0)", "1000BD"),
        (Decimal("1E-7"), "decimal(9, 7)", "0.0000001BD"),
        (12, "decimal(9, 0)", "12"),
    ],
)
def test_a_literal_has_the_type_of_its_column(value: object, kind: str, text: str) -> None:
    assert literal(value, kind) == text


# --- key ranges


numbers = st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300)


def held(ranges: list[tuple[int, int]], value: int) -> bool:
    return any(low <= value <= high for low, high in ranges)


@given(st.lists(st.none() | numbers, max_size=200))
def test_key_ranges_hold_every_value_in_at_most_31_parts(values: list[int | None]) -> None:
    ranges = key_ranges(Column("id", "long"), values)
    assert len(ranges) <= 31
    assert bool(ranges) == any(value is not None for value in values)
    assert all(held(ranges, value) for value in values if value is not None)


@given(st.lists(numbers, min_size=1, max_size=200))
def test_key_ranges_are_apart_in_order_and_begin_and_end_at_values(values: list[int]) -> None:
    ranges = key_ranges(Column("id", "long"), values)
    edges = [edge for ends in ranges for edge in ends]
    assert edges == sorted(edges)
    assert set(edges) <= set(values)
    assert all(high < low for high, low in zip(edges[1:-1:2], edges[2::2], strict=True))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30, unique=True))
def test_up_to_thirty_scattered_keys_bound_nothing_but_themselves(values: list[int]) -> None:
    ranges = key_ranges(Column("id", "int"), values)
    assert sum(high - low + 1 for low, high in ranges) == len(values)


def test_the_largest_gaps_are_cut_first() -> None:
    clumps = [base + step for base in range(0, 40_000_000, 1_000_000) for step in (0, 2, 4)]
    ranges = key_ranges(Column("id", "int"), clumps)
    assert len(ranges) == 31
    assert all(high % 1_000_000 == 4 for _, high in ranges)


@given(st.lists(st.text(), min_size=1, max_size=50))
def test_text_makes_one_range_from_the_least_to_the_greatest(values: list[str]) -> None:
    assert key_ranges(Column("id", "string"), values) == [(min(values), max(values))]


@given(st.lists(st.decimals(-(10**6), 10**6, places=2), min_size=1, max_size=60))
def test_decimals_are_held_too(values: list[Decimal]) -> None:
    spans = key_ranges(Column("id", "decimal(12, 2)"), values)
    assert len(spans) <= 31
    assert all(any(low <= value <= high for low, high in spans) for value in values)


@pytest.mark.parametrize("kind", ["boolean", "double", "float", "binary", "timestamp", "list<int>"])
def test_a_type_without_useful_literals_has_no_ranges(kind: str) -> None:
    assert key_ranges(Column("id", kind), [True, False]) == []
    assert key_ranges(Column("id", kind), [[1, 2], bytearray(b"x")]) == [], "not even hashed"


def test_few_keys_are_listed_as_literals() -> None:
    number, text = Column("id", "long"), Column("it's", "string")
    assert one_of(SPARK, [number], [], "r") == "false"
    assert one_of(SPARK, [number], [(1,), (-2,)], "r") == "r.`id` IN (1L, -2L)"
    both = one_of(SPARK, [number, text], [(1, "a"), (2, "b'")], "r")
    assert both == "((r.`id` = 1L AND r.`it's` = 'a') OR (r.`id` = 2L AND r.`it's` = 'b\\''))"


@pytest.mark.parametrize(
    ("kinds", "rows"),
    [(["long"], [(1,), (None,)]), (["double"], [(1.5,)]), (["long", "long"], [(n, n) for n in range(51)])],
    ids=["a NULL", "no literals", "too many"],
)
def test_other_keys_are_not_listed(kinds: list[str], rows: list[tuple[Any, ...]]) -> None:
    assert one_of(SPARK, [Column(f"c{n}", kind) for n, kind in enumerate(kinds)], rows, "r") is None


def test_nulls_alone_have_no_ranges() -> None:
    assert key_ranges(Column("id", "long"), [None, None]) == []


@pytest.mark.parametrize(
    ("ranges", "text"),
    [
        ([], "true"),
        ([(1, 1)], "(a.`id` = 1L)"),
        ([(1, 3), (9, 9)], "((a.`id` >= 1L AND a.`id` <= 3L) OR a.`id` = 9L)"),
    ],
)
def test_ranges_become_one_predicate(ranges: list[tuple[int, int]], text: str) -> None:
    assert within(SPARK, Column("id", "long"), ranges, "a") == text


def test_rows_match_by_every_column_of_the_key() -> None:
    assert matching(SPARK, ["a", "b"], "t", "s") == "t.`a` = s.`a` AND t.`b` = s.`b`"
    assert matching(SPARK, ["a"], "t", "s", null_safe=True) == "t.`a` <=> s.`a`"


# --- changesets, run by SQLite

small = st.none() | st.integers(0, 2)
mirror_rows = st.dictionaries(st.integers(0, 6), st.tuples(small, small), max_size=7)
marked_rows = st.dictionaries(
    st.integers(0, 6), st.tuples(small, small, st.none() | st.booleans()), max_size=7
)


def as_rows(table: dict[int, Row]) -> list[Row]:
    return [(key, *values) for key, values in table.items()]


def applied(old: dict[int, Row], changes: list[Row]) -> dict[int, Row]:
    """Return `old` after a MERGE of `changes`; refuse what a MERGE would."""
    found = dict(old)
    assert len({row[0] for row in changes}) == len(changes), "a row is changed twice"
    for key, *values, copies, change in changes:
        assert (change == "insert") == (key not in old)
        assert copies == (key in old)
        if change == "delete":
            del found[key]
        else:
            assert found.get(key) != tuple(values), "a row that is equal is written again"
            found[key] = tuple(values)
    return found


def sides(engine: Engine, new: Iterable[Row], old: Iterable[Row], **changes: Any) -> Sides:
    """Return two tables of `id`, `a` and `b`; with `deleted`, the new one has that column as well."""
    columns = ["id", "a", "b"]
    marked = [*columns, *filter(None, [changes.get("deleted")])]
    return Sides(engine.put("new", marked, new), engine.put("old", columns, old), ["id"], columns, **changes)


@needs_full_join
@given(old=mirror_rows, new=mirror_rows)
def test_a_full_changeset_makes_the_mirror_equal_its_source(old: dict[int, Row], new: dict[int, Row]) -> None:
    engine = Engine()
    select = changeset_sql(SQLITE, sides(engine, as_rows(new), as_rows(old)), full=True)
    assert applied(old, engine.rows(select)) == new
    engine.close()


@needs_full_join
@given(old=mirror_rows, new=marked_rows, full=st.booleans())
def test_a_changeset_deletes_marked_rows_and_touches_no_other(
    old: dict[int, Row], new: dict[int, Row], *, full: bool
) -> None:
    engine = Engine()
    select = changeset_sql(SQLITE, sides(engine, as_rows(new), as_rows(old), deleted="gone"), full=full)
    kept = {} if full else {key: values for key, values in old.items() if key not in new}
    living = {key: values[:2] for key, values in new.items() if not values[2]}
    assert applied(old, engine.rows(select)) == kept | living
    engine.close()


@needs_full_join
@given(old=mirror_rows, new=mirror_rows, kept=st.lists(st.integers(0, 5)))
def test_a_full_changeset_deletes_no_row_whose_key_is_kept(
    old: dict[int, Row], new: dict[int, Row], kept: list[int]
) -> None:
    engine = Engine()
    protected = engine.put("kept", ["id"], [(key,) for key in kept])
    select = changeset_sql(SQLITE, sides(engine, as_rows(new), as_rows(old), protected=protected), full=True)
    spared = {key: values for key, values in old.items() if key in kept}
    assert applied(old, engine.rows(select)) == spared | new
    engine.close()


many_rows = st.lists(st.tuples(st.integers(0, 3), small, small), max_size=9)


@needs_full_join
@given(old=many_rows, new=mirror_rows, full=st.booleans())
def test_r18_a_key_that_the_mirror_holds_more_than_once_is_replaced(
    old: list[Row], new: dict[int, Row], *, full: bool
) -> None:
    engine = Engine()
    select = changeset_sql(SQLITE, sides(engine, as_rows(new), old), full=full)
    found = list(old)
    changes = engine.rows(select)
    assert len({row[0] for row in changes}) == len(changes), "a key is changed once"
    for *row, copies, change in changes:
        held = [each for each in found if each[0] == row[0]]
        assert copies == len(held)
        assert (change == "replace") == (copies > 1 and row[0] in new)
        found = [each for each in found if each[0] != row[0]]
        found += [] if change == "delete" else [tuple(row)]
    others = [] if full else [row for row in old if row[0] not in new]
    assert sorted(found, key=repr) == sorted([*others, *as_rows(new)], key=repr)
    engine.close()


def test_a_changeset_ends_with_the_change(engine: Engine) -> None:
    select = changeset_sql(
        SQLITE,
        Sides(
            new=engine.put("new", ["id", "a"], [(1, 2)]),
            old=engine.put("old", ["id", "a"], []),
            key=["id"],
            columns=["id", "a"],
        ),
        full=False,
    )
    assert engine.columns(select) == ["id", "a", COPIES, CHANGE]
    assert engine.rows(select) == [(1, 2, 0, "insert")]


def test_only_rows_within_the_bounds_are_compared(engine: Engine) -> None:
    select = changeset_sql(
        SQLITE,
        Sides(
            new=engine.put("new", ["id", "a"], [(1, 0), (2, 0)]),
            old=engine.put("old", ["id", "a"], [(1, 9), (2, 9)]),
            key=["id"],
            columns=["id", "a"],
            bounds=f"({OLD}.`id` = 1)",
        ),
        full=False,
    )
    assert sorted(engine.rows(select)) == [(1, 0, 1, "update"), (2, 0, 0, "insert")]


@needs_full_join
def test_a_null_in_the_key_matches_itself_where_asked_for(engine: Engine) -> None:
    select = changeset_sql(
        SQLITE,
        Sides(
            new=engine.put("new", ["a", "b", "v"], [(1, None, 5), (2, None, 6)]),
            old=engine.put("old", ["a", "b", "v"], [(1, None, 5), (3, None, 7)]),
            key=["a", "b"],
            columns=["a", "b", "v"],
            null_safe=True,
        ),
        full=True,
    )
    assert sorted(engine.rows(select)) == [(2, None, 6, 0, "insert"), (3, None, 7, 1, "delete")]


# --- one row a key

versions = st.lists(st.tuples(st.integers(0, 3), small, st.none() | st.text("ab", max_size=2)), max_size=12)


@given(rows=versions, order=st.randoms(use_true_random=False))
def test_one_row_a_key_survives_and_it_does_not_depend_on_their_order(rows: list[Row], order: Any) -> None:
    engine = Engine()
    select = deduplicated_sql(SQLITE, Batch("batch", ["id"], ["id", "at", "v"], "at"))
    engine.put("batch", ["id", "at", "v"], rows)
    found = {row[:3] for row in engine.rows(select)}
    order.shuffle(rows)
    engine.put("batch", ["id", "at", "v"], rows)
    assert {row[:3] for row in engine.rows(select)} == found
    assert len(found) == len({row[0] for row in rows})
    for key, at, _ in found:
        marks = [row[1] for row in rows if row[0] == key and row[1] is not None]
        assert at == max(marks, default=None)
    engine.close()


def test_the_greatest_of_all_values_breaks_a_tie(engine: Engine) -> None:
    engine.put("batch", ["id", "at", "v"], [(1, 5, "a"), (1, 5, "b"), (1, 5, None), (1, None, "z")])
    select = deduplicated_sql(SQLITE, Batch("batch", ["id"], ["id", "at", "v"], "at"))
    assert engine.rows(select) == [(1, 5, "b")]
    assert engine.columns(select) == ["id", "at", "v"]


def test_a_table_of_nothing_but_its_key_is_deduplicated_too(engine: Engine) -> None:
    engine.put("batch", ["id"], [(1,), (1,)])
    assert engine.rows(deduplicated_sql(SQLITE, Batch("batch", ["id"], ["id"], None))) == [(1,)]


# --- MERGE: its text is in tests/golden; here is what every engine demands of it


def merge(*absent: str) -> str:
    changes = Merge(
        "queue",
        relation="`c`",
        key=["id"],
        columns=["id", "a"],
        lineage=Lineage("run-1", EPOCH),
        absent=[Column(name, "string") for name in absent],
        bounds=f"({OLD}.`id` = 1)",
    )
    return merge_sql(SPARK, "`lake`.`db`.`queue`", changes)


def test_an_insert_names_every_column_of_the_target() -> None:
    listed = re.search(r"INSERT \((.*)\) VALUES \((.*)\)$", merge("old"))
    assert listed is not None
    assert listed[1] == "`id`, `a`, `_run_id`, `_merged_at`, `old`"
    assert listed[2] == f"{NEW}.`id`, {NEW}.`a`, 'run-1', timestamp_micros(0L), NULL"


def test_an_update_leaves_the_key_and_absent_columns_as_they_are() -> None:
    sets = re.search(r"UPDATE SET (.*?) WHEN NOT MATCHED", merge("old"))
    assert sets is not None
    values = {"a": f"{NEW}.`a`", "_run_id": "'run-1'", "_merged_at": "timestamp_micros(0L)"}
    assert sets[1] == ", ".join(f"{OLD}.`{name}` = {value}" for name, value in values.items())


def test_nothing_nondeterministic_stands_in_a_merge() -> None:
    assert not re.search(r"current_timestamp|now\(|uuid\(|rand", merge(), re.IGNORECASE)
