"""The configuration file of a demo: the shipped six tables, with everything in one folder."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

from iceberg_datamart.app.settings_file import default_config_text
from iceberg_datamart.errors import DatamartError

if TYPE_CHECKING:
    from pathlib import Path

# The database of the embedded server that holds the six source tables.
DATABASE = "prd"

_HEAD = """\
# A demo: PostgreSQL, the Iceberg catalog, the tables' files and the timestamp file, all in this folder.
# Every setting is described in docs/configuration.md.
version: 1

# An Iceberg catalog in a SQLite file; the tables' files lie in a folder.
catalog:
  type: sql
  uri: {uri}
  warehouse: {warehouse}

# The database of all mirrors and marts.
database: datamart

# The timestamp file; without it, everything is loaded.
state:
  timestamp_file: {timestamp_file}

# Where the rows come from. The url holds a password: keep this file to yourself.
sources:
  prd:
    type: postgres
    url: {url}

"""
_TABLES = "# The mirrors: "
_URL = re.compile(r'"postgresql://[^"]*"')


def config_text(directory: Path, url: str) -> str:
    """Return the settings of a demo whose files lie in `directory`, an absolute path.

    The warehouse is a path and no URL, in which PyIceberg would take `#` for the end of the path.
    Raises: DatamartError for a path with a question mark, where SQLite's address would end.
    """
    if "?" in str(directory):
        message = f"a catalog in SQLite cannot lie below {directory}: its address would end at the '?'"
        raise DatamartError(message, hint="Choose a folder without '?' with --directory.")
    head = _HEAD.format(
        uri=_scalar(f"sqlite:///{directory}/catalog.db"),
        warehouse=_scalar(f"{directory}/warehouse"),
        timestamp_file=_scalar(f"{directory}/last_load_timestamp.csv"),
        url=_scalar(url),
    )
    _, mark, tables = default_config_text().partition(_TABLES)
    return head + mark + tables


def with_url(text: str, url: str) -> str:
    """Return the settings with another source url; a server that starts again may get another port."""
    return _URL.sub(lambda _: _scalar(url), text, count=1)


def write_config(path: Path, text: str) -> None:
    """Write settings that hold a password: only the owner may read the file, from its first byte on."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(
        os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
    draft.replace(path)


def _scalar(text: str) -> str:
    """Return `text` as a YAML value in which no `${` is taken for a variable."""
    return json.dumps(text.replace("${", "$${"), ensure_ascii=False)
