"""Where a source is and what its connections demand: libpq's parameters, or a refusal (R17).

The job's own connection follows libpq, and Spark's follows JDBC, which knows no environment: what holds for
one has to be told to the other. https://www.postgresql.org/docs/current/libpq-envars.html
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from iceberg_datamart.errors import ConfigError

if TYPE_CHECKING:
    from iceberg_datamart.config import PostgresSource

# What both drivers can be told. gssencmode says whether a login may travel without encryption.
BOTH = {
    "host",
    "port",
    "dbname",
    "user",
    "password",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "gssencmode",
}
# Only the url has a say in these: `options` and the name may set what the recipe does not.
_OF_THE_URL = {"options", "application_name", "connect_timeout"}
# The recipe sets the encoding; of a file of passwords, the connection has taken the password.
_WITHOUT_EFFECT = {"client_encoding", "passfile"}
_NO_HOSTS = {",": "several hosts", "/": "a Unix socket", "@": "a Unix socket"}
_VERIFYING = {"verify-ca", "verify-full"}


def parameters_of(config: PostgresSource) -> dict[str, str]:
    """Return libpq's parameters for a source: of url and settings, else of the environment, else defaults.

    Raises: ConfigError for what JDBC cannot follow, by the url's words or the variable's name.
    """
    parts = _url_parts(config)
    unusable = sorted(set(parts) - BOTH - _OF_THE_URL - _WITHOUT_EFFECT)
    parts |= _given(config, parts)
    found = _from_environment(parts)
    unusable += [
        what if name in parts else f"{what} (PG{name.upper()})"
        for name in ("host", "port")
        for sign, what in _NO_HOSTS.items()
        if sign in found.get(name, "")
    ]
    unusable += [] if found.get("host") else ["no host"]
    if unusable:
        message = f"the url of a postgres source may not use {', '.join(unusable)}: JDBC cannot follow it"
        raise ConfigError(message, hint="Write postgresql://role@host:port/database.")
    return _with_root(found)


def _given(config: PostgresSource, parts: dict[str, str]) -> dict[str, str]:
    """Return the login of the settings: its role counts where the url has none, its password always."""
    user = {} if parts.get("user") or not config.user else {"user": config.user}
    return user | ({"password": config.password.get_secret_value()} if config.password else {})


def _from_environment(parts: dict[str, str]) -> dict[str, str]:
    """Return `parts` with what libpq takes from the environment. Raises: ConfigError for what JDBC cannot."""
    found, refused = {name: value for name, value in parts.items() if value}, []
    for option in Conninfo.get_defaults():
        name = option.keyword.decode()
        if name in found or not option.val or name in _OF_THE_URL | _WITHOUT_EFFECT:
            continue
        if name in BOTH:
            found[name] = option.val.decode()
        elif option.val != option.compiled:
            refused.append((option.envvar or option.keyword).decode())
    if refused:
        names = ", ".join(refused)
        message = f"the environment sets {names} for PostgreSQL: JDBC cannot follow it, so Spark would not"
        raise ConfigError(
            message, hint=f"Unset {names}; the url of a source says where it is, and its sslmode."
        )
    return found


def _with_root(parts: dict[str, str]) -> dict[str, str]:
    """Return `parts` with the root certificate that libpq would look for; Java's home may be another.

    libpq checks a certificate wherever it has a root, also for `require`.
    """
    mode, root = parts.get("sslmode"), Path("~/.postgresql/root.crt").expanduser()
    if "sslrootcert" not in parts and (mode in _VERIFYING or (mode == "require" and root.exists())):
        return parts | {"sslrootcert": str(root)}
    if parts.get("sslrootcert") == "system":
        message = "sslrootcert=system (PGSSLROOTCERT) is libpq's own: JDBC cannot follow it"
        raise ConfigError(message, hint="Name the file of the root certificates, in PEM.")
    return parts


def _url_parts(config: PostgresSource) -> dict[str, str]:
    try:
        return {name: str(value) for name, value in conninfo_to_dict(config.url).items() if value is not None}
    except psycopg.Error:
        hint = "Percent-encode special characters, or set `user` and `password` beside the url."
        raise ConfigError("the url of a postgres source is malformed", hint=hint) from None
