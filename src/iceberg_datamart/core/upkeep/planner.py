"""What is worth doing to a table's files, and why: from its metadata alone."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from iceberg_datamart.core.upkeep.layout import Rewrite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iceberg_datamart.core.settings.upkeep import UpkeepConfig
    from iceberg_datamart.core.state.history import TableHistory
    from iceberg_datamart.core.upkeep.layout import LaidFile, Layout
    from iceberg_datamart.core.upkeep.retention import Retention

COMPACT, MANIFESTS, EXPIRE, ORPHANS = (
    "compact files",
    "merge manifests",
    "expire snapshots",
    "remove orphans",
)
# A file of at least so much of the target is left as it is.
_FULL = 0.75
# Files up to here cost more to open than to write again.
_CHEAP = 8 * 1024 * 1024
# A larger file is written again only with smaller ones that are together at least its size over this.
_GROWTH = 4
# Expiry is a commit, and reads manifests: it waits for a part of the snapshots that are kept.
_PART_EXPIRED = 4
_MANY_MANIFESTS = 10


@dataclass(frozen=True)
class Step:
    """One thing that can be done to a table, whether it is worth it, and why, or why not."""

    kind: str
    is_due: bool
    why: str


@dataclass(frozen=True)
class Compaction:
    """Which files are written anew, or none; and why."""

    step: Step
    rewrite: Rewrite | None = None


def compaction(table: str, layout: Layout, settings: UpkeepConfig, base: int | None) -> Compaction:
    """Return which files of the snapshot `base` are worth to be written anew."""
    if base is None:
        return Compaction(Step(COMPACT, is_due=False, why="the table is empty"))
    data = _rewritten(layout, settings)
    gone = frozenset(file.path for file in data)
    left = [file for file in layout.data if file.path not in gone]
    # What deletes from files that stay is written into one file for each of them, where there are many.
    parted = {file.path for file in left if file.delete_files > 1}
    deletes = frozenset(
        path for path, touched in layout.deletes.items() if touched <= gone or touched & parted
    )
    kept_touched = {each for path in deletes for each in layout.deletes[path]} - gone
    partitions = len({file.partition for file in data})
    outputs = max(partitions, ceil(sum(file.size for file in data) / layout.target))
    saved = len(gone) - outputs + len(deletes) - len(kept_touched)
    told = f"{_counted(len(layout.data), 'data file')} and {_counted(len(layout.deletes), 'delete file')}"
    hidden = [
        file for file in data if file.deleted >= settings.deleted_part * file.rows and file.size > _CHEAP
    ]
    if hidden:
        why = f"{told}; of {_counted(len(hidden), 'file')} {settings.deleted_part:.0%} or more is deleted"
    elif saved >= settings.saved_files:
        why = f"{told}: {saved} fewer afterwards"
    else:
        why = f"{told}: {max(0, saved)} fewer afterwards, and min_files is {settings.saved_files}"
        return Compaction(Step(COMPACT, is_due=False, why=why))
    return Compaction(Step(COMPACT, is_due=True, why=why), Rewrite(table, base, gone, deletes))


def merged_manifests(table: str, layout: Layout, base: int | None) -> Compaction:
    """Return whether the manifests are worth to be written anew, where no file is."""
    told = f"{_counted(layout.manifests, 'manifest')}, {layout.small_manifests} of them small"
    if base is None or layout.small_manifests < _MANY_MANIFESTS:
        return Compaction(Step(MANIFESTS, is_due=False, why=told))
    return Compaction(Step(MANIFESTS, is_due=True, why=told), Rewrite(table, base))


def expiry(found: Retention, settings: UpkeepConfig) -> Step:
    """Return whether snapshots are worth to be removed."""
    count = len(found.expired)
    told = f"{_counted(count, 'snapshot')} of {count + len(found.kept)} can go"
    return Step(EXPIRE, is_due=count >= _fewest(settings), why=told)


def waits(history: TableHistory, *, is_mirror: bool) -> str | None:
    """Return why nothing is done to a table before a run has compared all its rows; None for nothing.

    A commit that only writes files anew would hide what the run must find.
    """
    if is_mirror and history.needs_reconcile:
        return "a rollback undid what only a comparison finds again; the next run compares all rows"
    if history.is_altered:
        return "another tool altered its columns; the next run compares all rows"
    return None


def _rewritten(layout: Layout, settings: UpkeepConfig) -> Sequence[LaidFile]:
    """Return the data files that are written together: small ones, and those with many deleted rows.

    Sizes grow geometrically among those that are left, so that a row is written anew a few times, however
    many commits come.
    """
    small = sorted(
        (file for file in layout.data if file.size < _FULL * layout.target), key=lambda file: file.size
    )
    taken: list[LaidFile] = []
    total = 0
    for file in small:
        if file.size > max(_CHEAP, _GROWTH * total):
            break
        taken.append(file)
        total += file.size
    if len(taken) == 1 and not taken[0].delete_files:
        taken = []
    known = {file.path for file in taken}
    many = (f for f in layout.data if f.rows and f.deleted >= settings.deleted_part * f.rows)
    return [*taken, *(file for file in many if file.path not in known)]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def due_by_summary(history: TableHistory, settings: UpkeepConfig) -> bool:
    """Return whether it is worth to look at a table's files: by its newest snapshot's own counts."""
    current = history.current
    if current is None:
        return False
    files = sum(current.total(kind) or 0 for kind in ("data-files", "delete-files"))
    return files > settings.saved_files or history.snapshot_count >= settings.most_snapshots + _fewest(
        settings
    )


def _fewest(settings: UpkeepConfig) -> int:
    return max(1, settings.most_snapshots // _PART_EXPIRED)
