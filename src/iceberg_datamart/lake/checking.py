"""Checks of a held changeset before its commit: what they reject, warn of, and forbid."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from iceberg_datamart.core.quality.checks import (
    JSON,
    REJECT,
    Findings,
    duplicates_sql,
    failing_sql,
    finding,
    of_rejected_sql,
    passing_sql,
    rejected_sql,
    sharing_sql,
    tally_sql,
    verdicts_sql,
)
from iceberg_datamart.core.report.progress import CHECKING
from iceberg_datamart.core.source.reads import MOST_REJECTED, MOST_REJECTED_TEXT, RejectedRow
from iceberg_datamart.core.sql.changeset import shown
from iceberg_datamart.core.sql.dialect import listed
from iceberg_datamart.core.sql.reserved import CHANGE, DELETE, INSERT
from iceberg_datamart.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iceberg_datamart.core.quality.checks import Checks, UniqueCheck
    from iceberg_datamart.lake.changeset import Changeset
    from iceberg_datamart.lake.engine import Engine

_SHOWN = 3
_NOTHING_COMMITTED = "Nothing of this table was committed."


@dataclass(frozen=True)
class Passed:
    """What is left of a changeset, the rows that were rejected, and what warnings say."""

    changes: Changeset
    rejected: Sequence[RejectedRow] = ()
    warnings: tuple[str, ...] = ()


def checked(engine: Engine, changes: Changeset, checks: Checks, held: int) -> Passed:
    """Return what checks leave of a changeset to a table of `held` rows.

    Rows are rejected first; the other checks see what would be committed. Raises: CheckError.
    """
    inspection = _Inspection(engine, changes, checks)
    with engine.at_work(changes.table):
        if checks.look_at_rows and changes.rows:
            engine.board.tell(changes.table, CHECKING)
            inspection.inspect()
    kept = inspection.changes
    if changes.deletes:
        # No check looks at deletes, of which one may take several rows of the table.
        kept = replace(kept, counts={**kept.counts, DELETE: changes.deletes})
    after = held + kept.counts.get(INSERT, 0) - kept.deletes
    for check in checks.counts:
        text = check.finding(held, after)
        if text is not None:
            inspection.findings.add(check.on_fail, text)
    if inspection.findings.errors:
        hint = f"{_NOTHING_COMMITTED} Correct the rows, or the check."
        raise CheckError("; ".join(inspection.findings.errors), hint=hint)
    warnings = tuple(f"table '{changes.table}': {text}" for text in inspection.findings.warnings)
    return Passed(kept, inspection.rejected, warnings)


class _Inspection:
    """The checks of one changeset; `changes` shrinks by what is rejected."""

    def __init__(self, engine: Engine, changes: Changeset, checks: Checks) -> None:
        self.changes, self.findings = changes, Findings()
        self.rejected: list[RejectedRow] = []
        self._engine, self._dialect, self._checks = engine, engine.dialect, checks
        self._key = [column.name for column in changes.target.key]

    def inspect(self) -> None:
        if self._checks.rows:
            self._judge_rows()
        self._inspect()

    def _judge_rows(self) -> None:
        """Compute each verdict once for each row, for good: an expression may say something else each time.

        What is rejected and what is kept are two statements, and an engine may lose rows that it holds and
        compute them again.
        """
        judged = self._engine.settle(verdicts_sql(self._dialect, self.changes.relation, self._checks))
        self.changes.release(self._engine)
        self.changes = replace(self.changes, relation=judged)
        self._checks = self._checks.judged

    def _inspect(self) -> None:
        failing = self._reject_rows() if self._checks.rows else {}
        rejecting = [check for check in self._checks.unique if check.on_fail == REJECT]
        count = len(self.rejected)
        while any(self._reject_duplicates(check) for check in rejecting):
            # A row that keeps its old values may now share them with a row that passed before.
            continue
        if len(self.rejected) > count and self._checks.rows:
            failing = self._tally()[1]
        self._find_rows(failing)
        for check in self._checks.unique:
            if check.on_fail != REJECT:
                self._find(check.name, check.on_fail, self._duplicates(check))

    def _tally(self) -> tuple[dict[bool, dict[str, int]], dict[int, int]]:
        """Return the rows by rejection and change, and how many of those not rejected fail each check."""
        counts: dict[bool, dict[str, int]] = defaultdict(dict)
        failing: dict[int, int] = defaultdict(int)
        tally = self._engine.fetch(tally_sql(self._dialect, self.changes.relation, self._checks))
        for change, rejected, rows, *failures in tally:
            counts[rejected][change] = rows
            for index, number in enumerate(failures):
                failing[index] += 0 if rejected else number
        return counts, failing

    def _reject_rows(self) -> dict[int, int]:
        """Reject by checks of single rows; return how many of the others fail each check."""
        counts, failing = self._tally()
        if counts[True]:
            relation, columns = self.changes.relation, self.changes.target.columns
            self._reject(of_rejected_sql(self._dialect, relation, self._checks, columns))
            kept = self._engine.define(passing_sql(self._dialect, relation, self._checks))
            self.changes = replace(self.changes, relation=kept, counts=counts[False])
        return failing

    def _reject_duplicates(self, check: UniqueCheck) -> bool:
        """Reject the rows that are not unique; return whether there were any."""
        # Computed once: the next statement reads them three times, and so on.
        duplicates = self._engine.settle(self._duplicates(check))
        if not self._engine.fetch(f"SELECT 1 FROM {duplicates} LIMIT 1"):
            return False
        changes, columns = self.changes.relation, self.changes.target.columns
        sharing = f"({sharing_sql(self._dialect, changes, duplicates, self._key)})"
        self._reject(rejected_sql(self._dialect, sharing, columns, check.name))
        kept = self._engine.define(sharing_sql(self._dialect, changes, duplicates, self._key, others=True))
        counts = self._engine.fetch(f"SELECT {CHANGE}, count(*) FROM {kept} GROUP BY {CHANGE}")
        self.changes = replace(self.changes, relation=kept, counts=dict(counts))
        return True

    def _find_rows(self, failing: dict[int, int]) -> None:
        for index, check in enumerate(self._checks.rows):
            if check.on_fail != REJECT and failing.get(index):
                rows = failing_sql(self.changes.relation, check.fails(self._dialect))
                text = finding(check.name, failing[index], self._first(rows))
                self.findings.add(check.on_fail, text)

    def _find(self, name: str, on_fail: str, rows: str) -> None:
        number = int(self._engine.fetch(f"SELECT count(*) FROM ({rows})")[0][0])
        if number:
            self.findings.add(on_fail, finding(name, number, self._first(rows)))

    def _duplicates(self, check: UniqueCheck) -> str:
        base, table = self.changes.target.base, self.changes.table
        mirror = None if base is None else self._engine.table(table, base)
        return duplicates_sql(self._dialect, self.changes.relation, mirror, self._key, check)

    def _reject(self, rows: str) -> None:
        limited = f"{rows} LIMIT {MOST_REJECTED + 1}"
        length = self._engine.fetch(f"SELECT sum(length({JSON})) FROM ({limited})")[0][0] or 0
        if length > MOST_REJECTED_TEXT:
            message = (
                f"rows of {length // 1024**2} MB of JSON would be rejected, which is more than memory has"
            )
            raise CheckError(message, hint=f"Correct the rows or the check. {_NOTHING_COMMITTED}")
        self.rejected += [RejectedRow(*each) for each in self._engine.fetch(limited)]
        if len(self.rejected) > MOST_REJECTED:
            message = f"more than {MOST_REJECTED} rows would be rejected: {self.rejected[0].reason}"
            raise CheckError(message, hint=f"Correct the rows or the check. {_NOTHING_COMMITTED}")

    def _first(self, rows: str) -> list[dict[str, Any]]:
        names = listed(self._dialect, self._key)
        first = f"SELECT {names} FROM ({rows}) ORDER BY {names} LIMIT {_SHOWN}"
        values = self._engine.fetch(f"SELECT {shown(self._dialect, self.changes.target.key)} FROM ({first})")
        return [dict(zip(self._key, row, strict=True)) for row in values]
