"""A session of one's own in the test's source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from support.worlds.laptop import Databases


@pytest.fixture
def connection(databases: Databases, database: str) -> Iterator[psycopg.Connection[Any]]:
    with databases.connected(database) as opened:
        yield opened
