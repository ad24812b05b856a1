"""The command line: one file for each verb, reports on standard output, everything else on standard error."""

from __future__ import annotations

import sys

import typer

from iceberg_datamart.cli import (
    backfill,
    demo,
    history,
    plan,
    reconcile,
    repair,
    rerun,
    rollback,
    run,
    status,
    verify,
)
from iceberg_datamart.cli.output import print_error
from iceberg_datamart.errors import DatamartError

app = typer.Typer(
    help="Merge operational tables into Apache Iceberg, incrementally and exactly, and keep marts true.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for verb in (
    demo.demo,
    plan.plan,
    run.run,
    reconcile.reconcile,
    backfill.backfill,
    rerun.rerun,
    rollback.rollback,
    verify.verify,
    status.status,
    history.history,
    repair.repair,
):
    app.command()(verb)


def main() -> None:
    """Run the command line; a deliberate error ends it with its message, its hint and its exit code."""
    try:
        app()
    except DatamartError as error:
        print_error(error)
        sys.exit(error.exit_code)
