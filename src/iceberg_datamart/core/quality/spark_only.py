"""Which checks and audits only Spark can run as they are meant: people write them in its SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.core.columns import types_of
from iceberg_datamart.core.sql.whitelist import reason_outside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.core.settings.audits import AuditConfig
    from iceberg_datamart.core.settings.checks import CheckConfig


def spark_only(
    where: str, checks: Iterable[CheckConfig], audits: Iterable[AuditConfig], columns: Iterable[Column]
) -> str | None:
    """Return why a table's checks and audits need Spark, with the setting; None where they do not.

    `where` is the path of the table's settings, and `columns` are what its mirror or mart has.
    """
    return next(_reasons(where, checks, audits, columns), None)


def _reasons(
    where: str, checks: Iterable[CheckConfig], audits: Iterable[AuditConfig], columns: Iterable[Column]
) -> Iterator[str]:
    types = types_of(columns)
    for index, check in enumerate(checks):
        if check.type == "expression":
            reason = reason_outside(check.sql or "", types, is_predicate=True)
            if reason is not None:
                yield f"{where}.checks[{index}].sql: {reason}"
    for index, audit in enumerate(audits):
        if audit.type == "sql":
            yield f"{where}.audits[{index}].sql: a SELECT is left to Spark"
