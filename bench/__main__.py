"""`python -m bench [--size S|M] [--repeat N]`, from the root of the repository."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.measure import SIZES, measure, seed
from bench.results import save, table
from iceberg_datamart.demo.proof import prove
from iceberg_datamart.demo.settings import DATABASE
from iceberg_datamart.embedded import postgres

if TYPE_CHECKING:
    from bench.contestants import Contestant


def main() -> None:
    """Seed, measure, prove, print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="S", help="S: 200 k settlement transactions, M: 2 M")
    parser.add_argument("--repeat", type=int, default=1, help="repetitions; the median is shown")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # or the server goes on
    rows = SIZES[arguments.size]
    with tempfile.TemporaryDirectory(prefix="iceberg-datamart-bench-") as folder:
        directory = Path(folder)
        with postgres.running(directory / "postgres", durable=False) as server:
            print(f"loading {rows:,} settlement transactions", file=sys.stderr, flush=True)
            seed(server, rows)
            url = server.url(DATABASE)
            measured, jobs = measure(directory, url, arguments.repeat)
            print(table(arguments.size, rows, arguments.repeat, measured))
            save(arguments.size, rows, measured)
            sys.exit(not all(_proven(job, url) for job in jobs))


def _proven(job: Contestant, url: str) -> bool:
    """Say whether a job's tables equal PostgreSQL's; a benchmark of a wrong answer is worth nothing."""
    proofs = list(prove(job.config, url))
    for proof in proofs:
        if not proof.comparison.equal:
            print(f"{job.name}: '{proof.table}' differs from its source: {proof.comparison}")
    equal = all(proof.comparison.equal for proof in proofs)
    if equal:
        print(f"{job.name}: {len(proofs)} tables equal PostgreSQL's, row by row.")
    return equal


if __name__ == "__main__":
    main()
