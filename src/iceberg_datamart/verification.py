"""What `verify` found: how far a table is from what it must hold, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iceberg_datamart.report import common_exit_code, error_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iceberg_datamart.errors import DatamartError
    from iceberg_datamart.receipt import CommitReceipt

MISSING, STALE, EXTRA = "missing", "stale", "extra"


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

    `newer` counts rows apart that differ because they changed after the mirror's watermark.
    """

    missing: int = 0
    stale: int = 0
    extra: int = 0
    newer: int = 0
    first: tuple[Difference, ...] = ()


@dataclass(frozen=True)
class Verified:
    """One table beside what it must hold, in rows; `error` says why it could not be compared."""

    expected: int = 0
    held: int = 0
    differences: Differences = Differences()
    error: DatamartError | None = None

    @property
    def result(self) -> str:
        """Return equal, different or failed."""
        if self.error is not None:
            return "failed"
        found = self.differences
        return "different" if found.missing or found.stale or found.extra else "equal"

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
            "newer": found.newer,
            "first": [difference.as_json() for difference in found.first],
            "error": None if self.error is None else error_json(self.error),
        }


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
    def exit_code(self) -> int:
        """Return 0 where all are equal, 75 where all that failed may be tried again, else 1."""
        found = (*self.tables.values(), *self.marts.values())
        wrong = (each for each in found if each.result != "equal")
        return common_exit_code(1 if each.error is None else each.error.exit_code for each in wrong)

    def as_json(self) -> dict[str, Any]:
        """Return the documented object of `verify --json`."""
        return {
            "result": "equal" if self.exit_code == 0 else "different",
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
