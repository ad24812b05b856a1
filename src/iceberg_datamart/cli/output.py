"""How reports and errors look: JSON for machines, tables for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from iceberg_datamart.core.report.run import common_exit_code
from iceberg_datamart.underway.stopping import wait_if_stopping

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from iceberg_datamart.core.report.run import Outcome, RunReport
    from iceberg_datamart.errors import DatamartError


def print_json(value: Any) -> None:
    """Print one object, indented, on standard output."""
    wait_if_stopping()  # or it would tell of what was broken off
    print(json.dumps(value, indent=2, ensure_ascii=False))


def console() -> Console:
    """Return standard output for people; wide where it is no terminal, so that nothing is cut in a log."""
    wait_if_stopping()  # as above
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=200)


def print_error(error: DatamartError, names: Sequence[str] = ()) -> None:
    """Print what failed and its fix on standard error, after the `names` of the tables that it is about."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    about = f"{', '.join(names)}: " if names else ""
    console.print(Text("error: ", "bold red") + Text(about + error.message))
    if error.hint:
        console.print(Text("hint:  ", "bold") + Text(error.hint))


def exit_on(failures: Iterable[DatamartError]) -> None:
    """Print each failure once and end with their exit code, 1 where they differ; return for none."""
    found = list(dict.fromkeys(failures))
    for error in found:
        print_error(error)
    if found:
        raise typer.Exit(common_exit_code(error.exit_code for error in found))


def outcomes_table(report: RunReport) -> Table:
    """Return what became of each table, the marts last; fits 80 columns.

    Rejected rows are rare: their column shows only where there are any.
    """
    outcomes = {**report.tables, **report.marts}
    counts = ["inserted", "updated", "deleted"]
    if any(outcome.rejected for outcome in outcomes.values()):
        counts.append("rejected")
    rows = (_cells(name, outcome, counts) for name, outcome in outcomes.items())
    return compact_table(("table", "outcome", "read", *counts, "seconds"), rows, texts=2)


def fitting_table(
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    by_weight: Sequence[str],
    width: int,
    *,
    numbers: Sequence[str] = (),
) -> Table:
    """Return `rows` under as many of the columns as fit side by side, so that none is cut.

    The weightiest stay; `numbers` stand behind all others, to the right. Missing values show as a dash.
    """
    everywhere = Console(width=10_000)
    for count in range(len(by_weight), 0, -1):
        shown = [name for name in columns if name in by_weight[:count]]
        texts = sum(name not in numbers for name in shown)
        table = rows_table(shown, rows, texts=texts, wraps=count == 1)
        if everywhere.measure(table).maximum <= width:
            break
    return table


def rows_table(
    columns: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    *,
    texts: int | None = None,
    wraps: bool = True,
) -> Table:
    """Return `rows` under `columns`, the first `texts` of which are to the left: all, if not told.

    Missing values show as a dash. The last column wraps if it `wraps` and is to the left.
    """
    cells = (["-" if row.get(name) is None else str(row[name]) for name in columns] for row in rows)
    return compact_table(columns, cells, texts=len(columns) if texts is None else texts, wraps=wraps)


def short(instant: str | None) -> str | None:
    """Return an ISO instant cut to the second, as people read it; other texts stay."""
    return None if instant is None else instant[:19].replace("T", " ")


def counted(rows: int | None) -> str:
    """Return a number of rows as people read it."""
    return "not known" if rows is None else f"{rows:,}"


def compact_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int, wraps: bool = True
) -> Table:
    """Return a table without a frame: the first `texts` columns to the left, numbers to the right."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for position, name in enumerate(columns):
        is_wrapped = wraps and position == len(columns) - 1 and position < texts
        justify: Literal["left", "right"] = "left" if position < texts else "right"
        table.add_column(name.replace("_", " "), justify=justify, no_wrap=not is_wrapped, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    return table


def _cells(name: str, outcome: Outcome, counts: Iterable[str]) -> tuple[str, ...]:
    numbers = [outcome.rows_read, *(getattr(outcome, count) for count in counts)]
    return (name, outcome.outcome, *(f"{number:,}" for number in numbers), f"{outcome.seconds:.1f}")
