"""What one commit records in its snapshot's summary (R1), and the proof of a commit."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.load_types import MART
from iceberg_datamart.core.state.watermark import Watermark, least_cursor

if TYPE_CHECKING:
    from collections.abc import Mapping

# Of all summary and table properties that are this package's.
PREFIX = "iceberg-datamart."
_CONSUMED = PREFIX + "consumed."
# Which engine wrote the commit.
ENGINE = PREFIX + "engine"
# Marks a commit of `maintain`, and says what it did. Beside it stands the state of the commit before.
UPKEEP = PREFIX + "maintain"
_FAILED_INPUTS = PREFIX + "uneven"


@dataclass(frozen=True)
class MirrorState:
    """The CDC state that travels in the same commit as a mirror's rows.

    `cursor` names the cursor column. `greatest` and `read_at` matter to integer cursors: transactions
    that were open at `read_at` may still bring smaller values. `fingerprint` tells what the window's rows
    looked like, so that a later run can see that nothing changed without reading. `column_ids` are those of
    the source's columns (see `schema.recorded_column_ids`); none where it has none, or none were recorded.
    `recipe` is the digest of what decided how the rows were read (R19). `parts` is the text of
    `setbacks.parts_text`; `transaction`, `timeline` and `database` are those of the `Horizon` (R20). All of
    these are None in what earlier versions committed.
    """

    run_id: str
    load_type: str
    source: str
    complete_through: datetime
    read_at: datetime
    cursor: str | None = None
    watermark: Watermark | None = None
    greatest: Watermark | None = None
    fingerprint: str | None = None
    column_ids: Mapping[str, int] = field(default_factory=dict)
    recipe: str | None = None
    parts: str | None = None
    transaction: int | None = None
    timeline: int | None = None
    database: int | None = None

    def settled(self, horizon: datetime) -> Watermark | None:
        """Return the watermark that a read from `watermark` on establishes, with the horizon at `horizon`.

        An integer's is the greatest value of the earlier read, once all that were open then have ended.
        """
        integer = self.greatest is not None and self.greatest.kind is CursorKind.INTEGER
        return self.greatest if integer and horizon >= self.read_at else self.watermark

    def is_held_back(self, holds_from: datetime, zone: str) -> bool:
        """Return whether a transaction open since `holds_from` kept the watermark below what was read.

        `zone` is that of a cursor column which stores none.
        """
        if self.greatest is None or holds_from > self.read_at:
            return False
        limit = least_cursor(self.greatest.kind, zone, holds_from)
        unheld = least_cursor(self.greatest.kind, zone, self.read_at)
        if limit is None or unheld is None:
            return self.watermark is None or self.watermark.value < self.greatest.value
        return limit.value < min(self.greatest.value, unheld.value)

    def summary(self) -> dict[str, str]:
        """Return the summary properties; `mirror_state` reads them back."""
        kind = (self.watermark or self.greatest or _NO_KIND).kind
        found = {
            "run-id": self.run_id,
            "load-type": self.load_type,
            "source": self.source,
            "cursor": self.cursor,
            "complete-through": _text(self.complete_through),
            "read-at": _text(self.read_at),
            "cursor-type": kind.value if self.watermark or self.greatest else None,
            "watermark": None if self.watermark is None else str(self.watermark),
            "greatest-cursor": None if self.greatest is None else str(self.greatest),
            "fingerprint": self.fingerprint,
            "columns": json.dumps(self.column_ids, separators=(",", ":")) if self.column_ids else None,
            "recipe": self.recipe,
            "parts": self.parts,
            "transaction": None if self.transaction is None else str(self.transaction),
            "timeline": None if self.timeline is None else str(self.timeline),
            "database": None if self.database is None else str(self.database),
        }
        return {PREFIX + key: value for key, value in found.items() if value is not None}


_NO_KIND = Watermark(CursorKind.INTEGER, 0)


@dataclass(frozen=True)
class MartState:
    """What a mart's commit records: the mirrors' snapshots that it is the join of (R8)."""

    run_id: str
    definition: str
    consumed: Mapping[str, int]
    failed_inputs: tuple[str, ...] = ()

    def summary(self) -> dict[str, str]:
        """Return the summary properties; `mart_state` reads them back."""
        found = {
            PREFIX + "run-id": self.run_id,
            PREFIX + "load-type": MART,
            PREFIX + "definition": self.definition,
            **{_CONSUMED + table: str(snapshot) for table, snapshot in self.consumed.items()},
        }
        return found | ({_FAILED_INPUTS: ", ".join(self.failed_inputs)} if self.failed_inputs else {})


@dataclass(frozen=True)
class CommitReceipt:
    """Proof that Iceberg committed one change; only a `ports.Lake` issues one."""

    table: str
    snapshot_id: int
    inserted: int = 0
    updated: int = 0
    deleted: int = 0


def mirror_state(summary: Mapping[str, str]) -> MirrorState | None:
    """Return the CDC state that a summary records, or None where it records none."""
    if PREFIX + "source" not in summary:
        return None
    said = {key.removeprefix(PREFIX): value for key, value in summary.items() if key.startswith(PREFIX)}
    kind = CursorKind(said["cursor-type"]) if "cursor-type" in said else None
    return MirrorState(
        run_id=said["run-id"],
        load_type=said["load-type"],
        source=said["source"],
        cursor=said.get("cursor"),
        complete_through=_instant(said["complete-through"]),
        read_at=_instant(said["read-at"]),
        watermark=_watermark(kind, said.get("watermark")),
        greatest=_watermark(kind, said.get("greatest-cursor")),
        fingerprint=said.get("fingerprint"),
        column_ids=json.loads(said.get("columns", "{}")),
        recipe=said.get("recipe"),
        parts=said.get("parts"),
        transaction=_integer(said.get("transaction")),
        timeline=_integer(said.get("timeline")),
        database=_integer(said.get("database")),
    )


def mart_state(summary: Mapping[str, str]) -> MartState | None:
    """Return what a mart's summary says it consumed, or None where it says nothing."""
    if PREFIX + "definition" not in summary:
        return None
    return MartState(
        run_id=summary[PREFIX + "run-id"],
        definition=summary[PREFIX + "definition"],
        consumed={
            key.removeprefix(_CONSUMED): int(value)
            for key, value in summary.items()
            if key.startswith(_CONSUMED)
        },
        failed_inputs=tuple(filter(None, summary.get(_FAILED_INPUTS, "").split(", "))),
    )


def _integer(text: str | None) -> int | None:
    return None if text is None else int(text)


def _text(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _watermark(kind: CursorKind | None, text: str | None) -> Watermark | None:
    return None if kind is None or text is None else Watermark.parse(kind, text)
