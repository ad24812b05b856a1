"""The proof of the demo sees every kind of difference, and says which rows differ."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.cli.demo_screens import proof_text
from iceberg_datamart.demo.proof import CHANGED, EXTRA, MISSING, Comparison, Difference, Proof, Row, compare

ROWS = [Row((number, -number), bytes([number])) for number in range(1, 6)]


def test_the_same_rows_are_equal() -> None:
    assert compare(ROWS, ROWS) == Comparison(5, 0, ())


def test_two_empty_tables_are_equal() -> None:
    assert compare([], []).equal


def test_a_changed_row_is_seen() -> None:
    found = [*ROWS[:2], Row((3, -3), b"other"), *ROWS[3:]]
    assert compare(ROWS, found) == Comparison(5, 1, (Difference(CHANGED, (3, -3)),))


def test_a_missing_row_is_seen_at_either_end() -> None:
    assert compare(ROWS, ROWS[1:]) == Comparison(5, 1, (Difference(MISSING, (1, -1)),))
    assert compare(ROWS, ROWS[:-1]) == Comparison(5, 1, (Difference(MISSING, (5, -5)),))


def test_an_extra_row_is_seen_at_either_end() -> None:
    assert compare(ROWS[1:], ROWS) == Comparison(4, 1, (Difference(EXTRA, (1, -1)),))
    assert compare(ROWS[:-1], ROWS) == Comparison(4, 1, (Difference(EXTRA, (5, -5)),))


def test_a_row_that_is_there_twice_is_an_extra_row() -> None:
    assert compare(ROWS, [*ROWS[:3], ROWS[2], *ROWS[3:]]).first == (Difference(EXTRA, (3, -3)),)


def test_all_differences_count_and_the_first_three_are_named() -> None:
    found = compare(ROWS, [])
    assert (found.differences, [each.key[0] for each in found.first]) == (5, [1, 2, 3])


@given(
    st.dictionaries(st.integers(0, 9), st.binary(max_size=1)), st.dictionaries(st.integers(0, 9), st.binary())
)
def test_the_differences_are_those_of_two_dictionaries(
    expected: dict[int, bytes], found: dict[int, bytes]
) -> None:
    left, right = ([Row((key,), side[key]) for key in sorted(side)] for side in (expected, found))
    differing = {key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)}
    comparison = compare(left, right)
    assert (comparison.rows, comparison.differences) == (len(expected), len(differing))


def test_a_difference_is_told_with_its_key_columns() -> None:
    comparison = Comparison(1200, 1234, (Difference(MISSING, (7, 8)), Difference(CHANGED, (9, 10))))
    text = proof_text(Proof("mart", ("queue_id", "transaction_id"), comparison))
    first = "missing queue_id=7, transaction_id=8; changed queue_id=9, transaction_id=10; …"
    assert text == f"1,234 differ: {first}"


def test_equal_tables_are_called_equal() -> None:
    assert proof_text(Proof("mart", ("id",), Comparison(3, 0, ()))) == "equal"
