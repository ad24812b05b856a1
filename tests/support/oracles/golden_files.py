"""Texts that are compared exactly with files; UPDATE_GOLDEN=1 writes the files again."""

from __future__ import annotations

import os
from pathlib import Path

EXPECTED = Path(__file__).parents[2] / "golden" / "expected"


def check(name: str, text: str) -> None:
    """Compare `text` with the file `name`, or write it."""
    path, text = EXPECTED / name, text.rstrip("\n") + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    known = path.read_text(encoding="utf-8") if path.exists() else "(no such file)"
    assert text == known, f"{path.name} differs; if that is right, run these tests with UPDATE_GOLDEN=1"
