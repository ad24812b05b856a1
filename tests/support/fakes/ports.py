"""Small parts in memory that stand for the world of a run; the contract suites hold them true."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.engines import Engines
from iceberg_datamart.core.instants import CursorKind, microseconds
from iceberg_datamart.core.plan.facts import RunRequest
from iceberg_datamart.core.settings.model import Config
from iceberg_datamart.core.source.reads import (
    Probe,
    QueryRead,
    RejectedRow,
    RowCount,
    SourceTable,
    StoredPart,
)
from iceberg_datamart.core.source.slices import SliceDigest, Slices, Slicing
from iceberg_datamart.core.sql.reserved import LINEAGE
from iceberg_datamart.core.state.commit import CommitReceipt
from iceberg_datamart.core.state.history import DEFINITION, Snapshot, TableHistory
from iceberg_datamart.core.state.watermark import Horizon, Watermark
from iceberg_datamart.errors import CommitConflictError, TimestampFileConflictError
from iceberg_datamart.ports import Adapters, Merged
from iceberg_datamart.run.runner import Run
from iceberg_datamart.stores.timestamp_file import parse_timestamp, timestamp_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from iceberg_datamart.core.report.run import RunReport
    from iceberg_datamart.core.settings.model import GlueSource, PostgresSource, TableConfig
    from iceberg_datamart.core.state.watermark import ReadWindow
    from iceberg_datamart.errors import DatamartError
    from iceberg_datamart.ports import Lake, MartMaintenance, MirrorMerge

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
COLUMNS = (Column("id", "long", nullable=False), Column("at", "timestamptz"), Column("v", "string"))
ONE_KEY_EACH = Slicing(COLUMNS[0], 1, 1)
# A row of a fake source: its value, and when it changed; None where its cursor is NULL.
SourceRows = dict[int, tuple[str, datetime | None]]


def configured(*tables: str, **blocks: Any) -> Config:
    """Return settings of `tables`, all from source `prd` and with cursor `at`."""
    settings: dict[str, Any] = {
        "version": 1,
        "catalog": {"type": "sql", "uri": "sqlite:///catalog.db", "warehouse": "lake"},
        "database": "datamart",
        "state": {"timestamp_file": "last.csv"},
        "sources": {"prd": {"type": "postgres", "url": "postgresql://reader@db/prd"}},
        "tables": {name: table(name) for name in tables},
    }
    return Config.model_validate({**settings, **blocks})


def table(name: str, **settings: Any) -> dict[str, Any]:
    return {"source": "prd", "from": name, "primary_key": ["id"], "cursor": "at", **settings}


def mart(root: str, *joined: str, **settings: Any) -> dict[str, Any]:
    return {"from": root, "joins": [{"table": name, "on": ["id"]} for name in joined], **settings}


@dataclass
class FakeClock:
    """A clock that stands still until it is moved."""

    instant: datetime = NOON

    def now(self) -> datetime:
        return self.instant


class FakeTimestampFile:
    """The timestamp file as bytes in memory."""

    def __init__(self, effects: list[str] | None = None) -> None:
        self.content: bytes | None = None
        self.effects = [] if effects is None else effects
        self._lock = Lock()

    def read(self) -> datetime | None:
        return None if self.content is None else parse_timestamp(self.content, "memory")

    def write(self, instant: datetime, expected: datetime | None) -> None:
        with self._lock:
            present = self.read()
            if present != expected:
                message = f"timestamp file memory says {present}, not {expected} as when this run began"
                raise TimestampFileConflictError(message, hint="Run again.")
            self.content = timestamp_text(instant).encode()
            self.effects.append(f"timestamp {self.content.decode().split()[-1]}")


class FakeRunCounts:
    """The runs since each table was reconciled, in memory."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def read(self) -> dict[str, int]:
        return dict(self.counts)

    def write(self, counts: Mapping[str, int]) -> None:
        self.counts = dict(counts)


def digested(rows: SourceRows) -> dict[int, SliceDigest]:
    """Return a slice for each row."""
    return {key: SliceDigest(1, (hash(row), 0)) for key, row in rows.items()}


@dataclass
class FakeSource:
    """A database: rows by table, and its clock; `held_back` is how far the horizon trails it.

    `unreachable` is raised when a session is opened, `lost` when its point is fixed, and `faults` when
    a table is described; `locked` are tables whose locks cannot be had, `elsewhere` those written from
    elsewhere. `column_ids` are those of the columns, `recipe` is how they are read, `points` counts those
    that were fixed, and `unsteady` says why rows change though nobody writes. `others` are sources of other
    names.
    """

    tables: dict[str, SourceRows]
    clock: datetime = NOON
    identity: str = "fake:1/prd"
    held_back: timedelta = timedelta(0)
    unreachable: Exception | None = None
    lost: Exception | None = None
    faults: dict[str, Exception] = field(default_factory=dict)
    locked: dict[str, DatamartError] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)
    column_ids: dict[str, int] = field(default_factory=dict)
    recipe: dict[str, str] = field(default_factory=dict)
    unsteady: str | None = None
    parts: dict[str, tuple[StoredPart, ...]] = field(default_factory=dict)
    points: int = 0
    reads: dict[str, SourceRows] = field(default_factory=dict)
    sessions: list[FakeSourceSession] = field(default_factory=list)
    others: dict[str, FakeSource] = field(default_factory=dict)

    def open(self, name: str, config: PostgresSource | GlueSource) -> FakeSourceSession:
        if name in self.others:
            return self.others[name].open(name, config)
        if self.unreachable is not None:
            raise self.unreachable
        self.sessions.append(FakeSourceSession(self))
        return self.sessions[-1]


class FakeSourceSession:
    """One consistent point: a copy of the rows, taken by `pin_snapshot`."""

    def __init__(self, source: FakeSource) -> None:
        self.warnings: list[str] = []
        self.closed = False
        self.source = source
        self.tables: dict[str, SourceRows] = {}

    def lock(self, tables: Mapping[str, TableConfig]) -> dict[str, DatamartError]:
        return {name: self.source.locked[name] for name in tables if name in self.source.locked}

    def pin_snapshot(self) -> Horizon:
        if self.source.lost is not None:
            raise self.source.lost
        self.tables = {name: dict(rows) for name, rows in self.source.tables.items()}
        self.source.points += 1
        clock, held_back = self.source.clock, self.source.held_back
        return Horizon(clock - held_back, clock, transaction=self.source.points)

    def describe(self, table: str, config: TableConfig) -> FakeTable:
        if table in self.source.faults:
            raise self.source.faults[table]
        kind = None if config.cursor is None else CursorKind.TIMESTAMPTZ
        columns = tuple(column for column in COLUMNS if column.name not in config.exclude)
        identity, numbers = f"{self.source.identity}/{config.from_}", dict(self.source.column_ids)
        recipe, parts = self.source.recipe, self.source.parts.get(config.from_.table, ())
        facts = SourceTable(
            *(identity, columns, ("id",), True, kind),
            column_ids=numbers,
            recipe=dict(recipe),
            unsteady=self.source.unsteady,
            parts=parts,
            written_elsewhere=self.source.elsewhere.get(table),
        )
        return FakeTable(self, table, config.from_.table, facts)

    def close(self) -> None:
        self.closed = True


@dataclass(frozen=True)
class FakeTable:
    """A described table, which the source calls `name`; each read is kept by the text of its relation."""

    session: FakeSourceSession
    label: str
    name: str
    facts: SourceTable

    def probe(self, window: ReadWindow) -> Probe:
        whole = self._window(window)
        rows = _with_key(whole)
        marks = [microseconds(at) for _, at in rows.values() if at is not None]
        greatest = Watermark(CursorKind.TIMESTAMPTZ, max(marks)) if marks else None
        rejected = len(whole) - len(rows)
        return Probe(len(rows), greatest, tuple((key,) for key in rows), rejected=rejected)

    def rows_in(self, window: ReadWindow) -> RowCount:
        return RowCount(len(self._window(window)))

    def fingerprint(self, window: ReadWindow) -> str | None:
        rows = sorted(self._window(window).items(), key=repr)
        return hashlib.sha256(repr(rows).encode()).hexdigest()

    def digests(self) -> tuple[Slicing, dict[int, SliceDigest]]:
        return ONE_KEY_EACH, digested(self._rows)

    def read_slices(self, slices: Slices, pending_from: Watermark | None = None) -> QueryRead:
        relation = f"{self.label} in {slices.numbers}, pending from {pending_from}"
        return self._read(relation, {key: row for key, row in self._rows.items() if key in slices.numbers})

    def unfit_rows(self) -> int:
        return sum(key is None for key in self._rows)

    def rejected(self, window: ReadWindow) -> list[RejectedRow]:
        rows = self._window(window).items()
        return [RejectedRow("NULL in key column 'id'", repr(row)) for key, row in rows if key is None]

    def rejected_keys(self) -> QueryRead:
        return QueryRead("fake:", f"rejected keys of {self.label}", ("true",), "", COLUMNS[:1])

    def read(self, window: ReadWindow) -> QueryRead:
        return self._read(f"{self.label} from {window.lower}", _with_key(self._window(window)))

    def _read(self, relation: str, rows: SourceRows) -> QueryRead:
        self.session.source.reads[relation] = rows
        return QueryRead("fake:", relation, ("true",), "", COLUMNS)

    @property
    def _rows(self) -> SourceRows:
        return self.session.tables[self.name]

    def _window(self, window: ReadWindow) -> SourceRows:
        def inside(at: datetime | None) -> bool:
            return window.lower is None or at is None or microseconds(at) >= window.lower.value

        return {key: row for key, row in self._rows.items() if inside(row[1])}


def _with_key(rows: SourceRows) -> SourceRows:
    return {key: row for key, row in rows.items() if key is not None}


class FakeLake:
    """Iceberg tables in memory: rows by key, and snapshots newest first. `faults` are raised one a merge.

    `run_id` is that of the run which opened it last.
    """

    def __init__(self, source: FakeSource, effects: list[str] | None = None) -> None:
        self.rows: dict[str, SourceRows] = {}
        self.snapshots: dict[str, tuple[Snapshot, ...]] = {}
        self.faults: dict[str, list[Exception]] = {}
        self.rejected: dict[str, list[RejectedRow]] = {}
        self.effects = [] if effects is None else effects
        self.maintained: list[MartMaintenance] = []
        self.properties: dict[str, dict[str, str]] = {}
        self.closed = False
        self.run_id = ""
        self._brought: dict[str, list[RejectedRow]] = {}
        self._source = source
        self._lock = Lock()

    def using(self, engine: str) -> FakeLake:
        del engine
        return self

    def history(self, table: str) -> TableHistory | None:
        if table not in self.snapshots:
            return None
        columns = {column.name: column.type for column in (*COLUMNS, *LINEAGE)}
        properties = dict(self.properties.get(table, {}))
        return TableHistory(columns, ("id",), self.snapshots[table], properties=properties)

    def held_columns(
        self, table: str, columns: Sequence[Column], mirror: TableHistory | None
    ) -> tuple[Column, ...]:
        del table, mirror
        return tuple(columns)

    def create_mirror(self, merge: MirrorMerge) -> None:
        self.snapshots.setdefault(merge.table, ())
        self.properties.setdefault(merge.table, {}).update(merge.properties)

    def digests(
        self, table: str, mirror: TableHistory, columns: Sequence[str], slicing: Slicing
    ) -> dict[int, SliceDigest]:
        del mirror, columns, slicing
        return digested(self.rows.get(table, {}))

    def reject(self, table: str, rows: Sequence[RejectedRow]) -> list[RejectedRow]:
        self._raise_fault(f"{table}__rejected")
        kept = self.rejected.setdefault(table, [])
        new = [row for row in rows if row not in kept]
        if new:
            kept.extend(new)
            self._brought.setdefault(self.run_id, []).extend(new)
            self.effects.append(f"reject {table}")
        return [row for row in rows if row in self._brought.get(self.run_id, ())]

    def merge(self, merge: MirrorMerge) -> Merged:
        self.create_mirror(merge)
        self._refuse(merge.table, merge.base)
        assert isinstance(merge.read, QueryRead)
        batch, old = self._source.reads[merge.read.relation], self.rows.get(merge.table, {})
        compared = old if merge.slices is None else set(merge.slices.numbers)
        kept = {key: row for key, row in old.items() if not (merge.full and key in compared)}
        new = kept | batch
        counts = {
            "inserted": len(set(new) - set(old)),
            "updated": sum(new[key] != old[key] for key in set(new) & set(old)),
            "deleted": len(set(old) - set(new)),
        }
        if not any(counts.values()) and self.snapshots[merge.table] and not merge.force_commit:
            return Merged(len(batch))
        self.rows[merge.table] = dict(new)
        receipt = self.commit(merge.table, merge.state.summary(), counts)
        return Merged(len(batch), receipt)

    def maintain(self, maintenance: MartMaintenance) -> Merged:
        self._refuse(maintenance.shape.name, maintenance.base)
        self.maintained.append(maintenance)
        definition = {DEFINITION + maintenance.state.definition: maintenance.definition}
        self.properties[maintenance.shape.name] = definition
        return Merged(1, self.commit(maintenance.shape.name, maintenance.state.summary(), {"inserted": 1}))

    def close(self) -> None:
        self.closed = True

    def commit(self, table: str, summary: Mapping[str, str], counts: Mapping[str, int]) -> CommitReceipt:
        """Add a snapshot, as this run or another writer does."""
        said = {f"iceberg-datamart.{kind}": str(count) for kind, count in counts.items()}
        with self._lock:
            older = self.snapshots.get(table, ())
            number = sum(map(len, self.snapshots.values())) + 1
            parent = older[0].snapshot_id if older else None
            self.snapshots[table] = (Snapshot(number, parent, NOON, "append", {**summary, **said}), *older)
            self.effects.append(f"commit {table}")
        return CommitReceipt(table, number, **counts)

    def _raise_fault(self, table: str) -> None:
        if self.faults.get(table):
            raise self.faults[table].pop(0)

    def _refuse(self, table: str, base: TableHistory | None) -> None:
        self._raise_fault(table)
        known = base.snapshots[:1] if base is not None else ()
        if self.snapshots.get(table, ())[:1] != known:
            raise CommitConflictError(f"another run committed to {table} while this one was merging")


@dataclass
class FakeWorld:
    """One source, lake, clock and timestamp file over several runs; `effects` are in their order."""

    config: Config
    source: FakeSource
    effects: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lake = FakeLake(self.source, self.effects)
        self.file = FakeTimestampFile(self.effects)
        self.run_counts = FakeRunCounts()
        self.engines = Engines()
        self.runs = 0

    def new_run(self, **request: Any) -> Run:
        """Return the next run, its id greater than all before."""
        self.runs += 1
        self.lake.run_id = f"run-{self.runs}"
        # It lacks what only `verify` and files ask of a lake.
        lake = cast("Lake", self.lake)
        adapters = Adapters(lake, self.file, self.run_counts, FakeClock(), self.engines, self.source.open)
        return Run(self.config, RunRequest(**request), adapters, self.lake.run_id)

    def run(self, **request: Any) -> RunReport:
        """Return the report of the next run."""
        with self.new_run(**request) as run:
            return run.execute(run.prepare())
