"""`python -m bench [--size S|M] [--only …] [--growth | --runs N]`, from the root of the repository."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from bench.contestants import CONTESTANTS, DLT, OURS, OURS_IN_PROCESS, OURS_ON_SPARK
from bench.measure import SIZES, measure, prove_all, seed, warm_up
from bench.measurement import RunFailedError
from bench.results import facts_of, growth_table, plain, runs_of, runs_table, save, table
from bench.series import GROWTH, LEAST_RUNS, grow, repeat_runs
from iceberg_datamart.embedded import postgres


def main() -> None:
    """Seed, measure, prove, print."""
    arguments = parsed(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # or the server goes on
    with tempfile.TemporaryDirectory(prefix="iceberg-datamart-bench-") as folder:
        directory = Path(folder)
        try:
            equal = _benchmark(directory, arguments)
        except RunFailedError as error:
            sys.exit(f"Nothing was measured: {error}")
        sys.exit(not all(equal.values()))


def _benchmark(directory: Path, arguments: argparse.Namespace) -> dict[str, bool]:
    """Return whose tables equal PostgreSQL's. Raises: RunFailedError where a contestant cannot run at all."""
    if arguments.growth is not None:
        return _grow(directory, arguments)
    with postgres.running(directory / "postgres", durable=False) as server:
        warm_up(directory, server, arguments.only)
        url = seed(server, arguments.rows)
        return (_repeat_runs if arguments.runs else _measure)(directory, url, arguments)


def parsed(words: list[str]) -> argparse.Namespace:
    """Return what was asked for, with all defaults filled in."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="S", help="S: 200 k settlement transactions, M: 2 M")
    parser.add_argument("--rows", type=int, help="another number of settlement transactions")
    parser.add_argument("--repeat", type=int, default=1, help="repetitions; the median is shown")
    parser.add_argument("--only", help=f"contestants, between commas: {', '.join(CONTESTANTS)}")
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--growth", type=int, nargs="*", metavar="ROWS", help="1k clustered changes with few and many rows"
    )
    other.add_argument(
        "--runs", type=int, metavar="N", help="N small runs of ours: the late beside the early"
    )
    arguments = parser.parse_args(words)
    arguments.name = arguments.size if arguments.rows is None else f"{arguments.rows}-rows"
    arguments.rows = SIZES[arguments.size] if arguments.rows is None else arguments.rows
    if arguments.growth is not None:
        arguments.growth = arguments.growth or list(GROWTH)
        if len(set(arguments.growth)) == 1:
            parser.error("--growth needs two numbers of rows, or none")
    if arguments.runs is not None and arguments.runs < LEAST_RUNS:
        parser.error(f"--runs needs at least {LEAST_RUNS}, or early and late runs are the same")
    arguments.only = _chosen(parser, arguments)
    return arguments


def _chosen(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[str]:
    default = list(CONTESTANTS)
    if arguments.growth is not None:
        default = [OURS_IN_PROCESS, OURS_ON_SPARK]
    if arguments.runs is not None:
        default = [OURS_IN_PROCESS]
    chosen = default if arguments.only is None else arguments.only.split(",")
    for name in chosen:
        if name not in CONTESTANTS:
            parser.error(f"--only: {name!r} is none of {', '.join(CONTESTANTS)}")
        if arguments.runs is not None and name not in OURS:
            parser.error(f"--runs measures only {' and '.join(OURS)}: {name!r} is none of ours")
    if DLT in chosen and find_spec("dlt") is None:
        parser.error("dlt is not installed: `make bench` installs it, and --only leaves it out")
    return list(dict.fromkeys(chosen))


def _measure(directory: Path, url: str, arguments: argparse.Namespace) -> dict[str, bool]:
    measured, entered = measure(directory, url, arguments.only, arguments.repeat)
    title = f"size {arguments.name}: {arguments.rows:,} settlement transactions"
    print(table(title, arguments.repeat, measured), flush=True)
    facts = {"size": arguments.name, "rows": arguments.rows, **facts_of(measured), "failed": entered.failed}
    save(arguments.name, facts)  # the proof may be cut off
    equal = prove_all(entered)
    save(arguments.name, {**facts, "equal": equal})
    return equal


def _grow(directory: Path, arguments: argparse.Namespace) -> dict[str, bool]:
    grown = grow(directory, arguments.only, arguments.growth)
    print(growth_table(grown), flush=True)
    sizes = {str(rows): runs_of(measured) for rows, measured in grown.sizes.items()}
    save("growth", {"rows": sizes, "equal": grown.equal})
    return grown.equal


def _repeat_runs(directory: Path, url: str, arguments: argparse.Namespace) -> dict[str, bool]:
    series, equal = repeat_runs(directory, url, arguments.only, arguments.runs)
    print(runs_table(f"{arguments.rows:,} settlement transactions", series), flush=True)
    runs = {name: [plain(run) for run in each.runs] for name, each in series.items()}
    save(f"runs-{arguments.name}", {"rows": arguments.rows, "runs": runs, "equal": equal})
    return equal


if __name__ == "__main__":
    main()
