"""A snapshot that changed other rows than were counted is noticed, by its summary or by its rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.core.quality.touched import Touched

few = st.integers(0, 50)
touched = st.builds(Touched, few, few, few)


def merge_on_read(written: int, hidden: int, rewritten: int = 0) -> dict[str, str]:
    """Return a summary; position deletes of older files are `rewritten` with the new ones."""
    names = {"added-records": written, "added-position-deletes": hidden + rewritten}
    names |= {"removed-position-deletes": rewritten, "total-position-deletes": 90}
    return {name: str(number) for name, number in names.items() if number}


def copy_on_write(written: int, removed: int, copied: int) -> dict[str, str]:
    return {"added-records": str(written + copied), "deleted-records": str(removed + copied)}


@given(touched, few)
def test_a_merge_on_read_is_proved_by_its_summary_alone(right: Touched, rewritten: int) -> None:
    written, hidden = right.inserted + right.updated, right.updated + right.deleted
    assert right.accounts_for(merge_on_read(written, hidden, rewritten))


@given(touched, few, few)
def test_other_numbers_of_a_merge_on_read_are_noticed(right: Touched, written: int, hidden: int) -> None:
    same = (written, hidden) == (right.inserted + right.updated, right.updated + right.deleted)
    assert right.accounts_for(merge_on_read(written, hidden)) == same


@given(touched, st.integers(1, 50), few)
def test_a_copy_on_write_is_proved_by_how_many_rows_more_there_are(
    right: Touched, copied: int, more: int
) -> None:
    written, removed = right.inserted + right.updated, right.updated + right.deleted
    assert right.accounts_for(copy_on_write(written, removed, copied))
    assert right.accounts_for(copy_on_write(written + more, removed, copied)) == (more == 0)


@pytest.mark.parametrize("name", ["total-position-deletes", "removed-position-deletes"])
def test_rewritten_files_with_hidden_rows_prove_nothing(name: str) -> None:
    assert not Touched(deleted=1).accounts_for({**copy_on_write(0, 1, 5), name: "2"})


def test_a_summary_without_numbers_proves_nothing_but_an_empty_change() -> None:
    assert not Touched(inserted=1).accounts_for({})
    assert Touched().accounts_for({})


@given(touched, few, few)
def test_counted_rows_decide(right: Touched, before: int, off: int) -> None:
    after = before + right.inserted - right.deleted
    own = right.inserted + right.updated
    assert right.accounts_for_rows((before, 0), (after, own))
    assert right.accounts_for_rows((before, 0), (after + off, own)) == (off == 0)
    assert right.accounts_for_rows((before, 0), (after, own + off)) == (off == 0)
    assert right.accounts_for_rows((before, 3), (after, own + off)), (
        "rows that the run wrote before are unknown"
    )
