"""What the lake asks of the machine that computes: relations, and snapshots staged and published.

An engine knows no rule. Which rows are read, how they are compared, and what may be published is said once
for all engines, in `lake/mirrors.py`, `lake/marts.py` and what they use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from iceberg_datamart.errors import CommitConflictError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from iceberg_datamart.core.changes import Change
    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.core.report.progress import Board
    from iceberg_datamart.core.source.reads import FilesRead, Read, SourceTable
    from iceberg_datamart.core.source.slices import SliceDigest, Slices, Slicing
    from iceberg_datamart.core.sql.dialect import Dialect
    from iceberg_datamart.core.upkeep.layout import Rewrite


@dataclass(frozen=True)
class Staged:
    """A snapshot of `table` that no reader sees, written on `parent` in the columns of `schema_id`."""

    table: str
    snapshot_id: int
    parent: int | None
    schema_id: int | None
    summary: Mapping[str, str | None]


class Engine(Protocol):
    """Computes relations and writes snapshots, for all threads of one run.

    A relation is text that may stand behind FROM: a table, or what one of these methods returned. It is
    read when something asks for its rows. All SQL that it is given is in its `dialect`.
    """

    @property
    def name(self) -> str:
        """Return its name in the settings."""

    @property
    def board(self) -> Board:
        """Return where the phases of what is in work are told."""

    @property
    def reads_later(self) -> bool:
        """Return whether what `read` returns is read only by the first query on it."""

    @property
    def dialect(self) -> Dialect:
        """Return the SQL that this engine runs."""

    def at_work(self, table: str) -> AbstractContextManager[None]:
        """Work on `table` in this thread; what the engine raises becomes a DatamartError that names it."""

    def table(self, name: str, snapshot_id: int | None = None) -> str:
        """Return a table's relation, at a snapshot where one is given, always with its present columns."""

    def spelled(self, name: str) -> str:
        """Return a table's name as people write it in Spark's SQL."""

    def present(self, name: str) -> str | None:
        """Return a table's relation at the snapshot that readers see now; None where there is no table."""

    def as_it_was(self, name: str, snapshot_id: int) -> str:
        """Return a table's relation at a snapshot, with the columns of its time; later ones are NULL."""

    def read(self, read: Read, source: SourceTable) -> str:
        """Return the rows of a source, each column with the type that `source` has, and the read's marks."""

    def require_whole_lines(self, read: FilesRead) -> None:
        """Raise UnfitValueError for files of lines that cannot be told for certain: one pass."""

    def define(self, select: str) -> str:
        """Return a relation of the SELECT's rows; it may be computed each time that it is read."""

    def hold(self, select: str) -> str:
        """Return a relation of the SELECT's rows, kept once they are computed until they are given up."""

    def settle(self, select: str) -> str:
        """Return a relation of the SELECT's rows, computed now and never again."""

    def give_up(self, relation: str) -> None:
        """Free what keeps a held relation's rows; a second time changes nothing."""

    def release(self) -> None:
        """Give up all relations that are held."""

    def columns(self, select: str) -> tuple[Column, ...]:
        """Return a SELECT's columns, none of its rows.

        Each is nullable, with Iceberg's type, or the engine's own where Iceberg has none.
        """

    def require_row_local(self, select: str, text: str, place: str, *, is_filter: bool = False) -> None:
        """Raise ConfigError, naming `place`, where `text` is no expression of one row of the SELECT (R21)."""

    def fetch(self, select: str) -> list[tuple[Any, ...]]:
        """Return a SELECT's rows."""

    def slice_digests(
        self, relation: str, columns: Mapping[str, str], slicing: Slicing
    ) -> dict[int, SliceDigest]:
        """Return what each slice of a relation holds in `columns`, name to Iceberg type: one scan."""

    def in_slices(self, slices: Slices) -> str:
        """Return the predicate that a row lies in one of `slices`."""

    def stage(self, change: Change, summary: Mapping[str, str]) -> Staged:
        """Write a change into a snapshot with these summary properties that no reader sees."""

    def stamp(self, table: str, summary: Mapping[str, str]) -> Staged:
        """Stage a snapshot without files."""

    def rewrite(self, rewrite: Rewrite, summary: Mapping[str, str]) -> Staged:
        """Stage the table's rows in other files. Raises: CommitConflictError where it is not at the base."""

    def publish(self, staged: Staged) -> None:
        """Make a snapshot the current one. Raises: CommitConflictError where its parent is not current."""

    def ancestors(self, table: str) -> set[int]:
        """Return the ids of the current snapshot and its ancestors, as the catalog has them now."""


def conflict(table: str) -> CommitConflictError:
    """Return what to raise where another writer came first."""
    message = f"another run committed to {table} while this one was merging"
    return CommitConflictError(message, hint="Run again: it starts from what the other run committed.")
