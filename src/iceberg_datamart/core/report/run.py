"""What a run tells its caller: outcomes, exit code, and the documented JSON."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from iceberg_datamart.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from iceberg_datamart.core.engines import EngineChoice
    from iceberg_datamart.errors import DatamartError

MERGED, UNCHANGED, FAILED, SKIPPED = "merged", "unchanged", "failed", "skipped"


@dataclass(frozen=True)
class Outcome:
    """What became of one table or mart. `error` says why it failed, `reason` why it was skipped.

    `complete_through` is the source's time up to which a table is known complete after the run; None for
    marts, and where it is not known. `rejected` counts the rows that this run added to the rejected ones;
    `dropped` those that gave way to a newer row of the same key (R18). `warnings` tells of both, and of what
    checks and audits found. `engine` is what worked on it, or would have; None where it failed before.
    """

    outcome: str
    rows_read: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    rejected: int = 0
    dropped: int = 0
    snapshot_id: int | None = None
    watermark: str | None = None
    complete_through: datetime | None = None
    seconds: float = 0.0
    error: DatamartError | None = None
    reason: str | None = None
    warnings: tuple[str, ...] = ()
    engine: EngineChoice | None = None

    @property
    def staged_snapshot_id(self) -> int | None:
        """Return the snapshot that is not published because it failed an audit; None where there is none."""
        return self.error.staged_snapshot_id if isinstance(self.error, AuditError) else None

    def followed_by(self, later: Outcome) -> Outcome:
        """Return what two passes of one run did to a table: the changes of both, the later one's end."""
        changed = later.outcome == UNCHANGED and self.outcome == MERGED
        return replace(
            later,
            outcome=MERGED if changed else later.outcome,
            rows_read=self.rows_read + later.rows_read,
            inserted=self.inserted + later.inserted,
            updated=self.updated + later.updated,
            deleted=self.deleted + later.deleted,
            rejected=self.rejected + later.rejected,
            dropped=later.dropped,
            snapshot_id=later.snapshot_id or self.snapshot_id,
            watermark=later.watermark or self.watermark,
            seconds=self.seconds + later.seconds,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the documented object."""
        return {
            "outcome": self.outcome,
            "rows_read": self.rows_read,
            "inserted": self.inserted,
            "updated": self.updated,
            "deleted": self.deleted,
            "rejected": self.rejected,
            "dropped": self.dropped,
            "snapshot_id": self.snapshot_id,
            "staged_snapshot_id": self.staged_snapshot_id,
            "watermark": self.watermark,
            "complete_through": None if self.complete_through is None else self.complete_through.isoformat(),
            "seconds": round(self.seconds, 3),
            "engine": None if self.engine is None else self.engine.as_json(),
            "error": None if self.error is None else error_json(self.error),
            "reason": self.reason,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class RunReport:
    """The truth about one run (D9). `phases` are the seconds of its parts, by name, in their order."""

    run_id: str
    tables: Mapping[str, Outcome]
    marts: Mapping[str, Outcome]
    seconds: float = 0.0
    timestamp: str | None = None
    warnings: tuple[str, ...] = ()
    error: DatamartError | None = None
    phases: Mapping[str, float] = field(default_factory=dict)

    @property
    def failures(self) -> tuple[DatamartError, ...]:
        """Return every error of the run."""
        found = [outcome.error for outcome in (*self.tables.values(), *self.marts.values())]
        return tuple(error for error in (*found, self.error) if error is not None)

    @property
    def exit_code(self) -> int:
        """Return 0 for all good; the one code of all failures where they agree; else 1."""
        return common_exit_code(error.exit_code for error in self.failures)

    def as_json(self) -> dict[str, Any]:
        """Return the documented object of `run --json`."""
        return {
            "run_id": self.run_id,
            "status": "failed" if self.failures else "succeeded",
            "tables": {name: outcome.as_json() for name, outcome in self.tables.items()},
            "marts": {name: outcome.as_json() for name, outcome in self.marts.items()},
            "timestamp": self.timestamp,
            "seconds": round(self.seconds, 3),
            "phases": {name: round(seconds, 3) for name, seconds in self.phases.items()},
            "warnings": list(self.warnings),
            "error": None if self.error is None else error_json(self.error),
        }


def common_exit_code(failures: Iterable[int]) -> int:
    """Return 0 for no failures; the one exit code of all where they agree; else 1."""
    codes = set(failures)
    if not codes:
        return 0
    return codes.pop() if len(codes) == 1 else 1


def unplanned_json(error: DatamartError) -> dict[str, Any]:
    """Return the object of a run that could not even be planned, in the shape of `RunReport.as_json`."""
    return {"run_id": None, "status": "failed", "tables": {}, "marts": {}, "error": error_json(error)}


def error_json(error: DatamartError) -> dict[str, str]:
    """Return an error as machines read it."""
    return {"type": type(error).__name__, "message": error.message, "hint": error.hint}
