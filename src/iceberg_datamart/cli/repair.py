"""`repair`: tables that cannot be loaded, since their pointer names a file that is gone; needs no JVM."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from iceberg_datamart.app.assemble import pointers_of
from iceberg_datamart.cli.options import ConfigOption, JsonOption, loaded, require_known
from iceberg_datamart.cli.output import console, exit_on, print_json, rows_table
from iceberg_datamart.core.report.repair import Finding
from iceberg_datamart.core.report.run import error_json
from iceberg_datamart.errors import DatamartError


def repair(
    table: Annotated[
        list[str] | None, typer.Argument(help="Mirrors or marts. Default: all of them.", metavar="TABLE")
    ] = None,
    config: ConfigOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    json: JsonOption = False,
) -> None:
    """Where a table's metadata file is gone, set the table back to the file before it.

    The next run reads again from there.
    """
    settings = loaded(config)
    require_known(table or (), settings)
    pointers = pointers_of(settings)
    found: dict[str, Finding | DatamartError] = {}
    for name in table or (*settings.tables, *settings.marts):
        try:
            found[name] = pointers.repaired(name, dry_run=dry_run)
        except DatamartError as error:  # noqa: PERF203  (of one table alone, R9)
            found[name] = error
    shown = {name: as_json(finding) for name, finding in found.items()}
    if json:
        print_json({"dry_run": dry_run, "tables": shown})
    else:
        rows = ({"table": name, **row} for name, row in shown.items())
        console().print(rows_table(("table", "outcome", "missing", "previous"), rows))
    exit_on(finding for finding in found.values() if isinstance(finding, DatamartError))


def as_json(found: Finding | DatamartError) -> dict[str, Any]:
    """Return the documented object of one table."""
    if isinstance(found, DatamartError):
        return {"outcome": "failed", "missing": None, "previous": None, "error": error_json(found)}
    return {
        "outcome": found.outcome,
        "missing": found.missing,
        "previous": found.previous,
        "error": None,
    }
