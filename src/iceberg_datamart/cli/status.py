"""`status`: where every mirror and mart stands, and what holds them back; needs no JVM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Annotated, Any

import typer

from iceberg_datamart.cli.options import ConfigOption, JsonOption, duration, loaded
from iceberg_datamart.cli.output import console, counted, exit_on, fitting_table, print_json, short
from iceberg_datamart.cli.status_sources import lines
from iceberg_datamart.cli.status_tables import survey
from iceberg_datamart.core.durations import duration_text
from iceberg_datamart.core.report.health import DISABLED
from iceberg_datamart.errors import LagError

_FIGURES = ("lag", "rows", "data_files", "delete_files", "snapshots")
_COLUMNS = ("table", "health", "complete_through", "watermark", "snapshot_id", *_FIGURES)
# A narrow screen shows the first of these.
_BY_WEIGHT = (
    *("table", "health", "lag", "rows", "complete_through"),
    *("data_files", "delete_files", "snapshots", "watermark", "snapshot_id"),
)


def status(
    config: ConfigOption = None,
    max_lag: Annotated[
        str | None,
        typer.Option(
            "--max-lag",
            metavar="LENGTH",
            help="Exit code 1 where an enabled table or a mart lags more than this: 90s, 30m, 2h, 3d.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show the timestamp file, where each table stands and how it is, and what holds it back.

    The exit code is not 0 where a table cannot be loaded, nor where a source does not answer or refuses.
    """
    settings = loaded(config)
    limit = None if max_lag is None else duration(max_lag, "--max-lag")
    shown, failures = survey(settings, limit)
    if json:
        print_json(shown)
    else:
        _print(shown, told_apart={error.message for error in failures})
    exit_on([*failures, *late(shown, limit)])


def late(shown: Mapping[str, Any], limit: timedelta | None) -> Iterator[LagError]:
    """Yield one error with all tables that lag more than `limit`, those of unknown lag included.

    Nothing without a limit. Disabled tables may lag.
    """
    if limit is None:
        return
    watched = {name: table for name, table in _all(shown).items() if table["health"] != DISABLED}
    lags = {name: table["lag_seconds"] for name, table in watched.items()}
    found = [f"{n} ({_lag(lag)})" for n, lag in lags.items() if lag is None or lag > limit.total_seconds()]
    if found:
        hint = "What may be behind it: docs/operations.md, `status --max-lag`."
        yield LagError(f"lag of more than {duration_text(limit)}: {', '.join(found)}", hint=hint)


def _lag(seconds: float | None) -> str:
    return "not known" if seconds is None else duration_text(timedelta(seconds=seconds))


def _all(shown: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {**shown["tables"], **shown["marts"]}


def _print(shown: dict[str, Any], told_apart: AbstractSet[str]) -> None:
    """Print what was found; errors `told_apart` are not in it."""
    out = console()
    file = shown["timestamp_file"]
    line = f"timestamp file {file['location']}: {file['timestamp'] or 'missing'}"
    out.print(line, markup=False, soft_wrap=True)
    rows = [_row(name, table) for name, table in _all(shown).items()]
    out.print(fitting_table(_COLUMNS, rows, _BY_WEIGHT, out.width, numbers=_FIGURES))
    out.print(_clocks(shown), markup=False)
    # A line for what is so of several tables.
    reasons: dict[str, list[str]] = {}
    for name, table in _all(shown).items():
        for reason in table["reasons"]:
            reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        if reason not in told_apart:
            out.print(f"{', '.join(names)}: {reason}", style="yellow", markup=False)
    for name, said in shown["sources"].items():
        if said["error"] is not None and said["error"]["message"] not in told_apart:
            out.print(f"warning: {said['error']['message']}", style="yellow", markup=False)
        for text, style in lines(name, said):
            out.print(text, style=style, markup=False)


def _clocks(shown: Mapping[str, Any]) -> str:
    """Return by whose clock lag is measured."""
    others = [name for name, said in shown["sources"].items() if said["now"] is None]
    if len(others) == len(shown["sources"]):
        return "times are UTC; lag is by this machine's clock"
    apart = f"; for {', '.join(others)} by this machine's" if others else ""
    return f"times are UTC; lag is by the sources' clocks{apart}"


def _row(name: str, table: dict[str, Any]) -> dict[str, Any]:
    seconds, files = table["lag_seconds"], ("data_files", "delete_files", "snapshots")
    return {
        **table,
        "table": name,
        "rows": counted(table["rows"]),
        "lag": None if seconds is None else _lag(seconds),
        "watermark": short(table.get("watermark")),
        "complete_through": short(table["complete_through"]),
        **{kind: None if table[kind] is None else f"{table[kind]:,}" for kind in files},
    }
