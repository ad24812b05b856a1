"""`maintain`: files compacted, old snapshots and orphans removed, where that is worth it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from iceberg_datamart.app.assemble import new_upkeep
from iceberg_datamart.cli.options import (
    ConfigOption,
    DebugOption,
    EngineOption,
    JsonOption,
    loaded,
    require_known,
)
from iceberg_datamart.cli.output import console, exit_on, print_json, rows_table
from iceberg_datamart.cli.progress import progress_on_stderr
from iceberg_datamart.core.report.progress import Board
from iceberg_datamart.core.report.upkeep import Counts, UpkeepOutcome
from iceberg_datamart.run.upkeep import failures

# What people see of each count; with short words a table fits 80 columns.
_COUNTS = {
    "data": "data_files",
    "deletes": "delete_files",
    "manifests": "manifests",
    "snapshots": "snapshots",
}


def maintain(
    config: ConfigOption = None,
    table: Annotated[
        list[str] | None,
        typer.Option(
            "--table", "-t", metavar="TABLE", help="Only this mirror or mart; may be repeated. Default: all."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what is worth doing, and why.")
    ] = False,
    engine: EngineOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Compact small files and deletes, expire old snapshots, remove orphans: where it is worth it.

    No row changes, and the next run goes on as it would have. Safe beside running jobs.
    """
    settings = loaded(config, engine=engine)
    require_known(table or (), settings)
    upkeep = new_upkeep(settings, dry_run=dry_run)
    with progress_on_stderr("maintain", Board(), debug=debug, brief="maintaining"):
        outcomes = upkeep.maintained(table or (*settings.tables, *settings.marts))
    if json:
        shown = {name: outcome.as_json() for name, outcome in outcomes.items()}
        print_json({"dry_run": dry_run, "tables": shown})
    else:
        show_upkeep(outcomes)
    exit_on(failures(outcomes.values()))


def show_upkeep(outcomes: dict[str, UpkeepOutcome]) -> None:
    """Print what became of each table, and why."""
    out = console()
    rows = ({"table": name, **_row(outcome)} for name, outcome in outcomes.items())
    out.print(rows_table(("table", "outcome", *_COUNTS), rows))
    for name, outcome in outcomes.items():
        for step in outcome.steps:
            worth = "" if step.is_due else "not worth it: "
            out.print(f"{name}: {step.kind}: {worth}{step.why}", markup=False)
        if outcome.reason is not None:
            out.print(f"{name}: {outcome.reason}", markup=False)


def _row(outcome: UpkeepOutcome) -> dict[str, Any]:
    """Return the cells of one table: how much there is, and was where that is more."""
    before, after = outcome.before, outcome.after
    counts = {word: _cell(name, before, after) for word, name in _COUNTS.items()}
    return {"outcome": outcome.outcome, **counts}


def _cell(name: str, before: Counts, after: Counts | None) -> str:
    was = getattr(before, name)
    return str(was) if after is None else f"{was} → {getattr(after, name)}"
