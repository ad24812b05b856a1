"""What the log says of tables and marts while they are merged."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from iceberg_datamart.core.report.run import Outcome
    from iceberg_datamart.errors import DatamartError

log = logging.getLogger(__name__)


def tell_together(failed: Iterable[tuple[Hashable, str, DatamartError]]) -> None:
    """Log one line for all tables that failed for the same cause: the first of the three."""
    causes: dict[Hashable, tuple[list[str], DatamartError]] = {}
    for cause, name, error in failed:
        causes.setdefault(cause, ([], error))[0].append(name)
    for names, error in causes.values():
        _tell_failed(names, error)


def told(name: str, outcome: Outcome) -> Outcome:
    """Return the outcome, once the log says it."""
    if outcome.error is not None:
        _tell_failed([name], outcome.error)
    elif outcome.reason is not None:
        log.warning("'%s' %s: %s", name, outcome.outcome, outcome.reason)
    else:
        log.info(
            "'%s' %s: %d read, %d inserted, %d updated, %d deleted in %.1f s",
            *(name, outcome.outcome, outcome.rows_read),
            *(outcome.inserted, outcome.updated, outcome.deleted, outcome.seconds),
        )
    return outcome


def _tell_failed(names: Iterable[str], error: DatamartError) -> None:
    end = "" if error.message.endswith((".", "?", "!")) else "."
    hint = f"{end} {error.hint}" if error.hint else ""
    log.error("%s failed: %s%s", ", ".join(f"'{name}'" for name in names), error.message, hint)
