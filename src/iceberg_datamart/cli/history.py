"""`history`: the snapshots of mirrors and marts, and what each run did in them; needs no JVM."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from iceberg_datamart.cli.options import ConfigOption, JsonOption, loaded
from iceberg_datamart.cli.output import console, exit_on, print_json, rows_table, short
from iceberg_datamart.errors import ConfigError
from iceberg_datamart.lake.catalog import LakeCatalog
from iceberg_datamart.receipt import Snapshot, mart_state, mirror_state
from iceberg_datamart.report import error_json


def history(
    table: Annotated[str | None, typer.Argument(help="A mirror or mart. Default: all of them.")] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show the snapshots of each table, newest first."""
    settings = loaded(config)
    names = [*settings.tables, *settings.marts]
    if table is not None and table not in names:
        raise ConfigError(f"there is no table or mart '{table}'", hint=f"Known: {', '.join(names)}.")
    catalog = LakeCatalog(settings.catalog, settings.database)
    histories, failures = catalog.surveyed(name for name in names if table in (None, name))
    shown = {
        name: [] if found is None else [as_json(snapshot) for snapshot in found.snapshots]
        for name, found in histories.items()
    }
    if json:
        print_json({"tables": shown, "errors": {name: error_json(e) for name, e in failures.items()}})
    else:
        _print(shown)
    exit_on(failures.values())


def _print(shown: dict[str, list[dict[str, Any]]]) -> None:
    columns = ("snapshot_id", "committed_at", "load_type", "inserted", "updated", "deleted")
    for name, rows in shown.items():
        console().print(
            f"\n{name}",
            rows_table(columns, ({**row, "committed_at": short(row["committed_at"])} for row in rows)),
            sep="\n",
        )


def as_json(snapshot: Snapshot) -> dict[str, Any]:
    """Return one snapshot as the documented object."""
    mirror, mart = mirror_state(snapshot.summary), mart_state(snapshot.summary)
    watermark = None if mirror is None or mirror.watermark is None else str(mirror.watermark)
    return {
        "snapshot_id": snapshot.snapshot_id,
        "parent_id": snapshot.parent_id,
        "committed_at": snapshot.committed_at.isoformat(timespec="milliseconds"),
        "operation": snapshot.operation,
        "run_id": snapshot.run_id,
        "load_type": mirror.load_type if mirror else "mart" if mart else None,
        "watermark": watermark,
        "complete_through": mirror.complete_through.isoformat() if mirror else None,
        "inserted": snapshot.changed("inserted"),
        "updated": snapshot.changed("updated"),
        "deleted": snapshot.changed("deleted"),
        "rows": snapshot.rows,
        "consumed": dict(mart.consumed) if mart else None,
    }
