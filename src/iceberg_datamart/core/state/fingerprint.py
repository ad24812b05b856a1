"""What a window of a source held, so that a later run can see that nothing changed without reading it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceberg_datamart.core.state.watermark import Watermark

if TYPE_CHECKING:
    from typing_extensions import Self

    from iceberg_datamart.core.instants import CursorKind


@dataclass(frozen=True)
class Fingerprint:
    """Where a window starts, closed, and the digest of all that it held."""

    lower: Watermark
    digest: str

    def __str__(self) -> str:
        """Return the text that a commit records; `parse` reads it back."""
        return f"{self.lower} {self.digest}"

    @classmethod
    def parse(cls, kind: CursorKind, text: str) -> Self:
        """Return what a commit recorded of a window with a cursor of this kind."""
        lower, _, digest = text.rpartition(" ")
        return cls(Watermark.parse(kind, lower), digest)
