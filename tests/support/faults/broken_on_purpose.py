"""Breaks each rule and defect on purpose, in a copy of the package, and sees its test fail, on each engine.

`make broken` runs all of them, one after the other; with rules as arguments, such as `R7 D5`, some.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from iceberg_datamart.core.engines import IN_PROCESS, SPARK
from support.faults.broken_defects import DEFECTS
from support.faults.broken_later_rules import LATER_RULES
from support.faults.broken_rules import FIRST_RULES

if TYPE_CHECKING:
    from support.faults.broken import Broken

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "src"
PACKAGE = Path("iceberg_datamart")


BROKEN = (*FIRST_RULES, *LATER_RULES, *DEFECTS)
# Where tests have whole runs, of whichever engine.
_WITH_RUNS = ("tests/e2e/", "tests/faults/")


def engines_of(broken: Broken) -> tuple[str, ...]:
    """Return the engines on which the rule's test must fail: one, where it has no runs or is of one alone."""
    if broken.only is not None:
        return (broken.only,)
    return (IN_PROCESS, SPARK) if broken.test.startswith(_WITH_RUNS) else (IN_PROCESS,)


def failure_of(broken: Broken, engine: str) -> str | None:
    """Return the last line that the rule's test failed with; None where it passed all the same."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "src"
        shutil.copytree(SOURCE, copy)
        file = copy / PACKAGE / broken.file
        text = file.read_text("utf-8")
        for kept, instead in ((broken.kept, broken.broken), broken.also):
            text = text.replace(kept, instead) if kept else text
        file.write_text(text, "utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "--tb=line", "--show-capture=no", broken.test],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(copy), "COLUMNS": "300", "ENGINE": engine},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode not in {0, 1}:
        raise RuntimeError(done.stdout + done.stderr)
    said = [line for line in done.stdout.splitlines() if line.startswith(("E ", "/", "FAILED"))]
    return None if done.returncode == 0 else said[-1] if said else "failed"


def main(wanted: list[str]) -> int:
    """Break what is `wanted` (default: all), print what failed; return how many were not noticed."""
    console = Console(width=180)
    table = Table("rule", "broken by", "test", "engine", "failed with")
    unnoticed = 0
    chosen = [broken for broken in BROKEN if not wanted or broken.rule in wanted]
    for broken, engine in [(each, engine) for each in chosen for engine in engines_of(each)]:
        failure = failure_of(broken, engine)
        unnoticed += failure is None
        told = failure or "NOT NOTICED"
        console.print(f"{broken.rule}, {engine}: {told}", markup=False)
        table.add_row(broken.rule, broken.how, broken.test.split("::")[-1], engine, told)
    console.print(table)
    return unnoticed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
