"""`run`: read, merge, join, remember."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NoReturn

import typer

from iceberg_datamart.app.assemble import (
    SystemClock,
    maintain_after,
    new_board,
    new_run,
    record_keepers,
    send_metrics,
)
from iceberg_datamart.app.run_records import loaded_versions
from iceberg_datamart.cli.options import (
    AcceptOption,
    ConfigOption,
    DebugOption,
    EngineName,
    EngineOption,
    JsonOption,
    LoadType,
    LoadTypeOption,
    TableOption,
    loaded,
)
from iceberg_datamart.cli.output import console, outcomes_table, print_error, print_json
from iceberg_datamart.cli.plan import as_json
from iceberg_datamart.cli.progress import progress_on_stderr
from iceberg_datamart.core.plan.facts import RunRequest
from iceberg_datamart.core.report.run import RunReport, unplanned_json
from iceberg_datamart.core.settings.model import Config
from iceberg_datamart.crash_points import crash_point
from iceberg_datamart.errors import DatamartError
from iceberg_datamart.run.recording import Recording, recorded
from iceberg_datamart.run.runner import new_run_id


def run(
    config: ConfigOption = None,
    load_type: LoadTypeOption = LoadType.INCREMENTAL,
    table: TableOption = None,
    accept_new_source: AcceptOption = False,
    engine: EngineOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Read what changed in the sources, merge it into the mirrors, and bring the marts up to date."""
    request = RunRequest(load_type.value, tuple(table or ()), accept_new_source)
    report_of(config, request, engine, json=json, debug=debug)


def report_of(
    config: Path | None, request: RunRequest, engine: EngineName | None, *, json: bool, debug: bool
) -> NoReturn:
    """Run once, print the report, and end with its exit code."""
    try:
        report = run_once(loaded(config, list(request.tables), engine), request, debug=debug)
        crash_point("report-ready")
    except DatamartError as error:
        if json:
            print_json(unplanned_json(error))
        print_error(error)
        raise typer.Exit(error.exit_code) from error
    if json:
        print_json(report.as_json())
    else:
        show_report(report)
    raise typer.Exit(report.exit_code)


def show_report(report: RunReport) -> None:
    """Print what became of each table."""
    out = console()
    out.print(f"run {report.run_id}")
    out.print(outcomes_table(report))
    out.print(f"timestamp file: {report.timestamp or 'not written'}")


def run_once(config: Config, request: RunRequest, *, debug: bool = False) -> RunReport:
    """Return the report of one run. Raises: DatamartError where it could not even be planned."""
    clock, board = SystemClock(), new_board()
    recording = Recording(config, request, new_run_id(clock.now()), clock)
    with progress_on_stderr(recording.run_id, board, debug=debug):
        with (
            recorded(recording, record_keepers(config), loaded_versions),
            new_run(config, request, recording.run_id, board) as run,
        ):
            prepared = run.prepare()
            recording.planned(
                partial(as_json, config, prepared, [(step, None) for step in prepared.plan.steps])
            )
            report = recording.report = run.execute(prepared)
        send_metrics(config, report)
        maintain_after(config, report)
        return report
