"""The shop, its connections and its oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shop import open_shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from laptop import Databases, Laptop
    from oracle import Oracle

    Connection = psycopg.Connection[Any]


@pytest.fixture
def connection(databases: Databases, database: str) -> Iterator[Connection]:
    with databases.connected(database) as opened:
        yield opened


@pytest.fixture
def other(databases: Databases, database: str) -> Iterator[Connection]:
    """Yield a second session, for transactions that stay open."""
    with databases.connected(database) as opened:
        yield opened


@pytest.fixture
def oracle(laptop: Laptop, connection: Connection) -> Oracle:
    """Return the oracle of a shop whose first, full run is done."""
    found = open_shop(laptop, connection)
    laptop.run()
    found.follow(full=True)
    return found
