"""`lake.in_process.ahead`: the same items in the same order, computed one ahead."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.lake.in_process.ahead import ahead

if TYPE_CHECKING:
    from collections.abc import Generator


@given(st.lists(st.none() | st.integers()))
def test_all_items_come_in_their_order(items: list[int | None]) -> None:
    assert list(ahead(item for item in items)) == items


def test_the_next_item_is_computed_while_one_is_worked_on_and_none_after_it() -> None:
    computed: list[int] = []
    second = threading.Event()

    def counting() -> Generator[int]:
        for number in range(1, 4):
            computed.append(number)
            if number == 2:
                second.set()
            yield number

    with closing(ahead(counting())) as items:
        assert next(items) == 1
        assert second.wait(10), "the second is not computed before it is asked for"
        assert computed == [1, 2]


def test_what_the_stream_raises_comes_after_the_items_before_it() -> None:
    def failing() -> Generator[int]:
        yield 1
        raise KeyError("two")

    items = ahead(failing())
    assert next(items) == 1
    with pytest.raises(KeyError, match="two"):
        next(items)


def test_a_stream_that_is_left_early_is_closed_and_its_thread_ends() -> None:
    closed: list[str] = []

    def endless() -> Generator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(threading.current_thread().name)

    threads = threading.active_count()
    with closing(ahead(endless())) as items:
        next(items)
    assert closed
    assert threading.active_count() == threads
