"""`verify`: is every mirror its source, and every mart its join? Changes nothing."""

from __future__ import annotations

from typing import Any

import typer

from iceberg_datamart.app.assemble import new_run
from iceberg_datamart.cli import options
from iceberg_datamart.cli.output import compact_table, console, print_error, print_json
from iceberg_datamart.cli.progress import progress_on_stderr
from iceberg_datamart.core.plan.facts import RunRequest
from iceberg_datamart.core.report.verification import VerifyReport
from iceberg_datamart.run.verify import verify as verified

_COLUMNS = ("table", "result", "expected", "held", "missing", "stale", "extra", "pending")


def verify(
    config: options.ConfigOption = None,
    table: options.TableOption = None,
    engine: options.EngineOption = None,
    json: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Compare mirrors with their sources and marts with their joins; exit code 0 only if all are equal."""
    run = new_run(options.loaded(config, table, engine), RunRequest(tables=tuple(table or ())))
    with progress_on_stderr(run.run_id, run.adapters.board, debug=debug), run:
        report = verified(run)
    if json:
        print_json(report.as_json())
    else:
        show_verified(report)
    raise typer.Exit(report.exit_code)


def show_verified(report: VerifyReport) -> None:
    """Print how each table compares, and the first rows that differ."""
    found = {**report.tables, **report.marts}
    rows = {name: each.as_json() for name, each in found.items()}
    out = console()
    out.print(compact_table(_COLUMNS, (_cells(name, row) for name, row in rows.items()), texts=2))
    for name, each in found.items():
        for difference in each.differences.first:
            key = ", ".join(f"{column}={value}" for column, value in difference.key.items())
            wrong = f": {', '.join(difference.columns)}" if difference.columns else ""
            out.print(f"{name}: {difference.kind} {key}{wrong}", markup=False)
        for note in each.notes:
            out.print(f"{name}: {note}", markup=False)
    # A source that was lost is told once, with all of its tables.
    errors = {id(each.error): each.error for each in found.values() if each.error is not None}
    for error in errors.values():
        out.print(f"{', '.join(name for name, each in found.items() if each.error is error)}:", style="red")
        print_error(error)
    for text in report.warnings:
        out.print(f"warning: {text}", style="yellow", markup=False)


def _cells(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    return (name, row["result"], *(f"{row[column]:,}" for column in _COLUMNS[2:]))
