"""Where a source is and what its connections demand: libpq's parameters, or a refusal (R17).

The job's own connection follows libpq, and Spark's follows JDBC: what holds for one is told to the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict

from iceberg_datamart.errors import ConfigError
from iceberg_datamart.libpq import BOTH, OF_THE_ADDRESS, with_environment

if TYPE_CHECKING:
    from iceberg_datamart.core.settings.model import PostgresSource

_NO_HOSTS = {",": "several hosts", "/": "a Unix socket", "@": "a Unix socket"}
_VERIFYING = {"verify-ca", "verify-full"}


def parameters_of(config: PostgresSource) -> dict[str, str]:
    """Return libpq's parameters for a source: of url and settings, else of the environment, else defaults.

    Raises: ConfigError for what JDBC cannot follow, by the url's words or the variable's name.
    """
    parts = _url_parts(config)
    unusable = sorted(set(parts) - BOTH - OF_THE_ADDRESS)
    parts |= _given(config, parts)
    found = with_environment(parts)
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


def _with_root(parts: dict[str, str]) -> dict[str, str]:
    """Return `parts` with the root certificate that libpq would look for; Java's home may be another.

    libpq checks a certificate wherever it has a root, also for `require`.
    """
    mode, root = parts.get("sslmode"), Path("~/.postgresql/root.crt").expanduser()
    if "sslrootcert" not in parts and (mode in _VERIFYING or (mode == "require" and root.exists())):
        parts = parts | {"sslrootcert": str(root)}
    revoked = root.with_suffix(".crl")
    if "sslrootcert" in parts and revoked.exists():
        message = f"libpq refuses the certificates that {revoked} revokes: JDBC cannot follow it"
        raise ConfigError(message, hint="Take the file away, or let a proxy check revocations.")
    if parts.get("sslrootcert") == "system":
        message = "the url of a postgres source may not use sslrootcert=system: JDBC cannot follow it"
        raise ConfigError(message, hint="Name the file of the root certificates, in PEM.")
    return parts


def _url_parts(config: PostgresSource) -> dict[str, str]:
    try:
        return {name: str(value) for name, value in conninfo_to_dict(config.url).items() if value is not None}
    except psycopg.Error:
        hint = "Percent-encode special characters, or set `user` and `password` beside the url."
        raise ConfigError("the url of a postgres source is malformed", hint=hint) from None
