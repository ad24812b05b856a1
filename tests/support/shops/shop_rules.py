"""The shop while rules are tried on it: a change, two runs at once, a table of measures."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from iceberg_datamart.app.assemble import new_run
from iceberg_datamart.app.settings_file import load_config
from iceberg_datamart.core.plan.facts import RunRequest
from iceberg_datamart.lake.iceberg import IcebergLake
from support.oracles.oracle import Mirrored, Oracle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import psycopg
    import pytest

    from iceberg_datamart.core.report.run import RunReport
    from iceberg_datamart.ports import MartMaintenance, Merged
    from support.worlds.laptop import Laptop

    Connection = psycopg.Connection[Any]


UNCHANGED = {"unchanged"}


def rename(connection: Connection, name: str, ids: str = "customer_id <= 3") -> None:
    connection.execute(
        f"update public.customer set name = '{name}', updated_at = clock_timestamp() where {ids}"
    )


def outcomes(report: dict[str, Any]) -> set[str]:
    return {part["outcome"] for part in (*report["tables"].values(), *report["marts"].values())}


def changed_mirrors(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str] | None]:
    """Return a list to which each mart adds, when it is maintained, its mirrors that changed.

    It adds None where it is compared whole.
    """
    found: list[Sequence[str] | None] = []
    maintain = IcebergLake.maintain

    def noted(lake: IcebergLake, maintenance: MartMaintenance) -> Merged:
        found.append(maintenance.changed)
        return maintain(lake, maintenance)

    monkeypatch.setattr(IcebergLake, "maintain", noted)
    return found


@contextmanager
def prepared(laptop: Laptop, request: RunRequest | None = None) -> Iterator[Callable[[], RunReport]]:
    """Yield what executes a run that has read its facts, and taken its consistent point, already."""
    with new_run(load_config(laptop.file, os.environ), request or RunRequest()) as run:
        ready = run.prepare()
        yield lambda: run.execute(ready)


# R1


def measures(laptop: Laptop, connection: Connection, **settings: Any) -> Oracle:
    """Make a table of an unbounded numeric and no declared key, and its settings."""
    connection.execute("create table measure (id int, amount numeric, day date, at timestamptz)")
    table = {"from": "public.measure", "cursor": "at", "primary_key": ["id"], **settings}
    laptop.configure({"measure": table}, {})
    select = "select id, amount, day, at from measure"
    found = Oracle(connection, "public", {"measure": Mirrored("measure", ("id",), select)}, {})
    found.prepare()
    return found
