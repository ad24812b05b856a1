"""What `verify` found: how far a table is from what it must hold, and where."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from iceberg_datamart.core.report.run import common_exit_code, error_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iceberg_datamart.core.state.commit import CommitReceipt
    from iceberg_datamart.errors import DatamartError

MISSING, STALE, EXTRA = "missing", "stale", "extra"
EQUAL, PENDING, DIFFERENT, FAILED = "equal", "pending", "different", "failed"


@dataclass(frozen=True)
class Difference:
    """One row that is missing, stale or extra; `columns` are those that a stale row has wrong."""

    kind: str
    key: Mapping[str, str | None]
    columns: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the documented object."""
        return {"kind": self.kind, "key": dict(self.key), "columns": list(self.columns)}


@dataclass(frozen=True)
class Differences:
    """How many rows are missing, stale and extra, and the first of them by key.

    `pending` counts rows apart that the source changed after the last run read it. `rejected_missing` and
    `rejected_stale` say how many of the missing and of the stale rows are rejected ones.
    """

    missing: int = 0
    stale: int = 0
    extra: int = 0
    pending: int = 0
    rejected_missing: int = 0
    rejected_stale: int = 0
    first: tuple[Difference, ...] = ()

    @property
    def rejected(self) -> int:
        """Return how many rows differ because they, or their newest versions, were rejected."""
        return self.rejected_missing + self.rejected_stale

    def with_unfit(self, rows: int) -> Differences:
        """Return these with `rows` that the mirror cannot hold; of some it may have older versions."""
        missing = max(0, rows - self.rejected_stale)
        return replace(self, missing=self.missing + missing, rejected_missing=self.rejected_missing + missing)


@dataclass(frozen=True)
class Verified:
    """One table beside what it must hold, in rows; `error` says why it could not be compared.

    `waits` says that a mart is the join of mirrors that have moved since. `notes` say where differences come
    from, and what makes up for them.
    """

    expected: int = 0
    held: int = 0
    differences: Differences = Differences()
    error: DatamartError | None = None
    notes: tuple[str, ...] = ()
    waits: bool = False

    @property
    def result(self) -> str:
        """Return equal, pending, different or failed; equal only for as many rows, and equal ones (R14)."""
        if self.error is not None:
            return FAILED
        found = self.differences
        if found.missing or found.stale or found.extra:
            return DIFFERENT
        if found.pending:
            return PENDING
        equal = PENDING if self.waits else EQUAL
        return equal if self.expected == self.held else DIFFERENT

    def as_json(self) -> dict[str, Any]:
        """Return the documented object."""
        found = self.differences
        return {
            "result": self.result,
            "expected": self.expected,
            "held": self.held,
            MISSING: found.missing,
            STALE: found.stale,
            EXTRA: found.extra,
            PENDING: found.pending,
            "rejected": found.rejected,
            "first": [difference.as_json() for difference in found.first],
            "notes": list(self.notes),
            "error": None if self.error is None else error_json(self.error),
        }


def notes_of(table: str, found: Differences, *, reads_all: bool) -> tuple[str, ...]:
    """Return where the differences of a mirror come from; `reads_all` where each run compares all rows."""
    notes = []
    if found.rejected:
        notes.append(f"{found.rejected} of these rows are rejected ones, kept in '{table}__rejected'")
    unseen = found.missing + found.stale + found.extra - found.rejected
    if unseen and not reads_all:
        notes.append(
            f"{unseen} rows differ that no cursor tells of, such as deletes ({found.extra} extra): "
            f"iceberg-datamart reconcile --table {table}"
        )
    elif unseen:
        notes.append(f"{unseen} rows differ, or changed since the last run: iceberg-datamart run")
    if found.pending:
        notes.append(f"{found.pending} rows changed after the last run read the source: iceberg-datamart run")
    return tuple(notes)


@dataclass(frozen=True)
class VerifyReport:
    """The truth about all tables: mirrors beside their sources, marts beside their joins."""

    tables: Mapping[str, Verified]
    marts: Mapping[str, Verified]
    warnings: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[DatamartError, ...]:
        """Return why tables could not be compared."""
        found = (*self.tables.values(), *self.marts.values())
        return tuple(each.error for each in found if each.error is not None)

    @property
    def result(self) -> str:
        """Return equal where all are, pending where the others wait for a run alone, else different."""
        results = {each.result for each in (*self.tables.values(), *self.marts.values())}
        if results <= {EQUAL}:
            return EQUAL
        return PENDING if results <= {EQUAL, PENDING} else DIFFERENT

    @property
    def exit_code(self) -> int:
        """Return 0 where all are equal, 75 where all that failed may be tried again, else 1."""
        found = (*self.tables.values(), *self.marts.values())
        wrong = (each for each in found if each.result != EQUAL)
        return common_exit_code(1 if each.error is None else each.error.exit_code for each in wrong)

    def as_json(self) -> dict[str, Any]:
        """Return the documented object of `verify --json`."""
        return {
            "result": self.result,
            "tables": {name: verified.as_json() for name, verified in self.tables.items()},
            "marts": {name: verified.as_json() for name, verified in self.marts.items()},
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class RerunReport(VerifyReport):
    """A mart's snapshot beside the join that it is; `into` proves where the join was written, if anywhere."""

    into: CommitReceipt | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the documented object of `rerun --json` for a mart."""
        into = None
        if self.into is not None:
            into = {
                "table": self.into.table,
                "snapshot_id": self.into.snapshot_id,
                "rows": self.into.inserted,
            }
        return {**super().as_json(), "into": into}
