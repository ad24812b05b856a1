"""What each test cost, in a file; as a program: which were the dearest, and what the matrix came to.

Loaded by `tests/conftest.py`; `pytest --timings FILE` writes one file of JSON, also where xdist has the work.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

ROOT = Path(__file__).parents[2]
DEAREST = 25
# Of a test's three reports the worst one counts.
_RANKS = ("passed", "skipped", "failed")


@dataclass
class Timings:
    """One call of pytest: its tests' seconds (set-up, call and tear-down) and outcomes, by test."""

    runtime: str
    commit: str
    began: str
    seconds: float = 0.0
    tests: dict[str, float] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)

    def add(self, test: str, seconds: float, outcome: str) -> None:
        """Count one of the reports of a test."""
        self.tests[test] = round(self.tests.get(test, 0.0) + seconds, 3)
        self.outcomes[test] = max(outcome, self.outcomes.get(test, outcome), key=_RANKS.index)


class Recorder:
    """The plugin: sees every report, the workers' too, and writes the file when all is done."""

    def __init__(self, file: Path) -> None:
        began = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._file = file
        self._started = time.monotonic()
        self._timings = Timings(file.stem, _commit(), began)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in one report; what xdist adds to the name of a grouped test is left out."""
        name, _, group = report.nodeid.rpartition("@")
        test = name if name and "]" not in group else report.nodeid
        self._timings.add(test, report.duration, report.outcome)

    def pytest_sessionfinish(self) -> None:
        """Write the file, whatever the outcome."""
        self._timings.seconds = round(time.monotonic() - self._started, 1)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(asdict(self._timings), indent=1) + "\n", "utf-8")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--timings FILE`; the file's name without its ending says which runtime it was."""
    parser.addoption("--timings", type=Path, metavar="FILE", help="write the seconds of each test as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Record in the process that hears of all tests: xdist's controller, or the only one."""
    file = config.getoption("--timings")
    if file is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(file), "timings")


def _commit() -> str:
    """Return the commit, marked where files were changed since; `unknown` outside of a repository."""
    words = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def read(folder: Path) -> list[Timings]:
    """Return what the calls of pytest left in a folder, in the order in which they began."""
    found = [Timings(**json.loads(file.read_text("utf-8"))) for file in folder.glob("*.json")]
    return sorted(found, key=lambda one: one.began)


def dearest(all_timings: Iterable[Timings], count: int = DEAREST) -> list[str]:
    """Return a line for each of the tests that took longest, whatever the runtime."""
    every = [(seconds, one.runtime, test) for one in all_timings for test, seconds in one.tests.items()]
    return [
        f"{seconds:8.1f} s  {runtime:8}  {test}" for seconds, runtime, test in sorted(every)[::-1][:count]
    ]


def rows(all_timings: Iterable[Timings]) -> list[str]:
    """Return a row of a Markdown table for each call of pytest: the form of docs/reliability.md."""
    return [
        f"| {one.commit} | {one.began[:10]} | {one.runtime} | {counts['passed']:,} | {counts['skipped']:,} | "
        f"{counts['failed']:,} | {one.seconds:,.0f} |"
        for one in all_timings
        for counts in [Counter(one.outcomes.values())]
    ]


HEAD = (
    "| commit | date | tests | passed | skipped | failed | seconds |",
    "|---|---|---|---|---|---|---|",
)


def main() -> None:
    """Print the dearest tests of a folder's files, then their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    found = read(parser.parse_args().folder)
    print(f"The {DEAREST} tests that took longest:", *dearest(found), sep="\n")  # noqa: T201
    print("", *HEAD, *rows(found), sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
