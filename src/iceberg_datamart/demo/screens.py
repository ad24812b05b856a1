"""What the demo shows: tables that fit 80 columns, counts in words, the commands to go on with."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from iceberg_datamart.demo.changes import ChangeSummary
    from iceberg_datamart.demo.folder import DemoFolder
    from iceberg_datamart.demo.proof import Proof
    from iceberg_datamart.receipt import TableHistory
    from iceberg_datamart.report import RunReport

_RUN_COLUMNS = ("table", "outcome", "read", "inserted", "updated", "deleted", "seconds")
_HISTORY_COLUMNS = ("snapshot id", "committed", "inserted", "updated", "deleted", "rows")
_PROOF_COLUMNS = ("table", "rows", "compared with PostgreSQL")
_TEXTS = {"table", "outcome", "committed", "compared with PostgreSQL"}


def run_table(report: RunReport) -> Table:
    """Return what became of each table, the marts last."""
    outcomes = {**report.tables, **report.marts}
    return _table(
        _RUN_COLUMNS,
        (
            (
                *(name, outcome.outcome),
                *(f"{n:,}" for n in (outcome.rows_read, outcome.inserted, outcome.updated, outcome.deleted)),
                f"{outcome.seconds:.1f}",
            )
            for name, outcome in outcomes.items()
        ),
    )


def history_table(history: TableHistory) -> Table:
    """Return the snapshots, the oldest first."""
    return _table(
        _HISTORY_COLUMNS,
        (
            (
                str(snapshot.snapshot_id),
                snapshot.committed_at.strftime("%H:%M:%S"),
                *(f"{snapshot.changed(kind):,}" for kind in ("inserted", "updated", "deleted")),
                f"{snapshot.rows:,}",
            )
            for snapshot in reversed(history.snapshots)
        ),
    )


def proof_table(proofs: Iterable[Proof]) -> Table:
    """Return a line for each table: how many rows were compared, and what differs."""
    rows = ((proof.table, f"{proof.comparison.rows:,}", proof_text(proof)) for proof in proofs)
    return _table(_PROOF_COLUMNS, rows)


def proof_text(proof: Proof) -> str:
    """Return `equal`, or how many rows differ and the first of them."""
    comparison = proof.comparison
    if comparison.equal:
        return "equal"
    first = "; ".join(
        f"{difference.kind} " + ", ".join(f"{n}={v}" for n, v in zip(proof.key, difference.key, strict=True))
        for difference in comparison.first
    )
    more = "; …" if comparison.differences > len(comparison.first) else ""
    return f"{comparison.differences:,} differ: {first}{more}"


def changes_text(made: ChangeSummary) -> str:
    """Return the changes of a busy hour in words."""
    updated = made.accounts_updated + made.risks_updated + made.metadata_tied + made.adjustments_updated
    return (
        f"{made.transactions_inserted:,} settlement transactions, {made.adjustments_inserted:,} adjustments, "
        f"{made.accounts_inserted:,} accounts and {made.queues_inserted:,} queues are new; "
        f"{updated:,} rows changed on one side only; {made.queues_moved:,} queues moved to another account; "
        f"{made.queues_deleted:,} queues and {made.adjustments_deleted:,} adjustments were deleted."
    )


def commands(folder: DemoFolder) -> list[tuple[str, str]]:
    """Return the commands to go on with, and what each does."""
    config, directory = shlex.quote(_near(folder.config_file)), shlex.quote(_near(folder.directory))
    program = shlex.quote(_program())
    return [
        (f"{program} status --config {config}", "where every table stands"),
        (f"{program} history account_settlements --config {config}", "the mart's snapshots"),
        (f"{program} demo --directory {directory} --change", "change the source again"),
        (f"{program} run --config {config}", "and bring the tables up to it"),
        (f"{program} demo --directory {directory} --stop", "stop PostgreSQL"),
    ]


def _program() -> str:
    """Return the name by which a shell finds the program that runs now."""
    name = Path(sys.argv[0]).name
    found = shutil.which(name)
    same = found is not None and Path(found).absolute() == Path(sys.argv[0]).absolute()
    return name if same else _near(Path(sys.argv[0]).absolute())


def _near(path: Path) -> str:
    """Return the path from the working directory, where it lies below that."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        is_text = name in _TEXTS
        wraps = is_text and name == columns[-1]
        table.add_column(name, justify="left" if is_text else "right", no_wrap=not wraps)
    for row in rows:
        table.add_row(*row)
    return table
