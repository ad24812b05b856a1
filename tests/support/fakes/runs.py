"""Runs over fakes: two tables with rows that changed a minute ago, and their mart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.fakes.ports import MINUTE, NOON, FakeSource, FakeWorld, SourceRows, configured, mart, table

if TYPE_CHECKING:
    from iceberg_datamart.core.report.run import RunReport


def rows(*keys: int) -> SourceRows:
    return {key: (f"v{key}", NOON - MINUTE) for key in keys}


def world(**blocks: Any) -> FakeWorld:
    """Return two tables, their mart, and a source of both."""
    config = configured("account", "queue", **{"marts": {"m": mart("account", "queue")}, **blocks})
    return FakeWorld(config, FakeSource({name: rows(1, 2) for name in ("account", "queue", "risk")}))


def outcomes(report: RunReport) -> dict[str, str]:
    return {name: outcome.outcome for name, outcome in {**report.tables, **report.marts}.items()}


def two_sources() -> tuple[FakeWorld, FakeSource]:
    """Return a world whose table `risk` has a source of its own, and that source."""
    url = "postgresql://reader@db/prd"
    found = world(
        sources={name: {"type": "postgres", "url": url} for name in ("prd", "other")},
        tables={"account": table("account"), "risk": {**table("risk"), "source": "other"}},
        marts={},
    )
    other = FakeSource(found.source.tables, reads=found.source.reads)
    found.source.others["other"] = other
    return found, other


def foreign_commit(found: FakeWorld, name: str) -> None:
    """Commit as another tool does: no state, no run."""
    found.lake.commit(name, {}, {})
