"""Audits of a staged snapshot as a whole: what they warn of, and what keeps it from being published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from py4j.protocol import Py4JError
from pyspark.sql.utils import CapturedException

from iceberg_datamart.core.quality.audits import CountAudit, first_failures
from iceberg_datamart.core.quality.checks import Findings
from iceberg_datamart.core.source.reads import wire_name
from iceberg_datamart.core.sql import quoted
from iceberg_datamart.errors import AuditError, ConfigError, LakeError
from iceberg_datamart.lake.failures import translated
from iceberg_datamart.lake.types import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import DataFrame, SparkSession

    from iceberg_datamart.core.quality.audits import Audit, RowAudit
    from iceberg_datamart.lake.views import Views

_SHOWN = 3
_NO_TABLE = "NoSuchTableException"


class Auditor:
    """The audits of one commit of one table; `warnings` is what they found that is published all the same.

    Other tables are read as they are at that time; the mirrors of a mart, at the snapshots in `pinned`.
    """

    def __init__(
        self,
        session: SparkSession,
        views: Views,
        table: str,
        audits: Sequence[Audit],
        pinned: Mapping[str, int | None] | None = None,
    ) -> None:
        """Take the audits; nothing is read yet."""
        self.warnings: tuple[str, ...] = ()
        self._session, self._views = session, views
        self._table, self.audits, self._pinned = table, audits, pinned

    def prepare(self) -> None:
        """Raise, before anything is staged, for a statement that Spark cannot plan, or a missing mirror."""
        for audit in self.audits:
            relations = self._relations(audit, self._views.relation(self._table))
            try:
                self._session.sql(_select(audit, relations))
            except CapturedException as error:
                said = translated(self._table, error).message.removeprefix(f"{self._table}: ").rstrip(".;")
                hint = "Correct the audit. Nothing of this table was written."
                raise ConfigError(f"{audit.place}: {said}", hint=hint) from error

    def judge(self, snapshot_id: int) -> None:
        """Audit the staged snapshot. Raises: AuditError, with all that must not be published."""
        findings, own = Findings(), self._views.relation(self._table, snapshot_id)
        for audit in self.audits:
            text = self._finding(audit, own)
            if text is not None:
                findings.add(audit.on_fail, f"audit '{audit.name}': {text}")
        if findings.errors:
            message = f"staged snapshot {snapshot_id} fails {'; '.join(findings.errors)}"
            raise AuditError(message, hint=self._hint(snapshot_id), staged_snapshot_id=snapshot_id)
        self.warnings = tuple(f"table '{self._table}': {text}" for text in findings.warnings)

    def _finding(self, audit: Audit, own: str) -> str | None:
        frame = self._session.sql(_select(audit, self._relations(audit, own)))
        if isinstance(audit, CountAudit):
            return audit.finding(int(frame.collect()[0][0]))
        return _failures(audit, frame)

    def _relations(self, audit: Audit, own: str) -> dict[str, str]:
        return {name: own if name == self._table else self._other(audit, name) for name in audit.tables}

    def _other(self, audit: Audit, table: str) -> str:
        if self._pinned is not None and table in self._pinned:
            return self._views.relation(table, self._pinned[table])
        try:
            return self._views.present(table)
        except (Py4JError, CapturedException) as error:
            if _NO_TABLE not in f"{getattr(error, 'stackTrace', '')}{error}":
                raise translated(table, error) from error
            message = f"{audit.place}: the mirror '{table}' does not exist yet"
            raise LakeError(
                message, hint=f"Nothing of '{self._table}' was written; run both tables."
            ) from error

    def _hint(self, snapshot_id: int) -> str:
        kept = "watermark" if self._pinned is None else "list of consumed snapshots"
        return (
            f"Nothing was published: the table and its {kept} are as they were, and the next run takes up "
            "the same rows again. `history` does not show what was staged; to look at it: SELECT * FROM "
            f"{self._views.relation(self._table)} VERSION AS OF {snapshot_id} in Spark, FOR VERSION AS OF in "
            "Athena. Then mend the rows, or the audit."
        )


def _select(audit: Audit, relations: Mapping[str, str]) -> str:
    return audit.count_sql(relations) if isinstance(audit, CountAudit) else audit.failing_sql(relations)


def _failures(audit: RowAudit, frame: DataFrame) -> str | None:
    """Return what is wrong with the failing rows of a frame, read once; None where there are none."""
    held = frame.persist()
    try:
        count = held.count()
        order = [quoted(name) for name in audit.order]
        few = (held.orderBy(*order) if order else held).limit(_SHOWN)
        # By place: people's own SQL may give two columns one name.
        few = few.toDF(*(wire_name(place) for place in range(len(frame.columns))))
        first = few.selectExpr(*shown(few.dtypes)).collect() if count else []
    finally:
        held.unpersist()
    text = first_failures(zip(frame.columns, row, strict=True) for row in first)
    return audit.finding(count, text) if count else None
