"""Random schemas, marts and statements: PostgreSQL says what tables must hold, PyIceberg what they do.

Only `make soak MINUTES=30` plays; `SEED=` plays one of the worlds that it printed again.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from rich.table import Table

from support.fuzz.judge import WrongError
from support.fuzz.world import World
from support.worlds.laptop import Laptop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.worlds.laptop import Databases

MINUTES = float(os.environ.get("MINUTES", "0"))
SEED = os.environ.get("SEED")


@pytest.fixture
def tally() -> Iterator[Counter[str]]:
    """Yield a tally that is printed at the end, whatever the end is."""
    found: Counter[str] = Counter()
    started = time.monotonic()
    yield found
    table = Table(
        "what", "times", title=f"{time.monotonic() - started:.0f} s of random schemas", title_justify="left"
    )
    for what, times in sorted(found.items()):
        table.add_row(what, f"{times:,}")
    Console(highlight=False, markup=False, width=160).print(table)


def played(databases: Databases, folder: Path, seed: int, tally: Counter[str]) -> None:
    """Play one world in a database and a folder of its own. Raises: WrongError."""
    name = databases.new()
    laptop = Laptop(folder / name, databases.server.url(name))
    laptop.directory.mkdir()
    with databases.connected(name) as connection, databases.connected(name) as other:
        World(laptop, connection, other, name, seed, tally).play()


@pytest.mark.soak
def test_no_row_of_any_schema_is_lost_doubled_or_false(
    databases: Databases, tmp_path: Path, tally: Counter[str]
) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    until, wrong = time.monotonic() + 60 * MINUTES, 0
    while not tally["schemas"] or (SEED is None and time.monotonic() < until):
        seed = int(SEED or random.SystemRandom().randint(1, 10**9))
        console.print(f"SEED={seed}")
        try:
            played(databases, tmp_path, seed, tally)
        except WrongError as error:
            wrong += 1
            console.print(str(error))
    tally["wrong"] = wrong
    assert not wrong, (
        f"{wrong} of {tally['schemas']} schemas are wrong: see above, and play each again by SEED"
    )
    assert tally["tables compared"] > 0
