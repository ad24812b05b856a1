"""The JDBC URL and credentials for what the settings say in PostgreSQL's own form.

Parameters: https://jdbc.postgresql.org/documentation/use/#connection-parameters
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from iceberg_datamart.errors import ConfigError

if TYPE_CHECKING:
    from iceberg_datamart.config import PostgresSource

_JDBC_NAMES = {
    "sslmode": "sslmode",
    "sslrootcert": "sslrootcert",
    "sslcert": "sslcert",
    "sslkey": "sslkey",
    "connect_timeout": "connectTimeout",
    "application_name": "ApplicationName",
    "options": "options",
}
_PAGES_PER_PARTITION = 16_384
_MOST_PARTITIONS = 64
_NO_HOSTS = {",": "several hosts", "/": "a Unix socket", "@": "a Unix socket"}
_OWN = {"host", "port", "dbname", "user", "password"}


def jdbc_url(config: PostgresSource, options: str | None = None) -> str:
    """Return the JDBC URL, without credentials; `options` take the place of the settings' own.

    Raises: ConfigError for what JDBC cannot express.
    """
    parts = _parts(config) | ({} if options is None else {"options": options})
    host = parts.get("host", "")
    unusable = sorted(set(parts) - set(_JDBC_NAMES) - _OWN)
    unusable += [what for sign, what in _NO_HOSTS.items() if sign in host]
    unusable += [] if host else ["no host"]
    if unusable:
        what = ", ".join(unusable)
        message = f"the url of a postgres source may not use {what}: JDBC cannot follow it"
        raise ConfigError(message, hint="Write postgresql://role@host:port/database.")
    parameters = {"tcpKeepAlive": "true"} | {
        _JDBC_NAMES[name]: value for name, value in parts.items() if name in _JDBC_NAMES
    }
    # libpq checks a certificate wherever it is told a root; JDBC does so for verify-ca and verify-full only.
    if parts.get("sslmode") == "require" and "sslrootcert" in parts:
        parameters["sslmode"] = "verify-ca"
    place = f"[{host}]" if ":" in host else host
    database = quote(parts.get("dbname") or parts.get("user", ""), safe="")
    query = urlencode(parameters, quote_via=quote)
    return f"jdbc:postgresql://{place}:{parts.get('port', '5432')}/{database}?{query}"


def credentials_of(config: PostgresSource) -> dict[str, str]:
    """Return `user` and `password` as Spark's JDBC options, as far as the settings hold them."""
    parts = _parts(config)
    user = parts.get("user") or config.user
    password = config.password.get_secret_value() if config.password else parts.get("password")
    found = {"user": user, "password": password}
    return {name: value for name, value in found.items() if value}


def ctid_ranges(pages: int, partitions: int | None) -> tuple[str, ...]:
    """Return predicates that split a table's pages into ranges; the last is open-ended.

    Rows on pages that were added since fall into the last range. Needs no index.
    """
    wanted = partitions or min(_MOST_PARTITIONS, math.ceil(max(pages, 1) / _PAGES_PER_PARTITION))
    step = math.ceil(max(pages, 1) / wanted)
    starts = range(0, step * wanted, step)
    lower = [f"_datamart_ctid >= '({start},0)'::tid" for start in starts]
    upper = [f" and _datamart_ctid < '({start},0)'::tid" for start in starts[1:]] + [""]
    return tuple(low + high for low, high in zip(lower, upper, strict=True))


def _parts(config: PostgresSource) -> dict[str, str]:
    try:
        return {name: str(value) for name, value in conninfo_to_dict(config.url).items() if value is not None}
    except psycopg.Error:
        hint = "Percent-encode special characters, or set `user` and `password` beside the url."
        raise ConfigError("the url of a postgres source is malformed", hint=hint) from None
