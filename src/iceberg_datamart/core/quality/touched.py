"""Whether a staged snapshot changed as many rows as were counted before it was written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# https://iceberg.apache.org/spec/#optional-snapshot-summary-fields
SUMMARY_FIELDS = (
    "added-records",
    "deleted-records",
    "added-position-deletes",
    "removed-position-deletes",
    "total-position-deletes",
)


@dataclass(frozen=True)
class Touched:
    """How many rows of a table a commit is to insert, update and delete."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    def accounts_for(self, summary: Mapping[str, str | None]) -> bool:
        """Return whether a snapshot's summary, of which `SUMMARY_FIELDS` are enough, proves these numbers.

        It cannot where files were rewritten that had position deletes: their rows are counted with those
        that were gone already.
        """

        def number(name: str) -> int:
            return int(summary.get(name) or 0)

        added, removed = number("added-records"), number("deleted-records")
        hidden = number("added-position-deletes") - number("removed-position-deletes")
        if removed == 0:
            return (added, hidden) == (self.inserted + self.updated, self.updated + self.deleted)
        unhidden = number("total-position-deletes") == number("removed-position-deletes") == hidden == 0
        return unhidden and added - removed == self.inserted - self.deleted

    def accounts_for_rows(self, before: tuple[int, int], after: tuple[int, int]) -> bool:
        """Return whether counted rows prove these numbers, each pair all rows and those of the run itself."""
        own = before[1] > 0 or after[1] == self.inserted + self.updated
        return own and after[0] - before[0] == self.inserted - self.deleted

    def __str__(self) -> str:
        """Return the numbers as a message shows them."""
        return f"{self.inserted} to insert, {self.updated} to update, {self.deleted} to delete"
