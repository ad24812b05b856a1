"""`plan`: what a run would do, without doing it; needs no JVM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import typer

from iceberg_datamart.app.assemble import new_run
from iceberg_datamart.cli import options
from iceberg_datamart.cli.output import console, fitting_table, print_error, print_json, short
from iceberg_datamart.core.load_types import RECONCILE
from iceberg_datamart.core.plan.facts import RunRequest
from iceberg_datamart.core.plan.steps import MaintainMart, MergeWindow, Refuse, Step, WriteTimestamp
from iceberg_datamart.core.report.run import common_exit_code, error_json
from iceberg_datamart.core.settings.model import Config
from iceberg_datamart.core.source.reads import QueryRead
from iceberg_datamart.errors import DatamartError
from iceberg_datamart.ports import DescribedTable
from iceberg_datamart.run.foresight import Foreseen, foreseen
from iceberg_datamart.run.runner import Prepared

_COLUMNS = ("step", "name", "reads", "engine", "why", "rows")
# A narrow screen shows the first of these side by side, and says the others below.
_BY_WEIGHT = ("step", "name", "rows", "reads", "engine", "why")
Foretold: TypeAlias = "tuple[Step, Foreseen | None]"


def plan(
    config: options.ConfigOption = None,
    load_type: options.LoadTypeOption = options.LoadType.INCREMENTAL,
    table: options.TableOption = None,
    accept_new_source: options.AcceptOption = False,
    engine: options.EngineOption = None,
    json: options.JsonOption = False,
) -> None:
    """Show what `run` would read and write, table by table. Changes nothing.

    The exit code is not 0 where a table or mart is refused.
    """
    request = RunRequest(load_type.value, tuple(table or ()), accept_new_source)
    settings = options.loaded(config, table, engine)
    with new_run(settings, request) as run:
        prepared = run.prepare()
        steps = [foretold(prepared, step) for step in prepared.plan.steps]
    shown = as_json(settings, prepared, steps)
    if json:
        print_json(shown)
    else:
        _print(shown, steps)
    _exit_on_refusals(steps)


def foretold(prepared: Prepared, step: Step) -> Foretold:
    """Return a step with what it would find; a refusal where its source cannot even tell that (R9)."""
    if not isinstance(step, MergeWindow):
        return step, None
    try:
        return step, foreseen(prepared.tables[step.table], step)
    except DatamartError as error:
        return Refuse(step.table, error), None


def _exit_on_refusals(steps: Sequence[Foretold]) -> None:
    """Print each error once, with all that it refuses, and end with their exit code; return for none."""
    refused: dict[DatamartError, list[str]] = {}
    for each in steps:
        error = _refusal(each)
        if error is not None:
            refused.setdefault(error, []).append(_name(each[0]) or "")
    for error, names in refused.items():
        print_error(error, names)
    if refused:
        raise typer.Exit(common_exit_code(error.exit_code for error in refused))


def _name(step: Step) -> str | None:
    """Return the mirror or mart that a step is about."""
    if isinstance(step, MaintainMart):
        return step.mart
    return None if isinstance(step, WriteTimestamp) else step.table


def _refusal(foretold: Foretold) -> DatamartError | None:
    step = foretold[0]
    if isinstance(step, Refuse):
        return step.error
    return step.engine if isinstance(step, MaintainMart) and isinstance(step.engine, DatamartError) else None


def as_json(config: Config, prepared: Prepared, steps: Sequence[Foretold]) -> dict[str, Any]:
    """Return the plan as the documented object, without what was not foreseen of a step."""
    timestamp = prepared.facts.timestamp
    return {
        "timestamp": None if timestamp is None else timestamp.strftime("%Y-%m-%d %H:%M:%S"),
        "steps": [_step(config, prepared, *each) for each in steps],
        "warnings": list(prepared.plan.warnings),
    }


def _step(config: Config, prepared: Prepared, step: Step, found: Foreseen | None) -> dict[str, Any]:
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
        return _merge(prepared.tables[step.table], step) | ({} if found is None else _found(found))
    return {"step": "write_timestamp", "file": config.state.timestamp_file}


def _found(found: Foreseen) -> dict[str, Any]:
    return {"unchanged": found.is_unchanged, "rows": found.rows, "rows_are_estimated": found.is_estimate}


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


def _print(shown: dict[str, Any], steps: Sequence[Foretold]) -> None:
    out = console()
    rows = [_row(step) for step in shown["steps"]]
    table = fitting_table(_COLUMNS, rows, _BY_WEIGHT, out.width, numbers=("rows",))
    out.print(table)
    headers = {column.header for column in table.columns}
    left_out = [name for name in ("reads", "why", "engine") if name not in headers]
    for row in rows:
        said = [f"engine {row[name]}" if name == "engine" else row[name] for name in left_out if row[name]]
        if said and row["step"] != "refuse":
            out.print(f"{row['name']}: {'; '.join(said)}", markup=False)
    for step, _ in steps:
        for text in _changes(step):
            out.print(text, markup=False)
    for text in shown["warnings"]:
        out.print(f"warning: {text}", style="yellow", markup=False)


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
    window, engine = step.get("window"), step.get("engine")
    return {
        "step": "unchanged" if step.get("unchanged") else step["step"].replace("_", " "),
        "name": step.get("table") or step.get("mart"),
        "rows": _rows(step),
        "reads": None
        if window is None
        else reads(step["load_type"], window["lower"], window["after_snapshot"]),
        "why": "refused: see the error below" if "error" in step else step.get("reason"),
        "engine": None if engine is None else engine["name"],
    }


def _rows(step: dict[str, Any]) -> str | None:
    """Return how many rows people are told that the step reads."""
    if step.get("rows") is None or step["unchanged"]:
        return None
    return f"about {step['rows']:,}" if step["rows_are_estimated"] else f"{step['rows']:,}"
