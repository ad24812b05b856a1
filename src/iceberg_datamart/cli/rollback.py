"""`rollback`: a table set back to an earlier snapshot; the next run goes on from there."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from iceberg_datamart.app.assemble import new_run, tables_of
from iceberg_datamart.cli.history import as_json as snapshot_json
from iceberg_datamart.cli.history import show_snapshots
from iceberg_datamart.cli.options import (
    ConfigOption,
    DebugOption,
    EngineOption,
    JsonOption,
    instant,
    loaded,
    require_known,
)
from iceberg_datamart.cli.output import console, print_json, short
from iceberg_datamart.cli.plan import reads
from iceberg_datamart.cli.progress import progress_on_stderr
from iceberg_datamart.core.plan.facts import RunRequest
from iceberg_datamart.core.plan.steps import MergeWindow, Refuse
from iceberg_datamart.core.report.run import error_json
from iceberg_datamart.core.report.verification import EXTRA, MISSING, STALE, Differences
from iceberg_datamart.core.settings.model import Config
from iceberg_datamart.errors import ConfigError
from iceberg_datamart.run.rollback import Rollback, next_step, rollback_to, undone_rows

# What a rollback does to a row of which the table now differs from the snapshot.
_DOES = {MISSING: "insert", STALE: "update", EXTRA: "delete"}


def rollback(
    table: Annotated[str, typer.Argument(help="A mirror or mart.", metavar="TABLE")],
    config: ConfigOption = None,
    engine: EngineOption = None,
    to_snapshot: Annotated[
        int | None,
        typer.Option(
            "--to-snapshot", metavar="ID", help="A snapshot that `history` shows. Give this or --to-time."
        ),
    ] = None,
    to_time: Annotated[
        str | None,
        typer.Option(
            "--to-time", metavar="T", help="The snapshot that was current then: ISO time, UTC without a zone."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would do, and what the next run would read.")
    ] = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Set a table back to an earlier snapshot, and with it the state from which the next run reads."""
    settings = loaded(config, engine=engine)
    require_known([table], settings)
    if (to_snapshot is None) == (to_time is None):
        raise ConfigError("name where to go back to", hint="Give either --to-snapshot ID or --to-time T.")
    catalog = tables_of(settings)
    time = None if to_time is None else instant(to_time, "--to-time")
    found = rollback_to(settings, table, catalog.history(table), snapshot_id=to_snapshot, instant=time)
    shown = _as_json(found, dry_run=dry_run)
    if dry_run:
        shown |= _foreseen(settings, found, debug=debug)
    elif found.undone:
        catalog.roll_back(table, found.undone[0].snapshot_id, found.target.snapshot_id)
    if json:
        print_json(shown)
    else:
        _print(shown)


def _as_json(found: Rollback, *, dry_run: bool) -> dict[str, Any]:
    """Return the documented object, as far as the table's metadata tell it."""
    current = found.undone[0] if found.undone else found.target
    then = found.history.as_of(found.target.snapshot_id)
    state = None if then is None else then.mirror_state
    mark = None if state is None else state.watermark
    return {
        "table": found.table,
        "dry_run": dry_run,
        "from_snapshot_id": current.snapshot_id,
        "to_snapshot_id": found.target.snapshot_id,
        "undone": [snapshot_json(found.history, snapshot) for snapshot in found.undone],
        "marts": list(found.marts),
        "watermark": None if mark is None else str(mark),
        "needs_reconcile": then is not None and found.table not in found.marts and then.needs_reconcile,
        "next_read": None,
        "rows": None,
    }


def _foreseen(config: Config, found: Rollback, *, debug: bool) -> dict[str, Any]:
    """Return what the next run would read after the rollback, and which rows the rollback touches."""
    run = new_run(config, RunRequest(tables=(found.table,) if found.table in config.tables else ()))
    with progress_on_stderr(run.run_id, run.adapters.board, debug=debug), run:
        step = next_step(run, found)
        rows = undone_rows(run, found)
    return {"next_read": None if step is None else _step_json(step), "rows": _rows_json(rows)}


def _step_json(step: MergeWindow | Refuse) -> dict[str, Any]:
    if isinstance(step, Refuse):
        return {"error": error_json(step.error)}
    lower = step.window.lower
    return {
        "load_type": step.load_type,
        "lower": None if lower is None else str(lower),
        "after_snapshot": step.window.after,
        "reason": step.reason,
    }


def _rows_json(found: Differences) -> dict[str, Any]:
    return {
        "inserted": found.missing,
        "updated": found.stale,
        "deleted": found.extra,
        "first": [
            {"change": _DOES[each.kind], "key": dict(each.key), "columns": list(each.columns)}
            for each in found.first
        ],
    }


def _print(shown: dict[str, Any]) -> None:
    out = console()
    if not shown["undone"]:
        out.print(f"{shown['table']} is at snapshot {shown['to_snapshot_id']} already", markup=False)
        return
    does = "would go" if shown["dry_run"] else "went"
    places = f"from snapshot {shown['from_snapshot_id']} to {shown['to_snapshot_id']}"
    out.print(f"{shown['table']} {does} back {places}; this undoes", markup=False)
    show_snapshots(shown["undone"])
    rows = shown["rows"]
    if rows is not None:
        counts = ", ".join(f"{rows[kind]:,} {kind}" for kind in ("inserted", "updated", "deleted"))
        out.print(f"rows of the table that this touches: {counts}", markup=False)
        for each in rows["first"]:
            key = ", ".join(f"{column}={value}" for column, value in each["key"].items())
            wrong = f": {', '.join(each['columns'])}" if each["columns"] else ""
            out.print(f"  {each['change']} {key}{wrong}", markup=False)
    if shown["table"] in shown["marts"]:
        out.print("the next run brings it up to its mirrors again")
        return
    if shown["marts"]:
        out.print(f"marts that the next run brings up to it: {', '.join(shown['marts'])}", markup=False)
    out.print(_next(shown), markup=False)


def _next(shown: dict[str, Any]) -> str:
    """Return what is known of the next run's reading of a mirror."""
    step = shown["next_read"]
    if step is None:
        if shown["needs_reconcile"]:
            return "the next run compares it with the source: a full load or reconcile was undone"
        return f"its watermark: {short(shown['watermark']) or 'none, so the next run reads everything'}"
    if "error" in step:
        return f"the next run could not read it: {step['error']['message']}"
    window = reads(step["load_type"], step["lower"], step["after_snapshot"])
    return f"the next run reads {window} ({step['load_type']}): {step['reason']}"
