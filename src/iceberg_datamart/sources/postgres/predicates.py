"""Whether a predicate of the settings says the same of the same row in each statement of PostgreSQL (R21).

A run evaluates `soft_delete` in several statements and sessions, and a row is not read again because time
goes by. https://www.postgresql.org/docs/current/xfunc-volatility.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from iceberg_datamart.errors import SourceError
from iceberg_datamart.sources.postgres.tokens import Kind, pieces

if TYPE_CHECKING:
    from psycopg import Connection

_QUOTED = re.compile(r'"(?:[^"]|"")*"(\s*[.(])?')
_CALL = re.compile(r'(?:"?(\w+)"?\s*\.\s*)?"?(\w+)"?\s*\(')
# Functions that are called without parentheses; then what reads other rows.
_WORDS = re.compile(
    r"\b(current_(?:timestamp|time|date|user|role|catalog|schema)|localtime|localtimestamp|session_user|user)\b",
    re.IGNORECASE,
)
_SUBQUERY = re.compile(r"\b(?:select\b|table\b|values\s*\()", re.IGNORECASE)
# As a text with any quotes is written.
_MOMENT = re.compile(r"(?:[eE]?'|\$\w*\$)\s*(now|today|tomorrow|yesterday)\s*(?:'|\$\w*\$)$", re.IGNORECASE)
_INSTEAD = {Kind.TEXT: "''", Kind.COMMENT: " "}
# Stable because they ask settings of the session, which are the same in each of a run.
_BY_SETTINGS = [
    *("date_part", "date_trunc", "extract", "timezone", "to_char", "to_date", "to_timestamp"),
    *("concat", "concat_ws", "format", "to_json", "to_jsonb", "array_to_string", "date", "text"),
]
_CHANGING = """
select p.proname
from unnest(%(schemas)s::text[], %(names)s::text[]) as called(schema, name)
join pg_proc p on lower(p.proname) = called.name
join pg_namespace n on n.oid = p.pronamespace
where case when called.schema is null then pg_function_is_visible(p.oid)
           else lower(n.nspname) = called.schema end
  and (p.provolatile = 'v' or (p.provolatile = 's' and not (
        p.pronamespace = 'pg_catalog'::regnamespace and p.proname = any(%(by_settings)s))))
order by p.proname limit 1
"""


def require_steady(connection: Connection[Any], table: str, predicate: str | None) -> None:
    """Raise SourceError, naming the table, where `soft_delete` asks a clock, the session or other rows."""
    found = None if predicate is None else _unsteady(connection, predicate)
    if found is not None:
        message = f"tables.{table}.soft_delete: `{predicate}` depends on {found}, not on its row alone"
        hint = "Use columns of the row and immutable functions, or filter in readers. Nothing was written."
        raise SourceError(message, hint=hint)


def _unsteady(connection: Connection[Any], predicate: str) -> str | None:
    """Return what in a predicate may say something else of the same row."""
    cut = list(pieces(predicate))
    for kind, text in cut:
        moment = _MOMENT.match(text) if kind is Kind.TEXT else None
        if moment is not None:
            return f"the clock ('{moment[1]}')"
    code = "".join(_INSTEAD.get(kind, text) for kind, text in cut)
    code = _QUOTED.sub(lambda found: found[0] if found[1] else "_", code)
    word = _WORDS.search(code)
    if word is not None:
        return word[1].lower()
    if _SUBQUERY.search(code):
        return "a subquery"
    called = sorted({(schema.lower(), name.lower()) for schema, name in _CALL.findall(code)})
    values = {
        "schemas": [schema or None for schema, _ in called],
        "names": [name for _, name in called],
        "by_settings": _BY_SETTINGS,
    }
    row = connection.execute(_CHANGING, values).fetchone()
    return None if row is None else f"{row[0]}(), which is not immutable"
