"""Settings that work, for tests that change some of them."""

from __future__ import annotations

from typing import Any


def working(**changes: Any) -> dict[str, Any]:
    """Return settings of one source and no table, with some blocks replaced or added."""
    settings = {
        "version": 1,
        "catalog": {"type": "sql", "uri": "sqlite:///catalog.db", "warehouse": "file:///lake"},
        "database": "datamart",
        "state": {"timestamp_file": "last.csv"},
        "sources": {"prd": {"type": "postgres", "url": "postgresql://reader@db/prd"}},
    }
    return {**settings, **changes}
