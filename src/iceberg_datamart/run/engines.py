"""One step's work on its engine; on Spark, where the engine in process finds what it must leave to it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from iceberg_datamart.core.engines import SPARK, EngineChoice
from iceberg_datamart.errors import DatamartError, NeedsSparkError

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from iceberg_datamart.core.report.run import Outcome
    from iceberg_datamart.ports import Lake

log = logging.getLogger(__name__)
T = TypeVar("T")


class OnEngine(Protocol):
    """What one engine or another works on."""

    def using(self, engine: str) -> Self:
        """Return the same, worked on by one engine from here on."""


L = TypeVar("L", bound=OnEngine)


def on_engine(
    name: str, lake: L, choice: EngineChoice | DatamartError, work: Callable[[L], T]
) -> tuple[T, EngineChoice]:
    """Return what `work` did, and the engine that did it, which has written nothing where it gave up.

    Raises: the error that stands in place of a choice, and what `work` raises.
    """
    if isinstance(choice, DatamartError):
        raise choice
    try:
        return work(lake.using(choice.name)), choice
    except NeedsSparkError as error:
        if not choice.yields:
            raise
        log.info("'%s' goes to Spark: %s", name, error)
        other = EngineChoice(SPARK, error.message)
        return work(lake.using(other.name)), other


def outcome_on_engine(
    name: str, lake: Lake, choice: EngineChoice | DatamartError, work: Callable[[Lake], Outcome]
) -> Outcome:
    """Return the outcome of `work` with the engine that did it. Raises: as `on_engine`."""
    outcome, done_by = on_engine(name, lake, choice, work)
    return replace(outcome, engine=done_by)
