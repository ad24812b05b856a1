"""The JDBC URL, credentials and text for what the settings say in PostgreSQL's own form.

Parameters: https://jdbc.postgresql.org/documentation/use/#connection-parameters
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from iceberg_datamart.libpq import JDBC_NAMES
from iceberg_datamart.sources.postgres.address import parameters_of
from iceberg_datamart.sources.postgres.settings import APPLICATION, LEAST_VERSION
from iceberg_datamart.sources.postgres.tokens import Kind, pieces

if TYPE_CHECKING:
    from iceberg_datamart.core.settings.model import PostgresSource

_JDBC_NAMES = {
    **JDBC_NAMES,
    "connect_timeout": "connectTimeout",
    "application_name": "ApplicationName",
    "options": "options",
}
# A pooler's next connection knows no prepared statement. An assumed version has the driver send its settings
# with its login; else it runs SET, which a pooler would keep for others.
_ALWAYS = {
    "tcpKeepAlive": "true",
    "ApplicationName": APPLICATION,
    "prepareThreshold": "0",
    "assumeMinServerVersion": str(LEAST_VERSION),
}
_PAGES_PER_PARTITION = 16_384
_MOST_PARTITIONS = 64


def jdbc_url(config: PostgresSource, options: str | None = None) -> str:
    """Return the JDBC URL, without credentials; `options` take the place of the settings' own.

    Raises: ConfigError for what JDBC cannot express.
    """
    parts = parameters_of(config) | ({} if options is None else {"options": options})
    parameters = _ALWAYS | {_JDBC_NAMES[name]: value for name, value in parts.items() if name in _JDBC_NAMES}
    # libpq checks a certificate wherever it is told a root; JDBC does so for verify-ca and verify-full only.
    if parts.get("sslmode") == "require" and "sslrootcert" in parts:
        parameters["sslmode"] = "verify-ca"
    host = parts["host"]
    place = f"[{host}]" if ":" in host else host
    database = quote(parts.get("dbname") or parts.get("user", ""), safe="")
    query = urlencode(parameters, quote_via=quote)
    return f"jdbc:postgresql://{place}:{parts.get('port', '5432')}/{database}?{query}"


def credentials_of(config: PostgresSource, used: str | None = None) -> dict[str, str]:
    """Return `user` and `password` as Spark's JDBC options, as far as settings and environment hold them.

    `used` is the password of an open connection, which may have it from a file of passwords.
    """
    parts = parameters_of(config) | ({"password": used} if used else {})
    return {name: parts[name] for name in ("user", "password") if name in parts}


def jdbc_text(text: str) -> str:
    """Return SQL as pgjdbc reads it: each ? that is an operator's sign is doubled, or it is a parameter.

    https://jdbc.postgresql.org/documentation/query/#using-the-statement-or-preparedstatement-interface
    """
    return "".join(piece.replace("?", "??") if kind is Kind.CODE else piece for kind, piece in pieces(text))


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
