"""What the demo shows: tables that fit 80 columns, counts in words, the commands to go on with."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from iceberg_datamart.cli.output import compact_table, counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from iceberg_datamart.core.state.history import TableHistory
    from iceberg_datamart.demo.changes import ChangeSummary
    from iceberg_datamart.demo.folder import DemoFolder
    from iceberg_datamart.demo.proof import Proof

_HISTORY_COLUMNS = ("snapshot id", "committed", "inserted", "updated", "deleted", "rows")
_PROOF_COLUMNS = ("table", "rows", "compared with PostgreSQL")


def history_table(history: TableHistory) -> Table:
    """Return the snapshots, the oldest first."""
    return compact_table(
        _HISTORY_COLUMNS,
        (
            (
                str(snapshot.snapshot_id),
                (history.published_at(snapshot.snapshot_id) or snapshot.committed_at).strftime("%H:%M:%S"),
                *(f"{snapshot.changed(kind):,}" for kind in ("inserted", "updated", "deleted")),
                counted(history.rows_of(snapshot)),
            )
            for snapshot in reversed(history.snapshots)
        ),
        texts=2,
    )


def proof_table(proofs: Iterable[Proof]) -> Table:
    """Return a line for each table: how many rows were compared, and what differs."""
    rows = ((proof.table, f"{proof.comparison.rows:,}", proof_text(proof)) for proof in proofs)
    return compact_table(_PROOF_COLUMNS, rows, texts=3)


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
