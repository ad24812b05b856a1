"""Two tables and the lake they are merged into: the fakes, or PostgreSQL, an engine and Iceberg."""

from __future__ import annotations

import os
import re
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, cast

import psycopg

from iceberg_datamart.app.assemble import open_source
from iceberg_datamart.app.settings_file import load_config
from iceberg_datamart.core.engines import SPARK
from iceberg_datamart.core.instants import EPOCH, MICROSECOND
from iceberg_datamart.core.source.reads import QueryRead, wire_name
from iceberg_datamart.core.state.commit import MirrorState
from iceberg_datamart.core.state.watermark import ReadWindow
from iceberg_datamart.lake.iceberg import IcebergLake
from iceberg_datamart.ports import MirrorMerge
from support.fakes.ports import COLUMNS, NOON, FakeClock, FakeLake, FakeSource, configured, mart, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iceberg_datamart.core.settings.model import Config
    from iceberg_datamart.core.source.reads import Read
    from iceberg_datamart.ports import DescribedTable, Lake, Merged, SourceSession
    from support.fakes.ports import SourceRows
    from support.worlds.laptop import Laptop

TABLES = ("queue", "account")
MART = "m"
WHOLE = ReadWindow()


class Place(Protocol):
    """A source with two tables of the same columns, and a lake."""

    config: Config

    def hold(self, name: str, rows: SourceRows) -> None:
        """Let a table of the source hold exactly these rows."""

    def session(self) -> SourceSession:
        """Return a session that has not locked anything yet."""

    def lake(self, run_id: str) -> Lake:
        """Return the lake as a run opens it."""

    def selected(self, read: Read) -> SourceRows:
        """Return the rows that a read of the source selects."""

    def mirrored(self, name: str) -> SourceRows:
        """Return the rows of a mirror."""


class InMemory:
    """The fakes."""

    def __init__(self) -> None:
        self.config = configured(*TABLES, marts={MART: mart(*TABLES)})
        self._source = FakeSource({name: {} for name in TABLES})
        self._lake = FakeLake(self._source)

    def hold(self, name: str, rows: SourceRows) -> None:
        self._source.tables[name] = dict(rows)

    def session(self) -> SourceSession:
        return self._source.open("prd", self.config.sources["prd"])

    def lake(self, run_id: str) -> Lake:
        self._lake.run_id = run_id
        # It lacks what only `verify` and files ask of a lake.
        return cast("Lake", self._lake)

    def selected(self, read: Read) -> SourceRows:
        assert isinstance(read, QueryRead)
        return self._source.reads[read.relation]

    def mirrored(self, name: str) -> SourceRows:
        return self._lake.rows[name]


class OnLaptop:
    """PostgreSQL, and Iceberg with Spark or another engine."""

    def __init__(
        self,
        laptop: Laptop,
        connection: psycopg.Connection[Any],
        engine: str = SPARK,
    ) -> None:
        for name in TABLES:
            # A key that may be NULL, so that there is a row which no mirror can hold.
            connection.execute(f"create table {name} (id int8 unique, at timestamptz, v text)")
        tables = {name: table(f"public.{name}") for name in TABLES}
        laptop.configure(tables, {MART: mart(*TABLES)})
        self.config = load_config(laptop.file, os.environ)
        self._laptop, self._connection, self._engine = laptop, connection, engine

    def hold(self, name: str, rows: SourceRows) -> None:
        self._connection.execute(f"delete from {name}")
        for key, (value, at) in rows.items():
            self._connection.execute(f"insert into {name} values (%s, %s, %s)", [key, at, value])

    def session(self) -> SourceSession:
        return open_source("prd", self.config.sources["prd"])

    def lake(self, run_id: str) -> Lake:
        return IcebergLake(self.config, run_id, FakeClock()).using(self._engine)

    def selected(self, read: Read) -> SourceRows:
        """Select as Spark does: through another connection, whose first statement is the read's own."""
        assert isinstance(read, QueryRead)
        names = ", ".join(wire_name(position) for position in range(len(COLUMNS)))
        relation = re.sub(r"[?][?]", "?", read.relation)
        parts = " or ".join(f"({predicate})" for predicate in read.predicates)
        with psycopg.connect(self._laptop.url) as reader:
            reader.execute(read.session)
            rows = reader.execute(f"select {names} from {relation} where {parts}").fetchall()
        return {key: (value, None if at is None else EPOCH + at * MICROSECOND) for key, at, value in rows}

    def mirrored(self, name: str) -> SourceRows:
        return {row["id"]: (row["v"], row["at"]) for row in self._laptop.rows(name)}


@contextmanager
def at_point(place: Place, name: str) -> Iterator[DescribedTable]:
    """Yield a table of a session that has gone through the order of a run, up to its point."""
    wanted = {table: place.config.tables[table] for table in TABLES}
    with closing(place.session()) as session:
        assert session.lock(wanted) == {}
        tables = {table: session.describe(table, settings) for table, settings in wanted.items()}
        session.pin_snapshot()
        yield tables[name]


def merge_of(described: DescribedTable, lake: Lake, run_id: str, name: str) -> MirrorMerge:
    """Return an increment of a table that reads it whole."""
    base = lake.history(name)
    facts = described.facts
    source = replace(facts, columns=lake.held_columns(name, facts.columns, base))
    probe = described.probe(WHOLE)
    assert probe is not None
    state = MirrorState(run_id, "incremental", source.identity, NOON, NOON, "at", probe.greatest)
    return MirrorMerge(
        table=name,
        source=source,
        read=described.read(WHOLE),
        probe=probe,
        cursor="at",
        base=base,
        full=False,
        state=state,
        max_delete_fraction=1.0,
    )


def merged(place: Place, run_id: str, name: str = TABLES[0], **changes: Any) -> Merged:
    """Return what came of merging a table as the source has it now."""
    with closing(place.lake(run_id)) as lake, at_point(place, name) as described:
        return lake.merge(replace(merge_of(described, lake, run_id, name), **changes))
