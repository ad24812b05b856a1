"""`backfill`: fill columns that are new, in rows that no run would read again."""

from __future__ import annotations

from typing import Annotated

import typer

from iceberg_datamart.cli.options import ConfigOption, DebugOption, EngineOption, JsonOption
from iceberg_datamart.cli.run import report_of
from iceberg_datamart.core.load_types import BACKFILL
from iceberg_datamart.core.plan.facts import RunRequest


def backfill(
    table: Annotated[
        list[str], typer.Option("--table", "-t", metavar="TABLE", help="This table; may be repeated.")
    ],
    config: ConfigOption = None,
    engine: EngineOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Read whole tables again and merge what differs; delete only what `soft_delete` marks."""
    report_of(config, RunRequest(BACKFILL, tuple(table)), engine, json=json, debug=debug)
