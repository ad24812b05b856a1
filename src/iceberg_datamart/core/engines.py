"""Which engine works on a table or a mart, and why: decided from facts, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from iceberg_datamart.errors import MissingPartError, NeedsSparkError

if TYPE_CHECKING:
    from collections.abc import Iterable

AUTO, SPARK, IN_PROCESS = "auto", "spark", "in_process"
_INSTALL = {SPARK: "pip install 'iceberg-datamart[local]'", IN_PROCESS: "pip install iceberg-datamart"}


@dataclass(frozen=True)
class Engines:
    """Which engine is asked for, and which this process can start."""

    asked: str = AUTO
    installed: frozenset[str] = field(default_factory=lambda: frozenset({SPARK, IN_PROCESS}))


@dataclass(frozen=True)
class EngineChoice:
    """The engine of one step, and why. Where `yields`, Spark takes over what turns out to need it."""

    name: str
    reason: str
    yields: bool = False

    def as_json(self) -> dict[str, str]:
        """Return the documented object."""
        return {"name": self.name, "reason": self.reason}


def engine_of(engines: Engines, obstacles: Iterable[str]) -> EngineChoice:
    """Return the engine of a step; each of `obstacles` is a reason why it needs Spark.

    Raises: MissingPartError where the engine that it takes is not installed; NeedsSparkError.
    """
    if engines.asked == SPARK:
        return _installed(engines, SPARK, "the settings ask for it")
    obstacle = next(iter(obstacles), None)
    if engines.asked == IN_PROCESS:
        if obstacle is not None:
            raise NeedsSparkError(f"this needs Spark: {obstacle}")
        return _installed(engines, IN_PROCESS, "the settings ask for it")
    if obstacle is not None:
        return _installed(engines, SPARK, obstacle)
    if IN_PROCESS not in engines.installed:
        return _installed(engines, SPARK, "DuckDB is not installed")
    return EngineChoice(IN_PROCESS, "nothing of it needs Spark", yields=SPARK in engines.installed)


def _installed(engines: Engines, name: str, reason: str) -> EngineChoice:
    if name not in engines.installed:
        what = "Spark" if name == SPARK else "DuckDB"
        raise MissingPartError(f"{what} is needed, and not installed: {reason}", hint=_INSTALL[name])
    return EngineChoice(name, reason)
