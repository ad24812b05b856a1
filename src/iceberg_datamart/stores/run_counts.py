"""How many runs each table had since it was reconciled: a small file beside the timestamp file.

Losing it is harmless: its tables are reconciled once more.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from iceberg_datamart.errors import TimestampFileError
from iceberg_datamart.stores.file_lock import write_new
from iceberg_datamart.stores.timestamp_file import local_path

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY = "runs_since_reconcile"


def parse_counts(content: bytes) -> dict[str, int]:
    """Return the runs by table; none for a content that makes no sense."""
    try:
        found = json.loads(content)[_KEY]
        return {str(name): int(count) for name, count in found.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def counts_text(counts: Mapping[str, int]) -> str:
    """Return the content that `parse_counts` reads back."""
    return json.dumps({_KEY: dict(counts)}, indent=2) + "\n"


class LocalRunCounts:
    """The counts in a folder, replaced as a whole."""

    def __init__(self, timestamp_file: str) -> None:
        """Name the file after the timestamp file; it need not exist. Raises: ConfigError."""
        self._path = local_path(timestamp_file).with_suffix(".reconcile.json")

    def read(self) -> dict[str, int]:
        """Return the runs by table; none for a file that is missing or makes no sense."""
        try:
            return parse_counts(self._path.read_bytes())
        except OSError:
            return {}

    def write(self, counts: Mapping[str, int]) -> None:
        """Replace the counts. Raises: TimestampFileError."""
        draft = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_new(draft, counts_text(counts))
            draft.replace(self._path)
        except OSError as error:
            raise TimestampFileError(f"{self._path} cannot be written: {error.strerror}") from error
