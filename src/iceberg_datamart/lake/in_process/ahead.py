"""Two steps of a stream at a time: the next item is computed in another thread while one is worked on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

Item = TypeVar("Item")


def ahead(items: Generator[Item]) -> Generator[Item]:
    """Yield the items, computed one ahead and no more, so that two at most are in memory.

    What `items` raises is raised here, in its place. It is closed at the end, in whatever way that comes.
    """
    with closing(items), ThreadPoolExecutor(1) as thread:
        coming = thread.submit(_next, items)
        while (found := coming.result()) is not None:
            coming = thread.submit(_next, items)
            yield found[0]


def _next(items: Generator[Item]) -> tuple[Item] | None:
    for item in items:
        return (item,)
    return None
