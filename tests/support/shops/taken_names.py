"""Names that the package's own SQL gives to relations and columns, as its source has them."""

from __future__ import annotations

import re
from pathlib import Path

import iceberg_datamart

PACKAGE = Path(iceberg_datamart.__file__).parent
# Those of a mart's tables are numbered.
_NUMBERED = {"_datamart_0", "_datamart_1"}


def internal_aliases() -> list[str]:
    """Return every name that begins with `_datamart_`, sorted."""
    texts = (path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    found = {name for text in texts for name in re.findall(r"\b_datamart_[a-z]\w*", text)}
    return sorted(found | _NUMBERED)
