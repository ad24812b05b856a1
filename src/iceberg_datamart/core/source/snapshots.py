"""Which rows of an Iceberg source a run reads: those appended since it was read last, or all."""

from __future__ import annotations

import re
from dataclasses import dataclass

_POSITION = re.compile(r"source-snapshot (\d+) (\w+)")
_APPEND = "append"
# Operations that change no row of the table; they are those of https://iceberg.apache.org/spec/#snapshots
_HARMLESS = {_APPEND, "replace"}


@dataclass(frozen=True)
class SourceSnapshots:
    """The present snapshot of an Iceberg source and its ancestors, newest first: id and operation.

    `settings` digests what else decides what is read: columns and `soft_delete`.
    """

    ancestors: tuple[tuple[int, str], ...]
    settings: str

    @property
    def current(self) -> int | None:
        """Return the snapshot that is read; None for a table that never had one."""
        return self.ancestors[0][0] if self.ancestors else None

    @property
    def position(self) -> str | None:
        """Return the text that a mirror's commit records of what was read (R1)."""
        return None if self.current is None else f"source-snapshot {self.current} {self.settings}"

    def since(self, position: str | None) -> tuple[int | None, str]:
        """Return the snapshot after which appended rows are all that is new, and why; None: all is read.

        It is the present one where no row is new.
        """
        found = _POSITION.fullmatch(position or "")
        if found is None:
            return None, "the mirror does not say which snapshot of the source it was read from"
        read, settings = int(found[1]), found[2]
        if settings != self.settings:
            return None, "the columns or soft_delete are others"
        ids = [snapshot for snapshot, _ in self.ancestors]
        if read not in ids:
            return None, f"the source has no snapshot {read} before its present one any more"
        later = {operation for _, operation in self.ancestors[: ids.index(read)]}
        if not later <= _HARMLESS:
            return None, f"the source had rows overwritten or deleted since its snapshot {read}"
        if _APPEND not in later:
            return self.current, f"the source appended no rows since its snapshot {read}"
        return read, f"the source only appended rows since its snapshot {read}"
