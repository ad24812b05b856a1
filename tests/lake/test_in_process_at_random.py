"""Random histories of one table: after each step every reader finds what a dictionary holds."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.plan.schema import SchemaChange
from iceberg_datamart.errors import CommitConflictError
from support.lakes.local_lake import LocalLake, numbered, ordered

if TYPE_CHECKING:
    from iceberg_datamart.lake.engine import Staged

Rows = dict[int, tuple[Any, ...]]


class Model:
    """A table, what it has to hold now, and what each of its snapshots had to."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.lake, self._random = LocalLake(folder), random.Random(seed)  # noqa: S311  (repeatable)
        self.lake.create()
        most = str(self._random.choice([2, 4, 100]))
        self.lake.catalog.set_properties("t", {"commit.manifest.min-count-to-merge": most})
        self.rows: Rows = {}
        self.at: dict[int, Rows] = {}
        self._columns = ["id", "v", "n"]
        self._current: list[int] = []

    def step(self) -> None:
        """Do one thing at random."""
        self._random.choice([self.change, self.change, self.change, self.stamp, self.roll_back, self.widen])()

    def change(self) -> None:
        """Delete and update rows here and there, and insert others."""
        keys = [key for key in self.rows if self._random.random() < 0.3]
        first = self._random.randrange(60)
        updated = {*keys[: len(keys) // 2], *(key for key in range(first, first + 9) if key not in self.rows)}
        select = self._rows(sorted(updated)) if updated else None
        where = f"id IN ({', '.join(map(str, keys))})" if keys else None
        if self._random.random() < 0.2:
            self.lake.stage(select, where)
            return
        staged = self.lake.change(select, where)
        self.rows = {key: row for key, row in self.rows.items() if key not in keys}
        more = (None,) * (len(self._columns) - 3)
        self.rows |= {key: (f"{len(self.at)}-{key}", len(self.at), *more) for key in updated}
        self._committed(staged)

    def _rows(self, keys: list[int]) -> str:
        step, more = len(self.at), "".join(f", NULL::VARCHAR AS {name}" for name in self._columns[3:])
        listed_keys = ", ".join(map(str, keys))
        values = f"id, '{step}-' || id AS v, {step} AS n{more}"
        return f"SELECT {values} FROM (SELECT unnest([{listed_keys}])::BIGINT AS id)"

    def stamp(self) -> None:
        """Commit no row."""
        staged = self.lake.staging().stamp("t", {})
        self.lake.staging().publish(staged)
        self._committed(staged)

    def _committed(self, staged: Staged) -> None:
        self._current.append(staged.snapshot_id)
        self.at[staged.snapshot_id] = dict(self.rows)

    def roll_back(self) -> None:
        """Go back to an earlier snapshot."""
        if len(self._current) > 1:
            self._current = self._current[: self._random.randrange(1, len(self._current))]
            current = self.lake.tables.load("t").metadata.current_snapshot_id
            assert current is not None
            if current != self._current[-1]:
                self.lake.catalog.roll_back("t", current, self._current[-1])
            self.rows = dict(self.at[self._current[-1]])

    def widen(self) -> None:
        """Add a column, which is NULL in all rows and snapshots."""
        name = f"c{len(self._columns)}"
        self._columns.append(name)
        self.lake.evolve(SchemaChange(added=(Column(name, "string"),)))
        self.rows = {key: (*row, None) for key, row in self.rows.items()}
        self.at = {key: {key: (*row, None) for key, row in rows.items()} for key, rows in self.at.items()}

    def verify(self) -> None:
        """Compare all readers, the counts of the summary, and one earlier snapshot."""
        assert self.lake.rows_of_all_readers() == listed(self.rows)
        history = self.lake.catalog.history("t")
        assert history is not None
        if history.current is not None:
            assert history.current.rows == len(self.rows)
        if self.at:
            snapshot_id = self._random.choice(list(self.at))
            assert self.lake.rows(snapshot_id=snapshot_id) == listed(self.at[snapshot_id])


def listed(rows: Rows) -> list[tuple[Any, ...]]:
    return ordered([(key, *row) for key, row in rows.items()])


@pytest.mark.parametrize("seed", range(4))
def test_after_any_history_all_readers_find_the_same_rows(tmp_path: Path, seed: int) -> None:
    model = Model(tmp_path, seed)
    for _ in range(25):
        model.step()
        model.verify()


def test_of_writers_that_race_each_publishes_whole_or_not_at_all(tmp_path: Path) -> None:
    lake = LocalLake(tmp_path)
    lake.create(columns=(Column("id", "long"), Column("v", "string"), Column("n", "int")))
    lake.change(numbered(0, 0))
    published: list[int] = []
    refused: list[int] = []

    def write(writer: int) -> None:
        own = LocalLake(tmp_path)
        for step in range(6):
            first = 1000 * writer + 10 * step
            try:
                own.change(numbered(first, first + 9))
            except CommitConflictError:
                refused.append(first)
            else:
                published.append(first)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(published) + len(refused) == 18
    assert published
    found = sorted(row[0] for row in lake.rows_of_all_readers())
    assert found == sorted([0, *(first + each for first in published for each in range(10))])
    lists = {snapshot.manifest_list for snapshot in lake.tables.load("t").metadata.snapshots}
    assert {path for path in lake.files() if Path(path).name.startswith("snap-")} == lists
