"""`runs`: what the records of runs say; reads nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from iceberg_datamart.app.run_records import run_records
from iceberg_datamart.cli.options import ConfigOption, JsonOption, loaded
from iceberg_datamart.cli.output import compact_table, console, print_json, short
from iceberg_datamart.core.report.record import RunRecord
from iceberg_datamart.errors import ConfigError


def runs(
    run_id: Annotated[
        str | None,
        typer.Argument(metavar="RUN_ID", help="Show this run alone: its id, or the end of it as listed."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="List at most so many.")] = 20,
    failed: Annotated[bool, typer.Option("--failed", help="List only runs that failed.")] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """List the newest runs, or show one of them, by the records that they left."""
    records = run_records(loaded(config))
    if run_id is None:
        wanted = (record for record in records.newest() if record.failed or not failed)
        found = list(islice(wanted, limit))
        if json:
            print_json({"runs": [summary(record) for record in found]})
        else:
            show_list(found, console())
        return
    record = records.find(run_id)
    if record is None:
        raise ConfigError(f"there is no record of a run '{run_id}'", hint="`runs` lists those that are kept.")
    if json:
        print_json(record.as_json())
    else:
        show(record, console())


def summary(record: RunRecord) -> dict[str, Any]:
    """Return one run of the list as the documented object."""
    first = next(iter(record.errors.items()), None)
    return {
        "run_id": record.run_id,
        "started": record.started.isoformat(),
        "ended": record.ended.isoformat(),
        "load_type": record.load_type,
        "status": record.status,
        "exit_code": record.exit_code,
        "seconds": round(record.seconds, 3),
        "changed": list(record.changed),
        "rows": record.rows,
        "error": None if first is None else {"table": first[0], **first[1]},
    }


def show_list(records: list[RunRecord], out: Console) -> None:
    """Print one line for each run, then the first error of each that failed, cut at the edge."""
    if not records:
        out.print("there is no record of such a run")
        return
    columns = ("run", "started", "load_type", "status", "seconds", "changed", "rows")
    out.print(compact_table(columns, map(_cells, records), texts=4))
    if any(record.errors for record in records):
        out.print()
    for record in records:
        for name, error in islice(record.errors.items(), 1):
            line = f"{_end(record)}  {_told(name, error)}".partition("\n")[0]
            out.print(Text(line, "red"), no_wrap=True, overflow="ellipsis")


def _cells(record: RunRecord) -> tuple[str, ...]:
    return (
        _end(record),
        (short(record.started.isoformat()) or "")[:16],
        record.load_type,
        record.status,
        f"{record.seconds:.1f}",
        str(len(record.changed)),
        f"{record.rows:,}",
    )


def _end(record: RunRecord) -> str:
    """Return the end of a run's id, which is enough to find it."""
    return record.run_id.rpartition("-")[2]


def _told(name: str | None, error: Mapping[str, str]) -> str:
    return error["message"] if name is None else f"{name}: {error['message']}"


def show(record: RunRecord, out: Console) -> None:
    """Print one run: what it was asked for, what became of each table, its seconds and its errors."""
    for text in _heading(record):
        out.print(text, markup=False)
    if record.outcomes:
        columns = ("table", "outcome", "read", "inserted", "updated", "deleted", "seconds")
        table = compact_table(columns, (_outcome(*each) for each in record.outcomes.items()), texts=2)
        table.columns[0].no_wrap, table.columns[0].overflow = (
            False,
            "fold",
        )  # rather than that a number is cut
        out.print(table)
    for text in (*_engines(record), *_notes(record)):
        out.print(text, markup=False)
    for text in record.report["warnings"]:
        out.print(f"warning: {text}", style="yellow", markup=False)
    for name, error in record.errors.items():
        out.print(f"error: {_told(name, error)}", style="red", markup=False)
        if error["hint"]:
            out.print(f"hint:  {error['hint']}", markup=False)


def _heading(record: RunRecord) -> Iterator[str]:
    yield f"run {record.run_id}: {record.load_type}, {record.status}, exit code {record.exit_code}"
    yield f"started {short(record.started.isoformat())}, ended {short(record.ended.isoformat())} UTC"
    parts = [f"{name.replace('_', ' ')} {value:.1f}" for name, value in record.report["phases"].items()]
    yield f"{record.seconds:.1f} seconds" + (f": {', '.join(parts)}" if parts else "")
    yield f"timestamp file: {record.report['timestamp'] or 'not written'}"
    yield ", ".join(f"{name} {version}" for name, version in record.versions.items())


def _outcome(name: str, outcome: Mapping[str, Any]) -> tuple[str, ...]:
    counts = (outcome[count] for count in ("rows_read", "inserted", "updated", "deleted"))
    return (name, outcome["outcome"], *(f"{count:,}" for count in counts), f"{outcome['seconds']:.1f}")


def _engines(record: RunRecord) -> Iterator[str]:
    """Yield a line for each engine and reason, with the tables that it is true of."""
    tables: dict[tuple[str, str], list[str]] = {}
    for name, outcome in record.outcomes.items():
        if outcome["engine"] is not None:
            engine = outcome["engine"]
            tables.setdefault((engine["name"], engine["reason"]), []).append(name)
    for (engine_name, reason), names in tables.items():
        yield f"{engine_name}: {', '.join(names)} ({reason})"


def _notes(record: RunRecord) -> Iterator[str]:
    for name, outcome in record.outcomes.items():
        for text in (outcome["reason"], *outcome["warnings"]):
            if text is not None:
                yield f"{name}: {text}"
