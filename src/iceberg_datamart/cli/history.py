"""`history`: the snapshots of mirrors and marts, and what each run did in them; needs no JVM."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from iceberg_datamart.app.assemble import SystemClock, tables_of
from iceberg_datamart.cli.options import ConfigOption, JsonOption, instant, loaded, require_known
from iceberg_datamart.cli.output import console, exit_on, fitting_table, print_json, short
from iceberg_datamart.core.durations import parsed_duration
from iceberg_datamart.core.report.run import error_json
from iceberg_datamart.core.state.commit import mart_state, mirror_state
from iceberg_datamart.core.state.history import Snapshot, TableHistory

_FIGURES = ("inserted", "updated", "deleted")
_COLUMNS = ("snapshot_id", "committed_at", "load_type", "watermark", "run_id", *_FIGURES)
# A narrow screen shows the first of these; fewer columns read better than cut ones.
_BY_WEIGHT = ("snapshot_id", "committed_at", *_FIGURES, "load_type", "watermark", "run_id")
# Without --limit, and not with --json: what a machine reads is not cut unasked.
_FIRST = 20


TableArgument = Annotated[
    str | None, typer.Argument(help="A mirror or mart. Default: all of them.", metavar="TABLE")
]
LimitOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help=f"At most so many snapshots of each table. Default: {_FIRST}, with --json all.",
    ),
]
SinceOption = Annotated[
    str | None,
    typer.Option(metavar="WHEN", help="Only snapshots since then: ISO time, UTC without a zone; or 2h, 3d."),
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", help="Also of which mirrors' snapshots a mart's are the join.")
]


def history(
    table: TableArgument = None,
    config: ConfigOption = None,
    limit: LimitOption = None,
    since: SinceOption = None,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Show the snapshots of each table, newest first."""
    settings = loaded(config)
    require_known([] if table is None else [table], settings)
    begin = None if since is None else _begin(since)
    names = [name for name in (*settings.tables, *settings.marts) if table in (None, name)]
    histories, failures = tables_of(settings).surveyed(names)
    found = {name: [] if each is None else shown_since(each, begin) for name, each in histories.items()}
    shown = {name: rows[: limit if json else limit or _FIRST] for name, rows in found.items()}
    left_out = {name: len(rows) - len(shown[name]) for name, rows in found.items()}
    if json:
        errors = {name: error_json(error) for name, error in failures.items()}
        print_json({"tables": shown, "left_out": left_out, "errors": errors})
    else:
        _print(shown, left_out, consumed=verbose)
    exit_on(failures.values())


def _print(shown: dict[str, list[dict[str, Any]]], left_out: dict[str, int], *, consumed: bool) -> None:
    out = console()
    for name, rows in shown.items():
        out.print(f"\n{name}", markup=False)
        show_snapshots(rows, consumed=consumed)
        if left_out[name]:
            every = f"--limit {len(rows) + left_out[name]} shows all"
            out.print(f"{left_out[name]} earlier snapshots are left out: {every}", markup=False)


def _begin(text: str) -> datetime:
    """Return the instant that a time, or a length of time back from now, means. Raises: ConfigError."""
    back = parsed_duration(text)
    return instant(text, "--since", ", or 2h, or 3d") if back is None else SystemClock().now() - back


def shown_since(history: TableHistory, begin: datetime | None) -> list[dict[str, Any]]:
    """Return the snapshots that became current at `begin` or later, newest first; all without it.

    One whose table does not tell when that was counts by when it was written.
    """
    times = {s.snapshot_id: history.published_at(s.snapshot_id) or s.committed_at for s in history.snapshots}
    return [
        as_json(history, snapshot)
        for snapshot in history.snapshots
        if begin is None or times[snapshot.snapshot_id] >= begin
    ]


def show_snapshots(rows: list[dict[str, Any]], *, consumed: bool = True) -> None:
    """Print snapshots, each the object of `as_json`; `consumed`: of a mart's, which mirrors' they join."""
    out = console()
    empty = [name for name in ("watermark", "run_id") if not any(row[name] for row in rows)]
    columns = [name for name in _COLUMNS if name not in empty]
    weighed = [name for name in _BY_WEIGHT if name not in empty]
    out.print(fitting_table(columns, [*map(cells, rows)], weighed, out.width, numbers=_FIGURES))
    for row in rows if consumed else ():
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
