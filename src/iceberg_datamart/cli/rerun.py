"""`rerun`: a run repeated from a snapshot id."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from iceberg_datamart.cli.options import ConfigOption, DebugOption, JsonOption, loaded
from iceberg_datamart.cli.output import logging_to_stderr, print_json
from iceberg_datamart.cli.run import run_once, show_report
from iceberg_datamart.cli.verify import show_verified
from iceberg_datamart.config import Config
from iceberg_datamart.errors import ConfigError
from iceberg_datamart.lake.catalog import LakeCatalog
from iceberg_datamart.planner import Wishes
from iceberg_datamart.report import RunReport
from iceberg_datamart.rerun import recomputed, table_of
from iceberg_datamart.verification import VerifyReport
from iceberg_datamart.verifier import settled
from iceberg_datamart.world import new_run


def rerun(
    snapshot_id: Annotated[int, typer.Option("--snapshot-id", help="A snapshot that `history` shows.")],
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Read a mirror again from the state of a snapshot, or compute a mart's snapshot again and compare."""
    report = rerun_once(loaded(config), Wishes(), snapshot_id, debug=debug)
    if json:
        print_json(report.as_json())
    elif isinstance(report, RunReport):
        show_report(report)
    else:
        show_verified(report)
    raise typer.Exit(report.exit_code)


def rerun_once(
    config: Config, wishes: Wishes, snapshot_id: int, *, debug: bool = False
) -> RunReport | VerifyReport:
    """Return the report of a mirror's run, or of a mart's comparison. Raises: DatamartError."""
    catalog = LakeCatalog(config.catalog, config.database)
    histories, _ = catalog.surveyed([*config.tables, *config.marts])
    table = table_of(snapshot_id, histories)
    if wishes.tables and table not in wishes.tables:
        message = f"snapshot {snapshot_id} belongs to '{table}', which is not among the chosen tables"
        raise ConfigError(message, hint="Choose it, or no tables.")
    if table in config.tables:
        return run_once(config, replace(wishes, tables=(table,), snapshot_id=snapshot_id), debug=debug)
    run = new_run(config, wishes)
    with logging_to_stderr(run.run_id, debug=debug):
        try:
            return VerifyReport({}, {table: settled(table, partial(recomputed, run, table, snapshot_id))})
        finally:
            run.close()
