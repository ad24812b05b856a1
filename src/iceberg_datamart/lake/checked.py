"""Checks of a held changeset before its commit: what they reject, warn of, and forbid."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as f

from iceberg_datamart.core.quality.checks import (
    REJECT,
    REJECTED,
    ROWS,
    Findings,
    duplicates_sql,
    failing_sql,
    finding,
    tally_sql,
    verdicts_sql,
)
from iceberg_datamart.core.source.reads import MOST_REJECTED, MOST_REJECTED_TEXT, RejectedRow
from iceberg_datamart.core.sql import CHANGE, DELETE, INSERT, OTHER, ROW, matching, quoted
from iceberg_datamart.errors import CheckError
from iceberg_datamart.lake.failures import translating
from iceberg_datamart.lake.types import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, SparkSession

    from iceberg_datamart.core.quality.checks import Checks, UniqueCheck
    from iceberg_datamart.lake.changes import Changeset
    from iceberg_datamart.lake.views import Views

_SHOWN = 3


@dataclass(frozen=True)
class Passed:
    """What is left of a changeset, the rows that were rejected, and what warnings say."""

    changes: Changeset
    rejected: Sequence[RejectedRow] = ()
    warnings: tuple[str, ...] = ()


def checked(session: SparkSession, changes: Changeset, checks: Checks, views: Views, held: int) -> Passed:
    """Return what checks leave of a changeset to a table of `held` rows.

    Rows are rejected first; the other checks see what would be committed. Raises: CheckError.
    """
    inspection = _Inspection(session, changes, checks, views)
    with translating(session, changes.table):
        if checks.look_at_rows and changes.rows:
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
        hint = "Nothing of this table was committed. Mend the rows, or the check."
        raise CheckError("; ".join(inspection.findings.errors), hint=hint)
    warnings = tuple(f"table '{changes.table}': {text}" for text in inspection.findings.warnings)
    return Passed(kept, inspection.rejected, warnings)


class _Inspection:
    """The checks of one changeset; `changes` shrinks by what is rejected."""

    def __init__(self, session: SparkSession, changes: Changeset, checks: Checks, views: Views) -> None:
        self.changes, self.findings = changes, Findings()
        self.rejected: list[RejectedRow] = []
        self._session, self._checks, self._views = session, checks, views
        self._key = [column.name for column in changes.key]

    def inspect(self) -> None:
        if self._checks.rows:
            self._judge_rows()
        self._inspect()
        frame = self.changes.frame.drop(*self._checks.verdicts)
        self.changes = replace(self.changes, frame=frame)

    def _judge_rows(self) -> None:
        """Compute each verdict once for each row, for good: an expression may say something else each time.

        What is rejected and what is kept are two statements, and a lost executor has rows computed again.
        """
        judged = self._session.sql(verdicts_sql(self._view(), self._checks)).localCheckpoint()
        self.changes.release()
        self.changes = replace(self.changes, frame=judged)
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
            rows = None if check.on_fail == REJECT else self._duplicates(check)
            if rows is not None and (number := rows.count()):
                self.findings.add(check.on_fail, finding(check.name, number, self._first(rows)))

    def _tally(self) -> tuple[dict[bool, dict[str, int]], dict[int, int]]:
        """Return the rows by rejection and change, and how many of those not rejected fail each check."""
        counts: dict[bool, dict[str, int]] = defaultdict(dict)
        failing: dict[int, int] = defaultdict(int)
        for row in self._session.sql(tally_sql(self._view(), self._checks)).collect():
            counts[row[REJECTED]][row[CHANGE]] = row[ROWS]
            for index in range(len(self._checks.rows)):
                failing[index] += 0 if row[REJECTED] else row[3 + index]
        return counts, failing

    def _reject_rows(self) -> dict[int, int]:
        """Reject by checks of single rows; return how many of the others fail each check."""
        counts, failing = self._tally()
        if counts[True]:
            found = {check.fails: check.name for check in self._checks.rows if check.on_fail == REJECT}
            said = (f.when(f.expr(fails), f.lit(_said(name))) for fails, name in found.items())
            rows = self._session.sql(failing_sql(self._view(), self._checks.rejects))
            self._reject(rows, f.concat_ws("; ", *said))
            kept = self.changes.frame.where(f"{CHANGE} = '{DELETE}' OR NOT {self._checks.rejects}")
            self.changes = replace(self.changes, frame=kept, counts=counts[False])
        return failing

    def _reject_duplicates(self, check: UniqueCheck) -> bool:
        """Reject the rows that are not unique; return whether there were any."""
        # Without the plan that led to it: the next statement reads it three times, and so on.
        found = self._duplicates(check).localCheckpoint()
        if found.isEmpty():
            return False
        duplicates, changes = self._views.add(found), self._view()
        same = matching(self._key, OTHER, ROW, null_safe=True)
        present = f"SELECT 1 FROM {duplicates} AS {OTHER} WHERE {same}"
        twice = f"({ROW}.{CHANGE} <> '{DELETE}' AND EXISTS ({present}))"
        self._reject(
            self._session.sql(f"SELECT * FROM {changes} AS {ROW} WHERE {twice}"), f.lit(_said(check.name))
        )
        kept = self._session.sql(f"SELECT * FROM {changes} AS {ROW} WHERE NOT {twice}")
        counts = {row[0]: row[1] for row in kept.groupBy(CHANGE).count().collect()}
        self.changes = replace(self.changes, frame=kept, counts=counts)
        return True

    def _find_rows(self, failing: dict[int, int]) -> None:
        for index, check in enumerate(self._checks.rows):
            if check.on_fail != REJECT and failing.get(index):
                rows = self._session.sql(failing_sql(self._view(), check.fails))
                text = finding(check.name, failing[index], self._first(rows))
                self.findings.add(check.on_fail, text)

    def _duplicates(self, check: UniqueCheck) -> DataFrame:
        base = self.changes.base
        mirror = None if base is None else self._views.relation(self.changes.table, base)
        text = duplicates_sql(self._view(), mirror, self._key, check)
        return self._session.sql(text)

    def _reject(self, rows: DataFrame, reason: Any) -> None:
        values = f.struct(*(f.col(quoted(name)) for name in self.changes.columns))
        row = f.to_json(values, {"ignoreNullFields": "false"})
        rejected = rows.select(reason, row).toDF("reason", "row").limit(MOST_REJECTED + 1)
        length = rejected.selectExpr("sum(length(row))").collect()[0][0] or 0
        if length > MOST_REJECTED_TEXT:
            message = (
                f"rows of {length // 1024**2} MB of JSON would be rejected, which is more than memory has"
            )
            raise CheckError(message, hint="Mend the rows or the check. Nothing of this table was committed.")
        found = rejected.collect()
        self.rejected += [RejectedRow(*each) for each in found]
        if len(self.rejected) > MOST_REJECTED:
            message = f"more than {MOST_REJECTED} rows would be rejected: {self.rejected[0].reason}"
            raise CheckError(message, hint="Mend the rows or the check. Nothing of this table was committed.")

    def _first(self, rows: DataFrame) -> list[dict[str, Any]]:
        names = [quoted(name) for name in self._key]
        first = rows.select(*names).orderBy(*names).limit(_SHOWN)
        return [row.asDict() for row in first.selectExpr(*shown(first.dtypes)).collect()]

    def _view(self) -> str:
        return self._views.add(self.changes.frame)


def _said(name: str) -> str:
    return f"check '{name}'"
