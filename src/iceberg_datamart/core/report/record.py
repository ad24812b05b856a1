"""The record that a run leaves: what was asked for and planned, what became of it, and what it ran on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from iceberg_datamart.core.report.run import FAILED, MERGED
from iceberg_datamart.errors import DatamartError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VERSION = 1
_CHANGES = ("inserted", "updated", "deleted")


@dataclass(frozen=True)
class LastFailure:
    """What the newest record that tells of a table says of its failure."""

    run_id: str
    message: str

    def error(self, table: str) -> DatamartError:
        """Return the failure as an error of who looks at it later."""
        return DatamartError(f"'{table}' failed in the last run, {self.run_id}: {self.message}")


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run, as it is kept.

    `timestamp_file` is that file's name without its folder, `request` what the caller asked for. `plan` is
    the object of `plan --json` as the run began, None where there was no plan; `report` that of `run --json`.
    """

    run_id: str
    started: datetime
    ended: datetime
    timestamp_file: str
    request: Mapping[str, Any]
    versions: Mapping[str, str]
    plan: Mapping[str, Any] | None
    report: Mapping[str, Any]
    exit_code: int

    @property
    def load_type(self) -> str:
        """Return how the tables were asked to be read."""
        return str(self.request["load_type"])

    @property
    def status(self) -> str:
        """Return `succeeded` or `failed`."""
        return str(self.report["status"])

    @property
    def failed(self) -> bool:
        """Return whether the run failed, as a whole or for one table."""
        return self.status == FAILED

    @property
    def seconds(self) -> float:
        """Return how long the run took, from its first step to its last."""
        return (self.ended - self.started).total_seconds()

    @property
    def outcomes(self) -> dict[str, Mapping[str, Any]]:
        """Return what became of each table and mart, as `run --json` says it."""
        return {**self.report["tables"], **self.report["marts"]}

    @property
    def changed(self) -> tuple[str, ...]:
        """Return the tables and marts to which the run committed."""
        return tuple(name for name, each in self.outcomes.items() if each["outcome"] == MERGED)

    @property
    def rows(self) -> int:
        """Return how many rows the run inserted, updated and deleted, in mirrors and marts."""
        return sum(each[change] for each in self.outcomes.values() for change in _CHANGES)

    @property
    def errors(self) -> dict[str | None, Mapping[str, str]]:
        """Return each error by its table or mart; that of the whole run, under None, comes first."""
        found = [(None, self.report), *self.outcomes.items()]
        return {name: each["error"] for name, each in found if each["error"] is not None}

    def as_json(self) -> dict[str, Any]:
        """Return the documented object."""
        times = {"started": self.started.isoformat(), "ended": self.ended.isoformat()}
        return {"version": VERSION, **asdict(self), **times}

    def content(self) -> bytes:
        """Return what a file holds, from which `parse_record` reads the record back; ASCII alone."""
        return json.dumps(self.as_json(), indent=1).encode("ascii") + b"\n"


def failed_last(records: Iterable[RunRecord], tables: Iterable[str]) -> dict[str, LastFailure]:
    """Return the tables and marts that failed in the newest of `records`, newest first, that tells of them.

    An error of a whole run tells of each of `tables` of which the run tells nothing else. No record is asked
    for behind those that tell of all `tables`.
    """
    found: dict[str, LastFailure | None] = {}
    wanted = frozenset(tables)
    for record in records:
        whole = record.errors.get(None)
        asked = (record.request.get("tables") or wanted) if whole is not None else ()
        for name in (*record.outcomes, *asked):
            error = record.errors.get(name) or (whole if name not in record.outcomes else None)
            told = None if error is None else LastFailure(record.run_id, error["message"])
            found.setdefault(name, told)
        if wanted <= found.keys():
            break
    return {name: failure for name, failure in found.items() if failure is not None}


def file_name(location: str) -> str:
    """Return the name of a file without its folder, of a path as of an address."""
    return location.rpartition("/")[2]


def parse_record(content: bytes) -> RunRecord | None:
    """Return the record that a file holds; None for one that makes no sense, or is of a later version."""
    try:
        found = json.loads(content)
        if found.pop("version") != VERSION:
            return None
        times = {name: datetime.fromisoformat(found[name]) for name in ("started", "ended")}
        record = RunRecord(**{field.name: {**found, **times}[field.name] for field in fields(RunRecord)})
        _look_at(record)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return record


def _look_at(record: RunRecord) -> None:
    """Raise where something of the record cannot be told: what is wrong with a file shows at once, then."""
    for name in ("load_type", "status", "seconds", "changed", "rows", "errors"):
        getattr(record, name)
    if not isinstance(record.run_id, str) or record.started.tzinfo is None or record.ended.tzinfo is None:
        raise ValueError(record.run_id)
