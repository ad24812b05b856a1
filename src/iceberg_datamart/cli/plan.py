"""`plan`: what a run would do, without doing it; needs no JVM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from iceberg_datamart.app.assemble import new_run
from iceberg_datamart.cli import options
from iceberg_datamart.cli.output import console, print_json, rows_table, short
from iceberg_datamart.core.load_types import RECONCILE
from iceberg_datamart.core.plan.facts import RunRequest
from iceberg_datamart.core.plan.steps import MaintainMart, MergeWindow, Refuse, Step
from iceberg_datamart.core.report.run import error_json
from iceberg_datamart.core.settings.model import Config
from iceberg_datamart.core.source.reads import QueryRead
from iceberg_datamart.errors import DatamartError
from iceberg_datamart.ports import DescribedTable
from iceberg_datamart.run.runner import Prepared


def plan(
    config: options.ConfigOption = None,
    load_type: options.LoadTypeOption = options.LoadType.INCREMENTAL,
    table: options.TableOption = None,
    accept_new_source: options.AcceptOption = False,
    engine: options.EngineOption = None,
    json: options.JsonOption = False,
) -> None:
    """Show what `run` would read and write, table by table. Changes nothing."""
    request = RunRequest(load_type.value, tuple(table or ()), accept_new_source)
    settings = options.loaded(config, table, engine)
    with new_run(settings, request) as run:
        prepared = run.prepare()
        shown = as_json(settings, prepared)
    if json:
        print_json(shown)
        return
    out = console()
    columns = ("step", "name", "reads", "why", "engine")
    out.print(rows_table(columns, (_row(step) for step in shown["steps"])))
    for step in prepared.plan.steps:
        for text in _changes(step):
            out.print(text, markup=False)
    for text in shown["warnings"]:
        out.print(f"warning: {text}", style="yellow")


def as_json(config: Config, prepared: Prepared) -> dict[str, Any]:
    """Return the plan as the documented object."""
    timestamp = prepared.facts.timestamp
    return {
        "timestamp": None if timestamp is None else timestamp.strftime("%Y-%m-%d %H:%M:%S"),
        "steps": [_step(config, prepared, step) for step in prepared.plan.steps],
        "warnings": list(prepared.plan.warnings),
    }


def _step(config: Config, prepared: Prepared, step: Step) -> dict[str, Any]:
    if isinstance(step, Refuse):
        return {"step": "refuse", "table": step.table, "error": error_json(step.error)}
    if isinstance(step, MaintainMart):
        return {
            "step": "maintain",
            "mart": step.mart,
            "tables": list(step.tables),
            **(
                {"engine": None, "error": error_json(step.engine)}
                if isinstance(step.engine, DatamartError)
                else {"engine": step.engine.as_json()}
            ),
        }
    if isinstance(step, MergeWindow):
        return _merge(prepared.tables[step.table], step)
    return {"step": "write_timestamp", "file": config.state.timestamp_file}


def _merge(table: DescribedTable, step: MergeWindow) -> dict[str, Any]:
    lower, after, read = step.window.lower, step.window.after, table.read(step.window)
    return {
        "step": "merge",
        "table": step.table,
        "load_type": step.load_type,
        "window": {"lower": None if lower is None else str(lower), "after_snapshot": after},
        "reason": step.reason,
        "primary_key": list(step.source.primary_key),
        "horizon": step.horizon.instant.isoformat(),
        "engine": step.engine.as_json(),
        "columns_added": [f"{column.name} {column.type}" for column in step.change.added],
        "columns_widened": [f"{column.name} {column.type}" for column in step.change.widened],
        "columns_absent": list(step.change.absent),
        "columns_renamed": [{"from": old, "to": new} for old, new in step.change.renamed],
        "columns_recreated": list(step.change.recreated),
        "sql": read.relation if isinstance(read, QueryRead) else None,
    }


def _changes(step: Step) -> Iterator[str]:
    """Yield a line for a table whose columns change."""
    if isinstance(step, MergeWindow) and step.mirror is not None:
        said = step.change.sentences(step.mirror.columns)
        if said:
            yield f"{step.table}: {'; '.join(said)}"


def reads(load_type: str, lower: str | None, after: int | None) -> str:
    """Return what people read of the window of a step."""
    if load_type == RECONCILE:
        return "what differs"
    if after is not None:
        return f"what came after snapshot {after}"
    return "everything" if lower is None else f"from {short(lower)}"


def _row(step: dict[str, Any]) -> dict[str, Any]:
    window = step.get("window")
    return {
        "step": step["step"].replace("_", " "),
        "name": step.get("table") or step.get("mart"),
        "reads": None
        if window is None
        else reads(step["load_type"], window["lower"], window["after_snapshot"]),
        "why": step["error"]["message"] if "error" in step else step.get("reason"),
        "engine": None if step.get("engine") is None else step["engine"]["name"],
    }
