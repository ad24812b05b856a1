"""`reconcile`: bring mirrors to what their sources hold, reading only what differs."""

from __future__ import annotations

from iceberg_datamart.cli.options import ConfigOption, DebugOption, EngineOption, JsonOption, TableOption
from iceberg_datamart.cli.run import report_of
from iceberg_datamart.core.load_types import RECONCILE
from iceberg_datamart.core.plan.facts import RunRequest


def reconcile(
    config: ConfigOption = None,
    table: TableOption = None,
    engine: EngineOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Find deletes, and updates that the cursor does not show, by comparing digests; merge what differs."""
    report_of(config, RunRequest(RECONCILE, tuple(table or ())), engine, json=json, debug=debug)
