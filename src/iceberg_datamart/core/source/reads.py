"""What a source says of a table, and how one window of it is to be read: values without effects."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from iceberg_datamart.core.source.widths import WIDE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.core.instants import CursorKind
    from iceberg_datamart.core.source.snapshots import SourceSnapshots
    from iceberg_datamart.core.state.watermark import Horizon, Watermark


# The name of the boolean column that marks rows to delete.
DELETED = "_datamart_deleted"


@dataclass(frozen=True)
class StoredPart:
    """A table, a partition or a sequence of its cursor: its oid, and the number of its present file.

    A part that is truncated, restarted or rewritten gets another file. `holds_rows` is false where it
    has none yet. `links` says by which attachments it is one, others once it is attached again; the table
    itself has none.
    """

    oid: int
    file: int
    name: str
    holds_rows: bool = True
    links: str = ""


@dataclass(frozen=True)
class IntegerCursor:
    """An integer cursor's greatest value, None without any; `drawn` is where its sequence stands, if any.

    `hidden` names a sequence of which the source does not tell where it stands. `unordered` says why values
    that come later may be smaller.
    """

    greatest: int | None
    drawn: int | None = None
    hidden: str | None = None
    unordered: str | None = None


@dataclass(frozen=True)
class SourceTable:
    """A source table as the source's own catalog describes it.

    `identity` names the server, database and table (R13). `key_is_unique` says whether the source
    guarantees one row per key, and no NULL in it. `cursor` is None where none is configured.
    `is_digested` says whether the source itself digests its slices; else a reconcile is a full load.
    `snapshots` are those of an Iceberg table, whose position is a snapshot and no cursor value.
    `column_ids` are those by which the source knows its columns whatever their names; none where it has none.
    `recipe` is all that decides how its rows are read, text by name: a mirror whose rows were read by
    another one is compared whole (R19). `parts` are what it is stored in; none where that is not known.
    `integers` tells of an integer cursor (R20).
    `unsteady` says why its rows change though nobody writes, so that no cursor tells of it: then all of them
    are compared in each run.
    `cursor_step` is to how many microseconds a timestamp cursor's values are rounded.
    `written_elsewhere` says why its writers cannot be seen, where their transactions are another
    database's: then no horizon holds for it, and a watermark trails what was read by a lookback.
    `equality` says as what each column is compared, where that does not follow from its Iceberg type: see
    `equality.py`.
    """

    identity: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    key_is_unique: bool
    cursor: CursorKind | None = None
    is_digested: bool = True
    snapshots: SourceSnapshots | None = None
    column_ids: Mapping[str, int] = field(default_factory=dict)
    equality: Mapping[str, str] = field(default_factory=dict)
    recipe: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[StoredPart, ...] = ()
    integers: IntegerCursor | None = None
    written_elsewhere: str | None = None
    unsteady: str | None = None
    cursor_step: int = 1


@dataclass(frozen=True)
class SharedKeys:
    """How many keys more than one row has, how many rows these are, and one such key as text.

    Of `undecided` keys, the source does not say which row is the newest version of the others.
    """

    keys: int = 0
    rows: int = 0
    undecided: int = 0
    example: str = ""

    @property
    def dropped(self) -> int:
        """Return how many rows are left out where one of each key stays."""
        return self.rows - self.keys


@dataclass(frozen=True)
class Probe:
    """What a look at a window told before it is read.

    `rows` counts those that the mirror can hold, `greatest` is their greatest cursor value, and `keys`
    are all their primary keys, unsorted, where there are few. `rejected` counts the others. `settled` is
    the integer cursor value below which no open transaction can still write, where that can be told.
    `shared` are those of the window's keys that other rows of the table have, too; none where a constraint
    proves the key.
    """

    rows: int
    greatest: Watermark | None
    keys: tuple[tuple[Any, ...], ...] | None = None
    settled: Watermark | None = None
    rejected: int = 0
    shared: SharedKeys = field(default_factory=SharedKeys)


@dataclass(frozen=True)
class RowCount:
    """How many rows a window holds: counted, or by the source's statistics where it `is_estimate`."""

    rows: int
    is_estimate: bool = False


# More than a person can correct: the type, the key or the check is at fault, and the table fails.
MOST_REJECTED = 10_000
# Characters of JSON: with all their values, rejected rows pass through the memory of this process.
MOST_REJECTED_TEXT = 256 * 1024**2


@dataclass(frozen=True, order=True)
class RejectedRow:
    """A row that cannot or may not enter the mirror, and why. `row` is the JSON text of all its values."""

    reason: str
    row: str


def wire_name(position: int) -> str:
    """Return the name under which the column at `position`, from 0, leaves the source.

    Not its own: Spark's JDBC reader puts names between quotes without doubling those in them.
    """
    return f"c{position}"


@dataclass(frozen=True)
class QueryRead:
    """One window of one table as the query that selects it, for connections that each read a part.

    `relation` is a parenthesised SELECT; each of `predicates` selects one partition of it, and
    together they select every row once. Timestamps arrive as microseconds since 1970, dates as days
    since 1970, so that no zone of any machine can shift them. Each of `columns` arrives under its
    `wire_name`; `deleted` names a boolean column that marks rows to delete, `pending` one that marks rows
    which a mirror need not have yet. `session` is the statement that each connection runs first; it imports
    the snapshot. `widest` are the bytes of the widest row, 0 where that is not known; `apart` selects the
    rows that are too wide to be fetched together with the others, which `predicates` then leave out.

    It is told twice: to JDBC by `url`, `credentials` and `relation`, in which each ? of an operator is
    doubled; to PostgreSQL's own library by its `parameters` and by `query`, the same relation as it is.
    """

    url: str
    relation: str
    predicates: tuple[str, ...]
    session: str
    columns: tuple[Column, ...]
    deleted: str | None = None
    pending: str | None = None
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    widest: int = 0
    apart: str | None = None

    def reading_wide_rows_apart(self, width: str) -> QueryRead:
        """Return the read in two parts, told apart by the column `width` of its relation."""
        narrow = tuple(f"{predicate} and {width} <= {WIDE}" for predicate in self.predicates)
        return replace(self, predicates=narrow, apart=f"{width} > {WIDE}")


@dataclass(frozen=True)
class FilesRead:
    """A table of files as Spark is to read it, whole: which files, and which values their folders stand for.

    `folders` are the files of each partition, with the partition's values in the order of
    `partition_columns`. `stored` names the columns in the files, in their order, which CSV needs. `options`
    are those of Spark's reader. Of text, `encoding` is that of the files, `null` a value that stands for
    NULL as an empty one does, and `escape` a sign that no line may have. `soft_delete` is a predicate in
    Spark's SQL. No row is ever `pending`: files are not compared by slices.
    """

    format: str
    folders: tuple[tuple[tuple[str | None, ...], tuple[str, ...]], ...]
    partition_columns: tuple[str, ...]
    columns: tuple[Column, ...]
    stored: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    encoding: str = "UTF-8"
    null: str = ""
    escape: str | None = None
    soft_delete: str | None = None
    pending: str | None = None

    @property
    def deleted(self) -> str | None:
        """Return the name of the column that marks rows to delete, as a `QueryRead` has it."""
        return None if self.soft_delete is None else DELETED


@dataclass(frozen=True)
class IcebergRead:
    """An Iceberg table as Spark is to read it: the current snapshot of one metadata file.

    With `after`, only the rows that were appended after that snapshot. `soft_delete` is a predicate in
    Spark's SQL. No row is ever `pending`, as of a `FilesRead`.
    """

    metadata: str
    columns: tuple[Column, ...]
    soft_delete: str | None = None
    after: int | None = None
    pending: str | None = None

    @property
    def deleted(self) -> str | None:
        """Return the name of the column that marks rows to delete, as a `QueryRead` has it."""
        return None if self.soft_delete is None else DELETED


# What the lake alone can probe, for it reads the files itself.
LakeRead: TypeAlias = FilesRead | IcebergRead
Read: TypeAlias = QueryRead | LakeRead
AnyRead = TypeVar("AnyRead", QueryRead, FilesRead, IcebergRead)


def as_held(read: AnyRead, source: SourceTable) -> AnyRead:
    """Return the read with each column's type as `source` has it: the one that the mirror holds."""
    held = {column.name: column for column in source.columns}
    return replace(read, columns=tuple(held[column.name] for column in read.columns))


@dataclass(frozen=True)
class OpenTransaction:
    """A transaction that holds the horizon back, from `holds_from` on.

    It began at `since`, or was prepared then: a prepared one has a `gid` and no session, so no `pid`
    and no `application_name`. `is_own` says that it bears the name of this program's own sessions, which
    write nothing: told to people, and no ground for anything, for any session may take that name.
    """

    since: datetime
    holds_from: datetime
    user: str | None
    state: str | None
    pid: int | None = None
    application_name: str | None = None
    gid: str | None = None
    is_own: bool = False


@dataclass(frozen=True)
class Activity:
    """What a source does at the moment: its horizon, and the open transactions that hold it back.

    `inexact` says why the horizon is a guess, to be read after the source's name; None where it is none.
    """

    horizon: Horizon
    open_transactions: tuple[OpenTransaction, ...]
    inexact: str | None = None
