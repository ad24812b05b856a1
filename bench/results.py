"""What the benchmark tells: tables for people, a JSON file for what follows."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.contestants import BY_HAND, CONTESTANTS, OURS_ON_SPARK
from bench.series import EARLY, LATE
from bench.targets import MEGABYTE, verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.measure import Measured
    from bench.measurement import Measurement
    from bench.series import Grown, Series
    from bench.targets import Verdict

FOLDER = Path(__file__).parent / "results"
_FIGURES = ("seconds", "cpu_seconds", "peak_bytes", "files", "written_bytes")
_HEADINGS = (
    *("operation", "contestant", "s", "CPU s", "peak MB", "files", "MB written"),
    *(f"s ÷ {BY_HAND}", f"CPU ÷ {BY_HAND}", f"s ÷ {OURS_ON_SPARK}"),
)
_DASH = "-"


def table(title: str, repeat: int, measured: Sequence[Measured]) -> str:
    """Return Markdown tables of all figures and of the targets, aligned as text."""
    runs = "one run" if repeat == 1 else f"median of {repeat} runs"
    lines = [_figures(each, job) for each in measured for job in CONTESTANTS if job in each.runs]
    parts = [f"{title}; {runs}; {machine()}", aligned(_HEADINGS, lines, words=2)]
    judged = verdicts(measured)
    if judged:
        parts.append(_judged(judged))
    return "\n\n".join(parts)


def growth_table(grown: Grown) -> str:
    """Return a Markdown table of what more rows cost."""
    few, many = min(grown.sizes), max(grown.sizes)
    lines = []
    for job in grown.sizes[few].runs:
        seconds = [_number(grown.sizes[rows].median(job, "seconds"), 1) for rows in (few, many)]
        ratios = [_number(grown.ratio(job, figure), 2) for figure in ("seconds", "cpu_seconds", "peak_bytes")]
        lines.append((job, *seconds, *ratios))
    headings = ("contestant", f"s, {few:,} rows", f"s, {many:,} rows", "ratio", "CPU ratio", "memory ratio")
    title = f"1k clustered changes; median of 3 runs; {machine()}"
    return "\n\n".join([title, aligned(headings, lines, words=1)])


def runs_table(title: str, series: Mapping[str, Series]) -> str:
    """Return a Markdown table of what earlier runs cost later ones."""
    lines = []
    for job, each in series.items():
        seconds = [f"{each.median(part, 'seconds'):.2f}" for part in (EARLY, LATE)]
        ratios = [f"{each.ratio(figure):.2f}" for figure in ("seconds", "cpu_seconds", "peak_bytes")]
        lines.append((job, str(len(each.runs)), *seconds, *ratios))
    headings = ("contestant", "runs", "s, runs 8-12", "s, last 5", "ratio", "CPU ratio", "memory ratio")
    return "\n\n".join([f"{title}; {machine()}", aligned(headings, lines, words=1)])


def save(name: str, facts: Mapping[str, Any], folder: Path = FOLDER) -> Path:
    """Write the facts and the machine's to `<name>.json` and return its path."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    text = json.dumps({**facts, "machine": machine()}, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def facts_of(measured: Sequence[Measured]) -> dict[str, Any]:
    """Return all runs and the targets as plain values."""
    operations = {each.operation: runs_of(each) for each in measured}
    return {"operations": operations, "targets": [_verdict(each) for each in verdicts(measured)]}


def runs_of(measured: Measured) -> dict[str, Any]:
    """Return each contestant's runs and its ratios as plain values."""
    found = {}
    for job, runs in measured.runs.items():
        ratios = {
            f"{figure} ÷ {other}": round(value, 3)
            for other in (BY_HAND, OURS_ON_SPARK)
            for figure in ("seconds", "cpu_seconds")
            if (value := measured.ratio(job, other, figure)) is not None
        }
        found[job] = {"runs": [plain(each) for each in runs], "ratios": ratios}
    return found


def plain(run: Measurement) -> dict[str, Any]:
    """Return one run as plain values, with the seconds of each table where its report has them."""
    outcomes = {**run.report.get("tables", {}), **run.report.get("marts", {})}
    seconds = {name: outcome["seconds"] for name, outcome in outcomes.items()}
    return {**run.figures(), **({"seconds of each table": seconds} if seconds else {})}


def machine() -> str:
    """Return the cores and the memory that the figures depend on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GB, {platform.machine()}, Python {platform.python_version()}"
    )


def aligned(headings: Sequence[str], lines: Iterable[Sequence[str]], words: int) -> str:
    """Return a Markdown table, aligned as text; all columns but the first `words` hold numbers."""
    rows = [headings, *lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(headings))]
    shown = [
        " | ".join(
            cell.ljust(width) if column < words else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rules = ["-" * (width + 1) + ("-" if column < words else ":") for column, width in enumerate(widths)]
    return "\n".join([f"| {shown[0]} |", "|" + "|".join(rules) + "|", *(f"| {row} |" for row in shown[1:])])


def _figures(measured: Measured, job: str) -> tuple[str, ...]:
    seconds, cpu, peak, files, size = (measured.median(job, figure) or 0 for figure in _FIGURES)
    ratios = (
        measured.ratio(job, BY_HAND),
        measured.ratio(job, BY_HAND, "cpu_seconds"),
        measured.ratio(job, OURS_ON_SPARK),
    )
    return (
        *(measured.operation, job, f"{seconds:.1f}", f"{cpu:.1f}", f"{peak / MEGABYTE:.0f}"),
        *(f"{files:.0f}", f"{size / MEGABYTE:.2f}", *(_number(ratio, 2) for ratio in ratios)),
    )


def _judged(judged: Iterable[Verdict]) -> str:
    lines = [
        (
            *(each.target.operation, each.target.subject, each.target.shown(each.value)),
            *(each.target.limit, "met" if each.met else "missed"),
        )
        for each in judged
    ]
    return aligned(("operation", "what", "measured", "target", "verdict"), lines, words=2)


def _verdict(each: Verdict) -> dict[str, Any]:
    target = each.target
    return {
        "operation": target.operation,
        "what": target.subject,
        "value": round(each.value, 3),
        "target": target.most,
        "met": each.met,
    }


def _number(value: float | None, digits: int) -> str:
    return _DASH if value is None else f"{value:.{digits}f}"
