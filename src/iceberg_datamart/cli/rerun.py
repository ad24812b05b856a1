"""`rerun`: a run repeated from a snapshot id."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from iceberg_datamart.app.assemble import new_run, tables_of
from iceberg_datamart.cli.options import ConfigOption, DebugOption, EngineOption, JsonOption, loaded
from iceberg_datamart.cli.output import console, print_json
from iceberg_datamart.cli.progress import progress_on_stderr
from iceberg_datamart.cli.run import run_once, show_report
from iceberg_datamart.cli.verify import show_verified
from iceberg_datamart.core.plan.facts import Facts, RunRequest
from iceberg_datamart.core.plan.planner import maintain_mart
from iceberg_datamart.core.report.run import RunReport
from iceberg_datamart.core.report.verification import RerunReport, Verified
from iceberg_datamart.core.settings.model import Config
from iceberg_datamart.errors import ConfigError, LakeError
from iceberg_datamart.run.rerun import compared, refuse_target, repeated, table_of, written
from iceberg_datamart.run.verify import settled


def rerun(
    snapshot_id: Annotated[
        int, typer.Option("--snapshot-id", metavar="ID", help="A snapshot that `history` shows.")
    ],
    into: Annotated[
        str | None,
        typer.Option("--into", metavar="TABLE", help="Of a mart: also write the join into this new table."),
    ] = None,
    config: ConfigOption = None,
    engine: EngineOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Read a mirror again from a snapshot's state, or compute a mart's snapshot again and compare."""
    report = rerun_once(loaded(config, engine=engine), RunRequest(), snapshot_id, into=into, debug=debug)
    if json:
        print_json(report.as_json())
    elif isinstance(report, RunReport):
        show_report(report)
    else:
        show_verified(report)
        if report.into is not None:
            where = f"{report.into.table}, snapshot {report.into.snapshot_id}"
            console().print(f"{report.into.inserted:,} rows written into {where}", markup=False)
    raise typer.Exit(report.exit_code)


def rerun_once(
    config: Config, request: RunRequest, snapshot_id: int, *, into: str | None = None, debug: bool = False
) -> RunReport | RerunReport:
    """Return the report of a mirror's run, or of a mart's comparison. Raises: DatamartError."""
    if into is not None:
        refuse_target(config, into)
    catalog = tables_of(config)
    histories, _ = catalog.surveyed([*config.tables, *config.marts])
    table = table_of(snapshot_id, histories)
    if request.tables and table not in request.tables:
        message = f"snapshot {snapshot_id} belongs to '{table}', which is not among the chosen tables"
        raise ConfigError(message, hint="Choose it, or no tables.")
    if table in config.marts:
        return _mart_again(config, table, snapshot_id, into, debug=debug)
    if into is not None:
        message = f"--into: snapshot {snapshot_id} is one of the mirror '{table}', and a mirror has one place"
        raise ConfigError(message, hint="Leave --into out; or read the mirror as of the snapshot.")
    return run_once(config, replace(request, tables=(table,), snapshot_id=snapshot_id), debug=debug)


def _mart_again(config: Config, mart: str, snapshot_id: int, into: str | None, *, debug: bool) -> RerunReport:
    """Compute a mart's snapshot again, compare, and write the join where that is asked for."""
    run = new_run(config, RunRequest())
    step, lake = maintain_mart(mart, config, Facts(None, {}, engines=run.adapters.engines)), run.adapters.lake
    with progress_on_stderr(run.run_id, run.adapters.board, debug=debug), run:
        try:
            repetition = repeated(lake, step, snapshot_id)
        except LakeError as error:
            return RerunReport({}, {mart: Verified(error=error)})
        verified = settled(mart, partial(compared, lake, step, repetition), run.adapters.board)
        wanted = into if verified.error is None else None
        receipt = None if wanted is None else written(lake, run.run_id, step, repetition, wanted)
        return RerunReport({}, {mart: verified}, into=receipt)
