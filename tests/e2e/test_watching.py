"""What people and monitors who watch the job rely on: `plan`, `status` and `history`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.shops.shop import open_shop

if TYPE_CHECKING:
    import psycopg

    from support.oracles.oracle import Oracle
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]


@pytest.fixture
def unloaded(laptop: Laptop, connection: Connection) -> Oracle:
    """Return the oracle of a shop that no run has seen."""
    return open_shop(laptop, connection)


def test_who_looks_before_the_first_run_leaves_the_folder_as_it_was(laptop: Laptop, unloaded: Oracle) -> None:
    for verb in ("plan", "status", "history"):
        assert laptop.command(verb).exit_code == 0, verb
        assert [path.name for path in laptop.directory.iterdir()] == [laptop.file.name], verb
    laptop.run()
    unloaded.check(laptop, against_source=True)
