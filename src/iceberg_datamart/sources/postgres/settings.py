"""One recipe of settings for every connection that reads a source; no default shows through (R17).

They are set for one transaction: a pooler hands them to nobody else then, nor those of others to us.
https://www.postgresql.org/docs/current/runtime-config-client.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iceberg_datamart.errors import SourceRefusedError

if TYPE_CHECKING:
    import psycopg

APPLICATION = "iceberg-datamart"
# Before 14, extract() is a float that loses microseconds; newer ones than were tried may change texts.
LEAST_VERSION, GREATEST_VERSION = 14, 18
# A reader's lock could only be behind DDL that waits until the point is given up: better to give it up soon.
READER_PATIENCE = 3000  # milliseconds
_TRANSACTION_TIMEOUT_SINCE = 17
_SETTINGS = {
    # First what could end the rest.
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    # How values and literals are written. Names without a schema are those of `public`; pg_temp comes last,
    # so that no temporary table takes another's place.
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
    "search_path": "pg_catalog, public, pg_temp",
    "TimeZone": "UTC",
    "timezone_abbreviations": "Default",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "xmloption": "content",
    "lc_numeric": "C",
    "lc_time": "C",
    "array_nulls": "on",
    "transform_null_equals": "off",
    # Rows that a policy hides would be taken for deleted: an error instead, as in pg_dump.
    "row_security": "off",
    # A search by a GIN index would leave rows out.
    "gin_fuzzy_search_limit": "0",
}
# Of names, not one text.
_LISTS = {"search_path"}


def settings(version: int, lock_timeout: int = READER_PATIENCE, application: str = APPLICATION) -> str:
    """Return the statements that set the recipe for the present transaction.

    `version` is the server's, as in `server_version_num`; `lock_timeout` is in milliseconds.
    """
    found = _recipe(version, lock_timeout) | {"application_name": application}
    return "; ".join(f"set local {name} = {_value(name, value)}" for name, value in found.items())


def settings_for(connection: psycopg.Connection[Any], lock_timeout: int = READER_PATIENCE) -> str:
    """Return the recipe for the server and the application's name of an open connection."""
    given = {option.keyword: option.val for option in connection.pgconn.info}.get(b"application_name")
    return settings(connection.info.server_version, lock_timeout, (given or b"").decode() or APPLICATION)


def startup_options(version: int) -> str:
    """Return the same recipe as options of a connection, for statements that run before any of ours."""
    found = _recipe(version, READER_PATIENCE)
    del found["client_encoding"]  # a driver's own, which it must know
    return " ".join(f"-c {name}={_escaped(value)}" for name, value in found.items())


def begin(connection: psycopg.Connection[Any], isolation: str, lock_timeout: int = READER_PATIENCE) -> None:
    """Begin a transaction under the recipe; it reads only."""
    recipe = settings_for(connection, lock_timeout)
    connection.execute(f"begin isolation level {isolation}, read only; {recipe}".encode())


def require_known_version(source: str, version: int) -> None:
    """Raise SourceRefusedError for a server whose values nobody compared with their mirrors."""
    major = version // 10_000
    if LEAST_VERSION <= major <= GREATEST_VERSION:
        return
    message = (
        f"source '{source}' is PostgreSQL {major}; versions {LEAST_VERSION} to {GREATEST_VERSION} are read"
    )
    older = "Upgrade the server" if major < LEAST_VERSION else "Upgrade iceberg-datamart"
    raise SourceRefusedError(message, hint=f"{older}. Nothing was read or written.")


def _recipe(version: int, lock_timeout: int) -> dict[str, str]:
    found = {**_SETTINGS, "lock_timeout": str(lock_timeout)}
    if version // 10_000 >= _TRANSACTION_TIMEOUT_SINCE:
        found["transaction_timeout"] = "0"
    return found


def _value(name: str, value: str) -> str:
    if name in _LISTS:
        return value
    return "'" + value.replace("'", "''") + "'"


def _escaped(value: str) -> str:
    """Return a value as options carry it, which blanks would end."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
