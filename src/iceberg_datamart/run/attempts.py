"""One step's attempts: again from fresh state after a conflict (R12), and an error is an outcome (R9)."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from iceberg_datamart.core.report.run import FAILED, Outcome
from iceberg_datamart.errors import CatalogUnreachableError, CommitConflictError
from iceberg_datamart.run.gathering import deliberate
from iceberg_datamart.underway.stopping import wait_if_stopping

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)
T = TypeVar("T")
_ATTEMPTS = 4


def timed(name: str, work: Callable[[], Outcome]) -> Outcome:
    """Return the outcome of `work` with its seconds; an error is an outcome, too (R9)."""
    started = time.monotonic()
    wait_if_stopping()
    try:
        outcome = work()
    except Exception as error:  # noqa: BLE001  (of one table alone, R9)
        outcome = Outcome(FAILED, error=deliberate(name, error))
    return replace(outcome, seconds=time.monotonic() - started)


def retried(attempt: Callable[[], T]) -> T:
    """Return what `attempt` returns, tried again where another writer committed first (R12).

    So, too, where the catalog was lost for a moment: fresh state says what was committed before.
    """
    conflicts = Retrying(
        retry=retry_if_exception_type((CommitConflictError, CatalogUnreachableError)),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        before_sleep=_say_again,
        reraise=True,
    )
    return conflicts(attempt)


def _say_again(state: RetryCallState) -> None:
    error = None if state.outcome is None else state.outcome.exception()
    log.warning("%s; starting again from fresh state", error)
