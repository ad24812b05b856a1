"""What is aimed at on size M, and whether it was met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import deltas
from bench.contestants import BY_HAND, BY_HAND_ON_SPARK, OURS_IN_PROCESS, OURS_ON_SPARK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bench.measure import Measured

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Target:
    """The most that a contestant may use: a part of another's seconds, or its peak memory in bytes."""

    operation: str
    job: str
    most: float
    other: str | None = None

    @property
    def subject(self) -> str:
        """Return what is compared."""
        return f"{self.job} ÷ {self.other}" if self.other else f"{self.job}, peak memory"

    @property
    def limit(self) -> str:
        """Return the most, with its unit."""
        return f"<= {self.most}" if self.other else f"<= {self.most / MEGABYTE:,.0f} MB"

    def value(self, measured: Measured) -> float | None:
        """Return what was measured; None where a contestant is missing."""
        if self.other:
            return measured.ratio(self.job, self.other)
        return measured.median(self.job, "peak_bytes")

    def shown(self, value: float) -> str:
        """Return a measured value with its unit."""
        return f"{value:.2f}" if self.other else f"{value / MEGABYTE:,.0f} MB"


@dataclass(frozen=True)
class Verdict:
    """A target and what was measured of it."""

    target: Target
    value: float

    @property
    def met(self) -> bool:
        """Say whether the target was met."""
        return self.value <= self.target.most


_SMALL = (deltas.CLUSTERED_1K, deltas.SCATTERED_1K)
_MIDDLE = (deltas.CLUSTERED_10K, deltas.SCATTERED_10K)
TARGETS = (
    Target(str(deltas.QUIET), OURS_IN_PROCESS, 0.25, BY_HAND),
    Target(str(deltas.TEN_ACCOUNTS), OURS_IN_PROCESS, 0.4, BY_HAND),
    *(Target(str(each), OURS_IN_PROCESS, 0.5, BY_HAND) for each in (*_SMALL, *_MIDDLE)),
    Target(str(deltas.FULL_LOAD), OURS_IN_PROCESS, 1.0, BY_HAND),
    *(Target(str(each), OURS_IN_PROCESS, 0.15, OURS_ON_SPARK) for each in _SMALL),
    Target(str(deltas.QUIET), OURS_ON_SPARK, 0.3, BY_HAND_ON_SPARK),
    Target(str(deltas.CLUSTERED_1K), OURS_ON_SPARK, 0.5, BY_HAND_ON_SPARK),
    *(Target(str(each), OURS_IN_PROCESS, 400 * MEGABYTE) for each in _MIDDLE),
    Target(str(deltas.FULL_LOAD), OURS_IN_PROCESS, 1_200 * MEGABYTE),
)


def verdicts(measured: Iterable[Measured], targets: Iterable[Target] = TARGETS) -> list[Verdict]:
    """Return a verdict on each target of which both sides were measured."""
    by_name: Mapping[str, Measured] = {each.operation: each for each in measured}
    judged = []
    for target in targets:
        value = target.value(by_name[target.operation]) if target.operation in by_name else None
        if value is not None:
            judged.append(Verdict(target, value))
    return judged
