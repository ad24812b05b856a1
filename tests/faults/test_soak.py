"""Whatever people, crashes and other tools do in any order: after one good run nothing is lost or doubled.

`make test` plays a few storms that are always the same; `make soak MINUTES=30` plays new ones.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from rich.console import Console
from rich.table import Table

from iceberg_datamart.core.engines import IN_PROCESS, SPARK
from iceberg_datamart.crash_points import POINTS
from support.faults.killed_runs import crash as crash_in_a_process
from support.shops.stormy_columns import DEEDS
from support.shops.stormy_shop import KEYS, MART, Storm, Tally
from support.worlds.laptop import Laptop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.worlds.laptop import Databases

MINUTES = float(os.environ.get("MINUTES", "0"))
# Storms of one round and the most steps of each; without MINUTES, one short round is all.
_STORMS, _STEPS = (5, 14) if MINUTES else (3, 10)
# Those that later runs reach, too.
_CRASHES = [
    point
    for point in POINTS
    if point
    not in {"database-created", "table-created", "columns-changed", "snapshots-expired", "files-removed"}
]
_OF_MAINTAIN = ("", "", "staged", "published", "snapshots-expired")
_TABLES = st.sampled_from(sorted(KEYS))
_COLUMN_DEEDS = st.sampled_from(DEEDS)
# Either engine goes on from what the other left.
_LOADS = st.builds(
    lambda load, engine: (*load, "--engine", engine),
    st.sampled_from([(), (), ("--load-type", "full"), ("--table", "customer"), ("--table", "purchase")]),
    st.sampled_from([IN_PROCESS, SPARK]),
)


class Storms(RuleBasedStateMachine):
    """The steps of a storm. Each storm has a database and a lake of its own, and ends with a comparison."""

    databases: Databases
    folder: Path
    tally: Tally

    @initialize(seed=st.integers(0, 2**32 - 1))
    def begin(self, seed: int) -> None:
        name = self.databases.new()
        self.ends = ExitStack()
        connections = [self.ends.enter_context(self.databases.connected(name)) for _ in range(2)]
        laptop = Laptop(self.folder / name, self.databases.server.url(name))
        laptop.directory.mkdir()
        dice = random.Random(seed)  # noqa: S311  (repeatable on purpose)
        self.storm = Storm(laptop, connections[0], connections[1], dice, self.tally)
        self.storm.open()

    def teardown(self) -> None:
        if hasattr(self, "storm"):
            with self.ends:
                self.storm.settle()

    def _do(self, kind: str) -> Storm:
        self.tally.operations[kind] += 1
        return self.storm

    @property
    def whole(self) -> bool:
        """Return whether every source table is where it belongs."""
        return hasattr(self, "storm") and self.storm.broken is None

    @rule(table=_TABLES, deed=st.sampled_from(["insert", "update", "tie", "hard_delete", "change_a_column"]))
    @precondition(lambda self: self.whole)
    def write(self, table: str, deed: str) -> None:
        getattr(self._do(deed.replace("_", " ")), deed)(table)

    @rule(deed=st.sampled_from(["move", "soft_delete", "rekey", "silent_update"]))
    @precondition(lambda self: self.whole)
    def write_more(self, deed: str) -> None:
        getattr(self._do(deed.replace("_", " ")), deed)()

    @rule(table=_TABLES, deed=st.sampled_from(["insert", "update"]))
    @precondition(lambda self: self.whole)
    def forget_the_cursor(self, table: str, deed: str) -> None:
        getattr(self._do("NULL cursor"), deed)(table, "null")

    @rule(table=_TABLES, deed=_COLUMN_DEEDS, load=_LOADS)
    @precondition(lambda self: self.whole)
    def change_columns(self, table: str, deed: str, load: tuple[str, ...]) -> None:
        self._do("change a column, and run").change_a_column(table, deed)
        self.storm.run(*load)

    @rule()
    @precondition(lambda self: self.whole)
    def late_transaction(self) -> None:
        if self.storm.late:
            self._do("late commit").commit_late()
        else:
            self._do("open transaction").begin_late()

    @rule(load=_LOADS)
    def run(self, load: tuple[str, ...]) -> None:
        self._do(f"run {' '.join(load)}".strip()).run(*load)

    @rule()
    @precondition(lambda self: self.whole)
    def overtaken_run(self) -> None:
        self._do("overtaken run").overtake()

    @rule(point=st.sampled_from(_CRASHES), visit=st.sampled_from([1, 1, 2, 3]), load=_LOADS)
    def crashed_run(self, point: str, visit: int, load: tuple[str, ...]) -> None:
        storm = self._do("run that may crash")
        if self.whole:
            storm.update("customer")
            storm.insert("purchase")
        storm.crash(point, visit, *load)

    @rule(point=st.sampled_from(["staged#1", "published#1", "timestamp-read"]))
    @precondition(lambda self: self.whole and MINUTES > 0)
    def killed_run(self, point: str) -> None:
        storm = self._do("run killed in a process of its own")
        storm.update("customer")
        crash_in_a_process(storm.laptop, point).wait_until_gone()
        self.tally.faults["kill -9"] += 1

    @rule(table=_TABLES)
    @precondition(lambda self: self.whole and not self.storm.late)
    def table_goes_away(self, table: str) -> None:
        self._do("source table goes away").break_table(table)

    @rule()
    @precondition(lambda self: not self.whole)
    def table_comes_back(self) -> None:
        self._do("source table comes back").mend_table()

    @rule(table=st.sampled_from([*KEYS, MART]), deed=st.sampled_from(["roll_back", "compact", "expire"]))
    def other_tool(self, table: str, deed: str) -> None:
        getattr(self._do(f"{deed.replace('_', ' ')} by another tool"), deed)(table)

    @rule(engine=st.sampled_from([IN_PROCESS, SPARK]), point=st.sampled_from(_OF_MAINTAIN))
    def maintain(self, engine: str, point: str) -> None:
        self._do("maintain").maintain(engine, point, self.storm.dice.randint(1, 3))

    @rule(deed=st.sampled_from(["rewind_timestamp", "remove_timestamp"]))
    def edit_the_timestamp_file(self, deed: str) -> None:
        getattr(self._do(deed.replace("_", " ")), deed)()

    @rule(kind=st.sampled_from(["insert", "update", "delete"]))
    def foreign_write(self, kind: str) -> None:
        self._do(f"foreign {kind}").foreign_write(kind)

    @rule()
    def settle(self) -> None:
        self._do("comparison").settle()


@pytest.fixture
def tally() -> Iterator[Tally]:
    """Yield a tally that is printed at the end, whatever the end is."""
    found, started = Tally(), time.monotonic()
    yield found
    print_tally(found, time.monotonic() - started)


def test_r2_r8_r12_after_any_storm_nothing_is_lost_and_nothing_doubled(
    databases: Databases, tmp_path: Path, tally: Tally
) -> None:
    machine = type("Storms", (Storms,), {"databases": databases, "folder": tmp_path, "tally": tally})
    until = time.monotonic() + 60 * MINUTES
    while True:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=_STORMS,
                stateful_step_count=_STEPS,
                derandomize=MINUTES == 0,
                database=None,
                deadline=None,
                # A shorter story would take hours to find.
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
        if time.monotonic() >= until:
            break
    assert (tally.losses, tally.doubles) == (0, 0)
    assert tally.comparisons > 0


def print_tally(tally: Tally, seconds: float) -> None:
    """Print what was done, what went wrong on purpose, and what the comparisons found."""
    table = Table(title=f"{seconds:.0f} s of storms", title_justify="left")
    table.add_column("what")
    table.add_column("times", justify="right")
    for kinds in (tally.operations, tally.faults):
        for kind, times in sorted(kinds.items()):
            table.add_row(kind, f"{times:,}")
        table.add_section()
    table.add_row("tables compared", f"{tally.comparisons:,}")
    table.add_row("rows compared", f"{tally.rows:,}")
    table.add_row("rows lost or stale", f"{tally.losses:,}", style="bold")
    table.add_row("rows doubled or left over", f"{tally.doubles:,}", style="bold")
    Console(highlight=False).print(table)
