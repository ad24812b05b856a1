"""The health of a mirror or mart in one word, with the reasons: from facts alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from iceberg_datamart.core.durations import duration_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iceberg_datamart.core.state.history import TableHistory

OK, DISABLED, BROKEN, MISSING, FAILED = "ok", "disabled", "broken", "missing", "failed"
FOREIGN, BEHIND, STALE, NEEDS_MAINTENANCE = "foreign", "behind", "stale", "needs maintenance"
# Where nobody says how late a table may be: most jobs run at least once a day.
STALE_AFTER = timedelta(days=1)
# What a reader opens for little: from here on compacting and expiring costs less than leaving it.
MOST_DELETE_FILES, MOST_SMALL_FILES, MOST_SNAPSHOTS = 50, 100, 500
SMALL_FILE = 16 * 1024**2  # bytes, on average


@dataclass(frozen=True)
class Figures:
    """What a table's metadata counts; None where the current snapshot's summary does not tell.

    `snapshots` are all that can still be read, staged ones among them; `bytes` those of all files.
    """

    data_files: int | None = None
    delete_files: int | None = None
    bytes: int | None = None
    snapshots: int = 0

    @classmethod
    def of(cls, table: TableHistory | None) -> Figures:
        """Return the figures of a table at its current snapshot; zeros where there is none."""
        snapshots = 0 if table is None else table.snapshot_count
        if table is None or table.current is None:
            return cls(0, 0, 0, snapshots)
        total = table.current.total
        return cls(total("data-files"), total("delete-files"), total("files-size"), snapshots)

    @property
    def too_many(self) -> tuple[str, ...]:
        """Return of what the table has so much that it needs maintenance, with the limit."""
        files, deletes = self.data_files or 0, self.delete_files or 0
        is_small = self.bytes is not None and self.bytes < files * SMALL_FILE
        size = f"data files of less than {SMALL_FILE // 1024**2} MB on average"
        found = (
            (deletes > MOST_DELETE_FILES, f"{deletes:,} delete files", MOST_DELETE_FILES),
            (files > MOST_SMALL_FILES and is_small, f"{files:,} {size}", MOST_SMALL_FILES),
            (self.snapshots > MOST_SNAPSHOTS, f"{self.snapshots:,} snapshots", MOST_SNAPSHOTS),
        )
        return tuple(f"{what}, more than {limit}" for is_so, what, limit in found if is_so)


@dataclass(frozen=True)
class Condition:
    """What is known of one mirror or mart.

    `is_filled` says whether any commit was ever published in it. `error` says why it cannot be loaded,
    `failure` what failed in the last run. `foreign` are the snapshots
    by which other tools may have changed rows, and `undone_by` what takes such changes back. `behind` are a
    mart's mirrors that moved on without it. `lag` is None where nothing is known to be complete.
    """

    exists: bool
    is_filled: bool = True
    is_enabled: bool = True
    error: str | None = None
    failure: str | None = None
    foreign: tuple[int, ...] = ()
    undone_by: str = "the next run"
    behind: tuple[str, ...] = ()
    lag: timedelta | None = None
    figures: Figures = Figures()


@dataclass(frozen=True)
class Health:
    """One word, that of the worst reason; `reasons` has a sentence for each, the worst first."""

    word: str
    reasons: tuple[str, ...] = ()


def health(table: Condition, max_lag: timedelta | None = None) -> Health:
    """Return the health of a table. It is stale where it lags by more than `max_lag`, or else by a day."""
    if not table.is_enabled:
        return Health(DISABLED)
    found = tuple(_problems(table, STALE_AFTER if max_lag is None else max_lag))
    return Health(found[0][0] if found else OK, tuple(text for _, text in found))


def _problems(table: Condition, max_lag: timedelta) -> Iterator[tuple[str, str]]:
    """Yield each word with its reason, the worst first: what is wrong hides whether rows are late."""
    if table.error is not None:
        yield BROKEN, table.error
    elif not table.exists:
        yield MISSING, "no run has made it yet"
    elif not table.is_filled and table.lag is None:
        yield MISSING, "no run has filled it yet"
    if table.failure is not None:
        yield FAILED, f"the last run failed: {table.failure}"
    if table.foreign:
        numbers = ", ".join(map(str, table.foreign))
        stay = f"rows that it changed stay until {table.undone_by}"
        yield FOREIGN, f"another tool committed snapshot {numbers}; {stay}"
    if table.behind:
        yield BEHIND, f"mirrors moved on without it: {', '.join(table.behind)}"
    if table.lag is not None and table.lag > max_lag:
        yield STALE, f"it lags {duration_text(table.lag)}, more than {duration_text(max_lag)}"
    for text in table.figures.too_many:
        yield NEEDS_MAINTENANCE, text
