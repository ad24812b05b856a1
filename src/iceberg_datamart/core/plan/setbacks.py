"""Signs that a source went back or was filled again since a mirror was read from it (R20)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.source.reads import StoredPart

if TYPE_CHECKING:
    from collections.abc import Iterable

    from iceberg_datamart.core.source.reads import Probe, SourceTable
    from iceberg_datamart.core.state.commit import MirrorState
    from iceberg_datamart.core.state.watermark import Horizon, ReadWindow

# More parts than this are recorded by one digest, so that summaries stay small.
_MOST_PARTS = 400
_DIGEST, _LINKS = "#", "@"


def setback(state: MirrorState, source: SourceTable, horizon: Horizon) -> str | None:
    """Return why rows below the watermark may be others than the mirror holds; None where no sign says so.

    `state` is the newest one that the mirror recorded before the source's point was taken.
    """
    return (
        _server(state, horizon)
        or _clock(state, source, horizon)
        or _parts(state, source)
        or _cursor(state, source)
    )


def fell_below(
    state: MirrorState | None, source: SourceTable, window: ReadWindow, probe: Probe
) -> str | None:
    """Return why a window without the row at its lower end tells that the cursor went back; else None.

    Of an integer cursor `setback` knows better. Files are a log of versions: what they held may be gone.
    """
    saved = None if state is None else state.watermark
    if not source.is_digested or source.integers is not None:
        return None
    if saved is None or window.lower is None or window.lower.value > saved.value:
        return None
    if probe.greatest is not None and probe.greatest.value >= saved.value:
        return None
    greatest = "no row" if probe.greatest is None else f"none later than {probe.greatest}"
    return f"from its watermark {saved} on there is {greatest}: the cursor went back, or rows were deleted"


def parts_text(parts: Iterable[StoredPart]) -> str | None:
    """Return what a commit records of the parts that a table is stored in; None where they are not known."""
    words = [_word(part) for part in sorted(parts, key=lambda part: part.oid)]
    if len(words) <= _MOST_PARTS:
        return " ".join(words) or None
    return _DIGEST + hashlib.sha256(" ".join(words).encode()).hexdigest()[:16]


def _word(part: StoredPart) -> str:
    file = "" if part.oid == part.file else f"={part.file}"
    return f"{part.oid}{file}{_LINKS}{part.links}" if part.links else f"{part.oid}{file}"


def _server(state: MirrorState, horizon: Horizon) -> str | None:
    if None not in (state.database, horizon.database) and state.database != horizon.database:
        return (
            f"the database is another one under the same name, with oid {horizon.database} instead of "
            f"{state.database}: it may be a copy that was renamed"
        )
    if None not in (state.timeline, horizon.timeline) and state.timeline != horizon.timeline:
        return (
            f"the server is on timeline {horizon.timeline}, and was on {state.timeline}: "
            "a failover or a recovery may have undone transactions that were read"
        )
    before, now = state.transaction, horizon.transaction
    if before is not None and now is not None and now < before:
        return (
            f"the server's transactions went back, from {before} to {now}: "
            "it was restored, or lags behind the one that was read"
        )
    return None


def _clock(state: MirrorState, source: SourceTable, horizon: Horizon) -> str | None:
    if source.cursor is None or source.snapshots is not None or horizon.clock >= state.read_at:
        return None
    return f"the source's clock went back: it says {horizon.clock}, and said {state.read_at} at the last read"


def _parts(state: MirrorState, source: SourceTable) -> str | None:
    if state.parts is None or not source.parts:
        return None
    if state.parts.startswith(_DIGEST) or len(source.parts) > _MOST_PARTS:
        same = state.parts == parts_text(source.parts)
        return None if same else "a partition was attached, detached, rewritten or truncated"
    recorded = {part.oid: part for part in map(_read, state.parts.split())}
    for part in source.parts:
        known = recorded.get(part.oid)
        if known is None and part.holds_rows:
            return f"'{part.name}' was added to it, with what it holds"
        if known is not None and known.file != part.file:
            return f"'{part.name}' was truncated, restarted or rewritten"
        if known is not None and known.links not in {"", part.links}:
            return f"'{part.name}' was detached and attached again"
    return None


def _read(word: str) -> StoredPart:
    """Return what `_word` wrote; the first ones had no links."""
    numbers, _, links = word.partition(_LINKS)
    oid, _, file = numbers.partition("=")
    return StoredPart(int(oid), int(file or oid), "", links=links)


def _cursor(state: MirrorState, source: SourceTable) -> str | None:
    """Return why an integer cursor went back; a sequence that went on tells that rows were deleted only."""
    saved = state.watermark
    if saved is None or saved.kind is not CursorKind.INTEGER or source.integers is None:
        return None
    greatest, drawn, hidden = source.integers.greatest, source.integers.drawn, source.integers.hidden
    if source.integers.unordered is not None:
        return source.integers.unordered
    if hidden is not None:
        return (
            f"this role may not see where the cursor's sequence {hidden} stands, which may have gone back: "
            f"GRANT SELECT ON SEQUENCE {hidden} lets runs read changes alone"
        )
    if drawn is not None and drawn < saved.value:
        return f"the cursor's sequence went back: it stands at {drawn}, below the watermark {saved}"
    if drawn is None and (greatest is None or greatest < saved.value):
        return f"the cursor went back: its greatest value is {greatest}, below the watermark {saved}"
    return None
