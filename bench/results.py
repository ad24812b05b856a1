"""What the benchmark tells: a table for people, a JSON file for what follows."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.contestants import DATAMART, HANDWRITTEN
from bench.measure import CLUSTERED, QUIET

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.measure import Measured

# Greatest part of the hand-written job's seconds, on size M.
TARGETS = {QUIET: 0.3, CLUSTERED: 0.5}
_HEADINGS = ("operation", "datamart s", "hand-written s", "ratio", "target", "verdict")


def verdict(operation: str, ratio: float) -> tuple[str, str]:
    """Return the target of an operation and whether `ratio` meets it; dashes where there is none."""
    if operation not in TARGETS:
        return "-", "-"
    return f"<= {TARGETS[operation]}", "met" if ratio <= TARGETS[operation] else "missed"


def table(size: str, rows: int, repeat: int, measured: Iterable[Measured]) -> str:
    """Return a Markdown table, aligned as text."""
    lines = [_HEADINGS]
    for each in measured:
        seconds = (f"{each.seconds(DATAMART):.1f}", f"{each.seconds(HANDWRITTEN):.1f}")
        lines.append((each.operation, *seconds, f"{each.ratio:.2f}", *verdict(each.operation, each.ratio)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    shown = [_line(line, widths) for line in lines]
    shown.insert(1, "|" + "|".join(_rule(column, width) for column, width in enumerate(widths)) + "|")
    runs = "one run" if repeat == 1 else f"median of {repeat} runs"
    title = f"size {size}: {rows:,} settlement transactions; {runs}; {machine()}"
    return "\n".join([title, "", *shown])


def save(size: str, rows: int, measured: Iterable[Measured]) -> Path:
    """Write all timings to `bench/results/<size>.json` and return its path."""
    path = Path(__file__).parent / "results" / f"{size}.json"
    path.parent.mkdir(exist_ok=True)
    operations = {
        each.operation: {
            "ratio": round(each.ratio, 3),
            "target": TARGETS.get(each.operation),
            **{job: [round(timing.seconds, 2) for timing in each.timings[job]] for job in each.timings},
            "seconds of each table": [_seconds(timing.report) for timing in each.timings[DATAMART]],
        }
        for each in measured
    }
    result = {"size": size, "rows": rows, "machine": machine(), "operations": operations}
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return path


def _seconds(report: dict[str, Any]) -> dict[str, float]:
    return {name: outcome["seconds"] for name, outcome in {**report["tables"], **report["marts"]}.items()}


def machine() -> str:
    """Return the cores and the memory that the figures depend on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GB, {platform.machine()}, Python {platform.python_version()}"
    )


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    aligned = [
        cell.rjust(width) if 0 < column < 4 else cell.ljust(width)  # noqa: PLR2004  (the three numbers)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "| " + " | ".join(aligned) + " |"


def _rule(column: int, width: int) -> str:
    return "-" * (width + 1) + (":" if 0 < column < 4 else "-")  # noqa: PLR2004
