"""A primary key that rows share is refused, or the report counts what gives way (R18)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.plan.keys import ERROR, NEWEST, require_unique
from iceberg_datamart.core.source.reads import SharedKeys
from iceberg_datamart.errors import DuplicateKeyError

SHARED = SharedKeys(keys=2, rows=5, undecided=2, example="id=7")
VERSIONS = SharedKeys(keys=2, rows=5, undecided=0, example="id=7")


def test_r18_a_shared_key_is_refused_with_its_number_an_example_and_the_fix() -> None:
    with pytest.raises(DuplicateKeyError) as refused:
        require_unique("item", ("id", "part"), SHARED, ERROR)
    assert "(id, part)" in refused.value.message
    assert "2 values" in refused.value.message
    assert "id=7" in refused.value.message
    assert "tables.item.primary_key" in refused.value.hint
    assert "tables.item.duplicates: newest" in refused.value.hint


@pytest.mark.parametrize(("shared", "duplicates"), [(SHARED, NEWEST), (VERSIONS, ERROR)])
def test_r18_rows_that_give_way_to_newer_ones_are_counted(shared: SharedKeys, duplicates: str) -> None:
    said = require_unique("item", ("id",), shared, duplicates)
    assert said is not None
    assert "table 'item': 3 rows are left out, for 2 values of the key (id)" in said


@given(st.integers(1, 9), st.integers(0, 9), st.sampled_from([ERROR, NEWEST]))
def test_r18_no_row_is_left_out_in_silence(keys: int, undecided: int, duplicates: str) -> None:
    shared = SharedKeys(keys, keys * 2, min(keys, undecided), "id=7")
    try:
        assert require_unique("item", ("id",), shared, duplicates)
    except DuplicateKeyError:
        assert duplicates == ERROR
        assert undecided


@pytest.mark.parametrize("duplicates", [ERROR, NEWEST])
def test_of_keys_that_nothing_shares_nothing_is_said(duplicates: str) -> None:
    assert require_unique("item", ("id",), SharedKeys(), duplicates) is None
