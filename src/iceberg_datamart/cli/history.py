"""`history`: the snapshots of mirrors and marts, and what each run did in them; needs no JVM."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from iceberg_datamart.app.assemble import tables_of
from iceberg_datamart.cli.options import ConfigOption, JsonOption, loaded, require_known
from iceberg_datamart.cli.output import console, exit_on, print_json, rows_table, short
from iceberg_datamart.core.report.run import error_json
from iceberg_datamart.core.state.commit import mart_state, mirror_state
from iceberg_datamart.core.state.history import Snapshot, TableHistory

_COLUMNS = ("snapshot_id", "committed_at", "inserted", "updated", "deleted")
# What a wider terminal shows as well; fewer columns read better than cut ones.
_WIDER = ((86, "load_type"), (107, "watermark"), (145, "run_id"))


def history(
    table: Annotated[
        str | None, typer.Argument(help="A mirror or mart. Default: all of them.", metavar="TABLE")
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show the snapshots of each table, newest first."""
    settings = loaded(config)
    require_known([] if table is None else [table], settings)
    catalog = tables_of(settings)
    names = [name for name in (*settings.tables, *settings.marts) if table in (None, name)]
    histories, failures = catalog.surveyed(names)
    shown = {
        name: [] if found is None else [as_json(found, snapshot) for snapshot in found.snapshots]
        for name, found in histories.items()
    }
    if json:
        print_json({"tables": shown, "errors": {name: error_json(e) for name, e in failures.items()}})
    else:
        for name, rows in shown.items():
            console().print(f"\n{name}", markup=False)
            show_snapshots(rows)
    exit_on(failures.values())


def show_snapshots(rows: list[dict[str, Any]]) -> None:
    """Print snapshots, each the object of `as_json`, and of a mart's which mirrors' snapshots they join."""
    out = console()
    wide = [name for width, name in _WIDER if out.width >= width]
    shown = [name for name in wide if name == "load_type" or any(row[name] for row in rows)]
    columns = (*_COLUMNS[:2], *shown[:1], *_COLUMNS[2:], *shown[1:])
    out.print(rows_table(columns, map(cells, rows)))
    for row in rows:
        if row["consumed"]:
            mirrors = ", ".join(f"{name} {number}" for name, number in sorted(row["consumed"].items()))
            out.print(f"{row['snapshot_id']} joins {mirrors}", markup=False)


def as_json(history: TableHistory, snapshot: Snapshot) -> dict[str, Any]:
    """Return one snapshot of a table's history as the documented object."""
    mirror, mart = mirror_state(snapshot.summary), mart_state(snapshot.summary)
    published = history.published_at(snapshot.snapshot_id)
    watermark = None if mirror is None or mirror.watermark is None else str(mirror.watermark)
    return {
        "snapshot_id": snapshot.snapshot_id,
        "parent_id": snapshot.parent_id,
        "committed_at": None if published is None else published.isoformat(timespec="milliseconds"),
        "operation": snapshot.operation,
        "run_id": snapshot.run_id,
        "load_type": snapshot.load_type,
        "watermark": watermark,
        "complete_through": mirror.complete_through.isoformat() if mirror else None,
        "inserted": snapshot.changed("inserted"),
        "updated": snapshot.changed("updated"),
        "deleted": snapshot.changed("deleted"),
        "rows": history.rows_of(snapshot),
        "consumed": dict(mart.consumed) if mart else None,
    }


def cells(row: dict[str, Any]) -> dict[str, Any]:
    """Return what people read of a snapshot; of another tool's, what it was.

    The time is exact, for `rollback --to-time`: cut, it would be before the commit.
    """
    by_other = f"({row['operation']})" if row["run_id"] is None else row["load_type"]
    committed = None if row["committed_at"] is None else row["committed_at"][:23].replace("T", " ")
    return {**row, "committed_at": committed, "watermark": short(row["watermark"]), "load_type": by_other}
