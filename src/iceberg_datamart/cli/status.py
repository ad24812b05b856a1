"""`status`: where every mirror and mart stands, and what holds them back; needs no JVM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from iceberg_datamart.app.assemble import tables_of, timestamp_file
from iceberg_datamart.cli.options import ConfigOption, JsonOption, loaded
from iceberg_datamart.cli.output import console, counted, exit_on, print_json, rows_table, short
from iceberg_datamart.cli.status_sources import lines, source
from iceberg_datamart.core.report.run import error_json
from iceberg_datamart.core.settings.model import Config
from iceberg_datamart.core.state.history import TableHistory
from iceberg_datamart.errors import MetadataMissingError


def status(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show the timestamp file, where each table stands, and what holds it back."""
    settings = loaded(config)
    shown, failures = survey(settings)
    if json:
        print_json(shown)
    else:
        _print(shown)
    exit_on(failures.values())


def _print(shown: dict[str, Any]) -> None:
    out = console()
    file = shown["timestamp_file"]
    out.print(f"timestamp file {file['location']}: {file['timestamp'] or 'missing'}")
    columns: tuple[str, ...] = ("table", "rows", "watermark", "complete_through")
    out.print(rows_table(columns, (_row(n, t) for n, t in shown["tables"].items())))
    columns = ("mart", "rows", "behind", "snapshot_id")
    rows = (
        {"mart": n, **m, "rows": counted(m["rows"]), "behind": ", ".join(m["behind"]) or None}
        for n, m in shown["marts"].items()
    )
    out.print(rows_table(columns, rows))
    for text in foreign_lines(shown):
        out.print(text, style="yellow", markup=False)
    for name, said in shown["sources"].items():
        for text in lines(name, said):
            out.print(text, style="yellow", markup=False)


def survey(config: Config) -> tuple[dict[str, Any], dict[str, MetadataMissingError]]:
    """Return the documented object, and why tables cannot be loaded."""
    catalog = tables_of(config)
    said = timestamp_file(config.state.timestamp_file, config.catalog.properties).read()
    mirrors, failures = catalog.surveyed(config.tables)
    marts, broken = catalog.surveyed(config.marts)
    failures |= broken
    shown = {
        "timestamp_file": {
            "location": config.state.timestamp_file,
            "timestamp": None if said is None else said.strftime("%Y-%m-%d %H:%M:%S"),
        },
        "tables": {
            name: {**_mirror(history), **_failure(failures.get(name))} for name, history in mirrors.items()
        },
        "marts": {
            name: {**_mart(history, mirrors), **_failure(failures.get(name))}
            for name, history in marts.items()
        },
        "sources": {name: source(config, name, mirrors) for name in config.sources},
    }
    return shown, failures


def foreign_lines(shown: dict[str, Any]) -> Iterator[str]:
    """Yield which tables another tool has written to, and what ends that; nothing of compactions."""
    for kind in ("tables", "marts"):
        for name, table in shown[kind].items():
            if table["foreign"]:
                numbers = ", ".join(map(str, table["foreign"]))
                undone = "until the next run" if kind == "marts" else f"until `reconcile --table {name}`"
                text = f"another tool committed snapshot {numbers}; rows that it changed stay {undone}"
                yield f"warning: table '{name}': {text}"


def _failure(error: MetadataMissingError | None) -> dict[str, Any]:
    """Return what is said of a table that is there and cannot be loaded."""
    return {"error": None} if error is None else {"exists": True, "error": error_json(error)}


def _row(name: str, table: dict[str, Any]) -> dict[str, Any]:
    times = {key: short(table[key]) for key in ("watermark", "complete_through")}
    return {"table": name, "rows": counted(table["rows"]), **times}


def _table(history: TableHistory | None) -> dict[str, Any]:
    current = None if history is None else history.current
    published = None if history is None or current is None else history.published_at(current.snapshot_id)
    return {
        "exists": history is not None,
        "rows": 0 if history is None or current is None else history.rows_of(current),
        "snapshot_id": None if current is None else current.snapshot_id,
        "committed_at": None if published is None else published.isoformat(timespec="milliseconds"),
        "is_foreign": current is not None and current.run_id is None,
        "foreign": [] if history is None else [snapshot.snapshot_id for snapshot in history.foreign()],
    }


def _mirror(history: TableHistory | None) -> dict[str, Any]:
    state = None if history is None else history.mirror_state
    return {
        **_table(history),
        "run_id": None if state is None else state.run_id,
        "load_type": None if state is None else state.load_type,
        "watermark": None if state is None or state.watermark is None else str(state.watermark),
        "complete_through": None if state is None else state.complete_through.isoformat(),
        "source": None if state is None else state.source,
    }


def _mart(history: TableHistory | None, mirrors: dict[str, TableHistory | None]) -> dict[str, Any]:
    state = None if history is None else history.mart_state
    consumed = {} if state is None else dict(state.consumed)
    present = {name: m.current for name, m in mirrors.items() if m is not None and m.current is not None}
    behind = [n for n, c in consumed.items() if n in present and present[n].snapshot_id != c]
    return {
        **_table(history),
        "run_id": None if state is None else state.run_id,
        "consumed": consumed,
        "behind": behind,
        "failed_inputs": [] if state is None else list(state.failed_inputs),
    }
