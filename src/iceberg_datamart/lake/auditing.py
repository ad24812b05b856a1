"""Audits of a staged snapshot as a whole: what they warn of, and what keeps it from being published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.quality.audits import CountAudit, first_failures
from iceberg_datamart.core.quality.checks import Findings
from iceberg_datamart.core.report.progress import CHECKING
from iceberg_datamart.core.source.reads import wire_name
from iceberg_datamart.core.sql.changeset import shown
from iceberg_datamart.core.sql.reserved import ROW
from iceberg_datamart.errors import AuditError, ConfigError, LakeError, NeedsSparkError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from iceberg_datamart.core.quality.audits import Audit, RowAudit
    from iceberg_datamart.lake.engine import Engine

_SHOWN = 3


class Auditor:
    """The audits of one commit of one table; `warnings` is what they found that is published all the same.

    Other tables are read as they are at that time; the mirrors of a mart, at the snapshots in `pinned`.
    """

    def __init__(
        self,
        engine: Engine,
        table: str,
        audits: Sequence[Audit],
        pinned: Mapping[str, int | None] | None = None,
    ) -> None:
        """Take the audits; nothing is read yet."""
        self.warnings: tuple[str, ...] = ()
        self._engine, self._table, self.audits, self._pinned = engine, table, audits, pinned

    def prepare(self) -> None:
        """Raise, before anything is staged, for a statement that cannot be planned, or a missing mirror."""
        for audit in self.audits:
            relations = self._relations(audit, self._engine.table(self._table))
            try:
                with self._engine.at_work(self._table):
                    self._engine.columns(self._select(audit, relations))
            except LakeError as error:
                if error.retryable or isinstance(error, NeedsSparkError):
                    raise
                said = error.message.removeprefix(f"{self._table}: ").rstrip(".;")
                hint = "Correct the audit. Nothing of this table was written."
                raise ConfigError(f"{audit.place}: {said}", hint=hint) from error

    def judge(self, snapshot_id: int) -> None:
        """Audit the staged snapshot. Raises: AuditError, with all that must not be published."""
        self._engine.board.tell(self._table, CHECKING)
        findings, own = Findings(), self._engine.table(self._table, snapshot_id)
        for audit in self.audits:
            text = self._finding(audit, own)
            if text is not None:
                findings.add(audit.on_fail, f"audit '{audit.name}': {text}")
        if findings.errors:
            message = f"staged snapshot {snapshot_id} fails {'; '.join(findings.errors)}"
            raise AuditError(message, hint=self._hint(snapshot_id), staged_snapshot_id=snapshot_id)
        self.warnings = tuple(f"table '{self._table}': {text}" for text in findings.warnings)

    def _select(self, audit: Audit, relations: Mapping[str, str]) -> str:
        if isinstance(audit, CountAudit):
            return audit.count_sql(relations)
        return audit.failing_sql(self._engine.dialect, relations)

    def _finding(self, audit: Audit, own: str) -> str | None:
        select = self._select(audit, self._relations(audit, own))
        if isinstance(audit, CountAudit):
            return audit.finding(int(self._engine.fetch(select)[0][0]))
        return self._failures(audit, select)

    def _failures(self, audit: RowAudit, select: str) -> str | None:
        """Return what is wrong with the failing rows, read once; None where there are none."""
        columns = self._engine.columns(select)
        # By place: people's own SQL may give two columns one name.
        places = [Column(wire_name(place), column.type) for place, column in enumerate(columns)]
        names = [column.name for column in columns]
        order = [places[names.index(name)].name for name in audit.order]
        held = self._engine.hold(f"SELECT * FROM ({select}) AS {ROW}({', '.join(p.name for p in places)})")
        try:
            count = int(self._engine.fetch(f"SELECT count(*) FROM {held}")[0][0])
            by = f" ORDER BY {', '.join(order)}" if order else ""
            few = f"SELECT * FROM {held}{by} LIMIT {_SHOWN}"
            first = (
                self._engine.fetch(f"SELECT {shown(self._engine.dialect, places)} FROM ({few})")
                if count
                else []
            )
        finally:
            self._engine.give_up(held)
        text = first_failures(zip(names, row, strict=True) for row in first)
        return audit.finding(count, text) if count else None

    def _relations(self, audit: Audit, own: str) -> dict[str, str]:
        return {name: own if name == self._table else self._other(audit, name) for name in audit.tables}

    def _other(self, audit: Audit, table: str) -> str:
        if self._pinned is not None and table in self._pinned:
            return self._engine.table(table, self._pinned[table])
        with self._engine.at_work(table):
            present = self._engine.present(table)
        if present is not None:
            return present
        message = f"{audit.place}: the mirror '{table}' does not exist yet"
        raise LakeError(message, hint=f"Nothing of '{self._table}' was written; run both tables.")

    def _hint(self, snapshot_id: int) -> str:
        kept = "watermark" if self._pinned is None else "list of consumed snapshots"
        return (
            f"Nothing was published: the table and its {kept} are as they were, and the next run takes up "
            "the same rows again. `history` does not show what was staged; to look at it: SELECT * FROM "
            f"{self._engine.spelled(self._table)} VERSION AS OF {snapshot_id} in Spark, FOR VERSION AS OF in "
            "Athena. Then correct the rows, or the audit."
        )
