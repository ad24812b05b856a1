"""What is done to a table so that its files stay few: facts, and each step; no JVM, but to rewrite files."""

from __future__ import annotations

import logging
from copy import copy
from typing import TYPE_CHECKING

from iceberg_datamart.core.engines import SPARK
from iceberg_datamart.core.report.progress import Board
from iceberg_datamart.crash_points import crash_point
from iceberg_datamart.lake.answering import answering
from iceberg_datamart.lake.catalog import LakeCatalog
from iceberg_datamart.lake.engine import conflict
from iceberg_datamart.lake.iceberg import opened
from iceberg_datamart.lake.in_process.expiry import forget_snapshots
from iceberg_datamart.lake.layout import layout_of
from iceberg_datamart.lake.orphans import orphans_of, remove_orphans
from iceberg_datamart.lake.publishing import Publishing
from iceberg_datamart.lake.reachable import files_of, remove_files

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from iceberg_datamart.core.settings.model import Config
    from iceberg_datamart.core.state.history import TableHistory
    from iceberg_datamart.core.upkeep.layout import Layout, Rewrite
    from iceberg_datamart.lake.engine import Engine

log = logging.getLogger(__name__)


class LakeUpkeep:
    """The tables of one lake, kept in few files."""

    def __init__(self, config: Config, run_id: str) -> None:
        """Open the catalog; what is staged carries `run_id` until it is published. Raises: ConfigError."""
        self._catalog = LakeCatalog(config.catalog, config.database)
        self._config, self._run_id, self._chosen = config, run_id, SPARK
        self._engines: dict[str, Engine] = {}

    def using(self, engine: str) -> LakeUpkeep:
        """Return the same, with files written anew by one engine, which starts when something needs it."""
        other = copy(self)
        other._chosen = engine  # noqa: SLF001  (another of its kind)
        return other

    def history(self, table: str) -> TableHistory | None:
        """Return a table's columns and ancestors, or None where there is no table."""
        return self._catalog.history(table)

    def layout(self, table: str, snapshot_id: int | None) -> Layout:
        """Return how a table lies in its files.

        Raises: CommitConflictError where it is at another snapshot.
        """
        loaded = self._catalog.load(table)
        if loaded.metadata.current_snapshot_id != snapshot_id:
            raise conflict(table)
        with answering(table):
            return layout_of(loaded)

    def rewrite(self, rewrite: Rewrite, summary: Mapping[str, str]) -> None:
        """Commit the same rows in other files. Raises: see `ports.Upkeep`."""
        if self._chosen not in self._engines:
            self._engines[self._chosen] = opened(self._chosen, self._config, self._run_id, Board())
        Publishing(self._engines[self._chosen], rewrite.schema_id).rewrite(rewrite, summary)

    def expire(self, table: str, current: int, expired: Collection[int]) -> int:
        """Remove snapshots, and files that no other one is made of; return how many files went.

        Files go after the commit: a crash in between leaves some that `remove_orphans` finds. Raises:
        CommitConflictError where the table is not at `current` any more, or has other branches or tags;
        CatalogUnreachableError.
        """
        before = self._catalog.load(table)
        if before.metadata.current_snapshot_id != current:
            raise conflict(table)
        with answering(table):
            candidates = files_of(before.io, before.metadata, expired)
            forget_snapshots(before.catalog, before, expired)
        crash_point("snapshots-expired")
        after = self._catalog.load(table)
        with answering(table):
            kept = files_of(after.io, after.metadata, {each.snapshot_id for each in after.metadata.snapshots})
            gone = [location for name, location in candidates.items() if name not in kept]
            removed = remove_files(gone, after.io.delete)
        crash_point("files-removed")
        return removed

    def orphans(self, table: str, before: datetime) -> tuple[str, ...]:
        """Return the files below a table's location that nothing names and that were written before then.

        Raises: LakeError where they cannot be listed.
        """
        with answering(table):
            return orphans_of(lambda: self._catalog.load(table), before)

    def remove_orphans(self, table: str, orphans: Collection[str]) -> int:
        """Remove such files; return how many went."""
        with answering(table):
            return remove_orphans(self._catalog.load(table), orphans)

    def close(self) -> None:
        """Release what the engines hold; the JVM stays for other runs of this process."""
        for engine in self._engines.values():
            engine.release()
        self._engines.clear()
