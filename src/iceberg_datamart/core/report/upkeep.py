"""What `maintain` did to each table, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from iceberg_datamart.core.report.run import error_json

if TYPE_CHECKING:
    from iceberg_datamart.core.engines import EngineChoice
    from iceberg_datamart.core.upkeep.planner import Step
    from iceberg_datamart.errors import DatamartError

MAINTAINED, DUE, NOTHING, WAITS, ABSENT, FAILED = (
    "maintained",
    "due",
    "nothing",
    "waits",
    "absent",
    "failed",
)


@dataclass(frozen=True)
class Counts:
    """How many files and snapshots a table has."""

    data_files: int = 0
    delete_files: int = 0
    manifests: int = 0
    snapshots: int = 0

    def as_json(self) -> dict[str, int]:
        """Return the documented object."""
        return asdict(self)


@dataclass(frozen=True)
class UpkeepOutcome:
    """What became of one table; `steps` are all that were thought of.

    `due` is what is worth it, in a dry run; `waits` says that a run has to come first, and `reason` why.
    `after` is None where nothing was done; `files_removed` counts expired files and orphans.
    """

    outcome: str
    steps: tuple[Step, ...] = ()
    before: Counts = Counts()
    after: Counts | None = None
    files_removed: int = 0
    engine: EngineChoice | None = None
    reason: str | None = None
    error: DatamartError | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the documented object."""
        return {
            "outcome": self.outcome,
            "steps": [{"step": each.kind, "due": each.is_due, "why": each.why} for each in self.steps],
            "before": self.before.as_json(),
            "after": None if self.after is None else self.after.as_json(),
            "files_removed": self.files_removed,
            "engine": None if self.engine is None else self.engine.as_json(),
            "reason": self.reason,
            "error": None if self.error is None else error_json(self.error),
        }
