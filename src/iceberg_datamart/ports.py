"""What the runner needs of the world: protocols, and the values that pass through them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from iceberg_datamart.core.quality.checks import NO_CHECKS
from iceberg_datamart.core.report.progress import Board

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from typing_extensions import Self

    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.core.engines import Engines
    from iceberg_datamart.core.mart.shape import MartShape
    from iceberg_datamart.core.quality.audits import Audit
    from iceberg_datamart.core.quality.checks import Checks
    from iceberg_datamart.core.report.record import RunRecord
    from iceberg_datamart.core.report.verification import Differences, Verified
    from iceberg_datamart.core.settings.audits import AuditConfig
    from iceberg_datamart.core.settings.checks import CheckConfig
    from iceberg_datamart.core.settings.model import SourceConfig, TableConfig
    from iceberg_datamart.core.source.reads import (
        LakeRead,
        Probe,
        QueryRead,
        Read,
        RejectedRow,
        RowCount,
        SourceTable,
    )
    from iceberg_datamart.core.source.slices import SliceDigest, Slices, Slicing
    from iceberg_datamart.core.state.commit import CommitReceipt, MartState, MirrorState
    from iceberg_datamart.core.state.history import TableHistory
    from iceberg_datamart.core.state.watermark import Horizon, ReadWindow, Watermark
    from iceberg_datamart.core.upkeep.layout import Layout, Rewrite
    from iceberg_datamart.errors import DatamartError


@dataclass(frozen=True, kw_only=True)
class MirrorMerge:
    """One mirror's change, ready to run.

    `base` is the mirror as it was when the change was planned; None where there is none yet. `protected_keys`
    reads the keys of rejected rows, which are not taken for deleted. With `force_commit`, the state is
    committed even where no row differs: the recorded one is of no more use. With `slices`, `read` holds those
    slices whole, and only they are compared. `reason` is the plan's, for errors.
    """

    table: str
    # What is read.
    source: SourceTable
    read: Read
    probe: Probe
    cursor: str | None = None
    # What it is compared with.
    base: TableHistory | None
    full: bool
    slices: Slices | None = None
    protected_keys: QueryRead | None = None
    # What is recorded.
    state: MirrorState
    properties: Mapping[str, str] = field(default_factory=dict)
    force_commit: bool = False
    # What may refuse it.
    checks: Checks = NO_CHECKS
    audits: Sequence[Audit] = ()
    max_delete_fraction: float = 0.5
    reason: str = ""


@dataclass(frozen=True)
class MirrorComparison:
    """Some slices of a mirror beside the rows that the source has there: `read` marks pending ones.

    `protected_keys` reads the keys of rejected rows, as in `MirrorMerge`; `checks` say which rows are.
    """

    table: str
    source: SourceTable
    read: QueryRead
    slices: Slices
    base: TableHistory
    protected_keys: QueryRead | None = None
    checks: Checks = NO_CHECKS


@dataclass(frozen=True)
class ConsumedMirror:
    """A mirror as a mart reads it: at `now`, None while it is empty; `before` is what the mart consumed last.

    `run_ids` are the runs that wrote it in between, and `deletes` says whether any removed rows.
    `followed` is false where the mirror's history does not tell what happened in between.
    """

    table: str
    now: int | None
    before: int | None = None
    run_ids: tuple[str, ...] = ()
    deletes: bool = False
    followed: bool = False


@dataclass(frozen=True)
class MartMaintenance:
    """One mart's change, ready to run. `changed` is None where the full join must be compared.

    `definition` is the text of the mart's definition, which its table keeps for reruns. With `as_it_was`,
    each snapshot is read with the columns of its time. `doubtful` are mirrors in which another tool may have
    doubled keys.
    """

    shape: MartShape
    mirrors: Sequence[ConsumedMirror]
    changed: Sequence[str] | None
    base: TableHistory | None
    state: MartState
    definition: str = ""
    as_it_was: bool = False
    checks: Sequence[CheckConfig] = ()
    audits: Sequence[AuditConfig] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    doubtful: Sequence[str] = ()


@dataclass(frozen=True)
class Merged:
    """What a merge did. `receipt` is None where nothing differed, so nothing was committed (R3).

    `rejected` are the rows that checks kept out and this run recorded; `warnings` is what checks and
    audits found.
    """

    rows_read: int
    receipt: CommitReceipt | None = None
    rejected: Sequence[RejectedRow] = ()
    warnings: tuple[str, ...] = ()


class DescribedTable(Protocol):
    """One table of a source. What it tells of rows, and how these are read, is as of the session's point."""

    @property
    def facts(self) -> SourceTable:
        """Return what the source's catalog said of the table when it was described."""

    def probe(self, window: ReadWindow) -> Probe | None:
        """Return what the window holds, without reading it whole.

        None where only the lake can tell, which then reads files.
        """

    def rows_in(self, window: ReadWindow) -> RowCount | None:
        """Return how many rows the window holds, where that is told at once; else an estimate, or None."""

    def fingerprint(self, window: ReadWindow) -> str | None:
        """Return a digest of the window's content, or None where it is large."""

    def digests(self) -> tuple[Slicing, Mapping[int, SliceDigest]]:
        """Return how the table is sliced, and what each slice holds, as the server computes it."""

    def read_slices(self, slices: Slices, pending_from: Watermark | None = None) -> QueryRead:
        """Return how some slices are to be read whole.

        Rows whose cursor is at `pending_from` or later are marked as pending.
        """

    def unfit_rows(self) -> int:
        """Return how many rows a mirror cannot hold, but for soft-deleted ones."""

    def rejected(self, window: ReadWindow) -> Sequence[RejectedRow]:
        """Return the window's rows that the mirror cannot hold. Raises: UnfitValueError for too many."""

    def rejected_keys(self) -> QueryRead:
        """Return how the keys of all rejected rows are to be read, as far as they have one."""

    def read(self, window: ReadWindow) -> Read:
        """Return how the window is to be read."""


class SourceSession(Protocol):
    """One consistent point of one source: every table of a run is read at it.

    Tables are locked first, then described, then the point is fixed, then windows are probed and read.
    """

    @property
    def warnings(self) -> Sequence[str]:
        """Return what people should know of the point, a sentence each."""

    def lock(self, tables: Mapping[str, TableConfig]) -> Mapping[str, DatamartError]:
        """Keep changes that are not MVCC-safe away from the tables until `close` (R16).

        Return the tables that are not locked, each with the reason; all others are. Waits for locks that
        others hold, says so, and gives up at the source's `lock_wait_seconds`. Raises: SourceError.
        """

    def describe(self, table: str, config: TableConfig) -> DescribedTable:
        """Return a locked table with what the source's catalog says of it. Raises: SourceError."""

    def pin_snapshot(self) -> Horizon:
        """Take the horizon, then the consistent point; return the horizon.

        Raises: SourceError; SourceUnreachableError where the locks do not cover what is read any more.
        """

    def close(self) -> None:
        """Give the consistent point up."""


class Lake(Protocol):
    """The Iceberg tables of one run."""

    def using(self, engine: str) -> Self:
        """Return the same lake, worked on by one engine from here on: see `core.engines`."""

    def history(self, table: str) -> TableHistory | None:
        """Return a table's columns and ancestors, or None where there is no table."""

    def held_columns(
        self, table: str, columns: Sequence[Column], mirror: TableHistory | None
    ) -> tuple[Column, ...]:
        """Return a source's columns with the types that the mirror holds them in, or will.

        Raises: SchemaChangeError where the mirror holds a type that this lake's engine cannot read.
        """

    def probe(self, table: str, source: SourceTable, read: LakeRead, cursor: str | None) -> Probe:
        """Return what a read of files holds. Raises: UnfitValueError for a NULL in a key, LakeError."""

    def create_mirror(self, merge: MirrorMerge) -> None:
        """Create the mirror where it is missing, without rows."""

    def digests(
        self, table: str, mirror: TableHistory, columns: Sequence[str], slicing: Slicing
    ) -> Mapping[int, SliceDigest]:
        """Return what each slice of a mirror holds in `columns` at its current snapshot."""

    def mirror_differences(self, comparison: MirrorComparison) -> Differences:
        """Return which rows of a mirror's slices are not as the source has them."""

    def mart_differences(self, maintenance: MartMaintenance) -> Verified:
        """Return how a mart compares with its join, both counted and then row by row."""

    def snapshot_differences(self, table: str, history: TableHistory, snapshot_id: int) -> Differences:
        """Return which rows of a table are not as an earlier snapshot has them."""

    def reject(self, table: str, rows: Sequence[RejectedRow]) -> Sequence[RejectedRow]:
        """Keep rejected rows of a mirror for good, each once; return those that this run brought.

        Two equal rows in `rows` are two rows. Raises: CommitConflictError.
        """

    def merge(self, merge: MirrorMerge) -> Merged:
        """Commit one mirror's change and its state in one snapshot (R1), if that passes its audits.

        Rows that checks reject are kept as by `reject`, before. Raises: CommitConflictError where another
        writer came first, CheckError, AuditError, DeleteGuardError, LakeError.
        """

    def maintain(self, maintenance: MartMaintenance) -> Merged:
        """Commit what makes the mart equal its join again. Raises: as `merge`."""

    def close(self) -> None:
        """Release what the lake holds."""


class Upkeep(Protocol):
    """The Iceberg tables of one lake, kept in few files."""

    def using(self, engine: str) -> Self:
        """Return the same, with files written anew by one engine from here on: see `core.engines`."""

    def history(self, table: str) -> TableHistory | None:
        """Return a table's columns and ancestors, or None where there is no table."""

    def layout(self, table: str, snapshot_id: int | None) -> Layout:
        """Return how a table lies in its files.

        Raises: CommitConflictError where it is at another snapshot.
        """

    def rewrite(self, rewrite: Rewrite, summary: Mapping[str, str]) -> None:
        """Commit the same rows in other files, with `summary` among the snapshot's properties.

        Raises: CommitConflictError where the table is not at the rewrite's base any more; NeedsSparkError.
        """

    def expire(self, table: str, current: int, expired: Collection[int]) -> int:
        """Remove snapshots, and files that no other one is made of; return how many files went.

        Raises: CommitConflictError where the table is not at `current` any more, or has other tags.
        """

    def orphans(self, table: str, before: datetime) -> Sequence[str]:
        """Return the files of a table that nothing names, and that were written before then."""

    def remove_orphans(self, table: str, orphans: Collection[str]) -> int:
        """Remove such files; return how many went."""

    def close(self) -> None:
        """Release what the engines hold."""


class TimestampFile(Protocol):
    """The file that operators know (R6)."""

    def read(self) -> datetime | None:
        """Return the instant it says, None where it is missing.

        Raises: TimestampFileError, StateUnreachableError.
        """

    def write(self, instant: datetime, expected: datetime | None) -> None:
        """Replace `expected` by `instant`. Raises: TimestampFileConflictError."""


class RunCounts(Protocol):
    """How many runs each table had since it was reconciled."""

    def read(self) -> Mapping[str, int]:
        """Return the runs by table; a lost count is missing. Raises: StateUnreachableError."""

    def write(self, counts: Mapping[str, int]) -> None:
        """Replace the counts. Raises: TimestampFileError, StateUnreachableError."""


class RunRecords(Protocol):
    """The records of runs, kept beside the timestamp file; the oldest give way to new ones."""

    def write(self, record: RunRecord) -> None:
        """Keep a run's record, whole or not at all. Raises: StateRefusedError, StateUnreachableError."""

    def newest(self) -> Iterator[RunRecord]:
        """Yield the records of this timestamp file's runs, newest first; each is read when it is asked for.

        What is no record is passed over. Raises: as `write`.
        """

    def find(self, run_id: str) -> RunRecord | None:
        """Return the record of a run, named by its id or by what stands behind the hyphen of it.

        None where there is none. Raises: as `write`.
        """


class Clock(Protocol):
    """The time of this machine, for lineage columns and reports; never for windows."""

    def now(self) -> datetime:
        """Return the aware present instant."""


@dataclass(frozen=True)
class Adapters:
    """What a run touches."""

    lake: Lake
    timestamp_file: TimestampFile
    run_counts: RunCounts
    clock: Clock
    engines: Engines
    open_source: Callable[[str, SourceConfig], SourceSession]
    # Where a run tells what it is doing.
    board: Board = field(default_factory=Board)
