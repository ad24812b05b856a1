"""What libpq takes from the environment, for connections that are not its own (R17).

PostgreSQL's C library and all that stands on it read PGHOST, PGSSLMODE and others; JDBC knows none of them.
What holds for one connection of a run has to be told to the other, or is refused.
https://www.postgresql.org/docs/current/libpq-envars.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg.pq import Conninfo

from iceberg_datamart.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

# JDBC's names of what both can be told. gssencmode says whether a login may travel without encryption.
JDBC_NAMES = {
    "sslmode": "sslmode",
    "sslrootcert": "sslrootcert",
    "sslcert": "sslcert",
    "sslkey": "sslkey",
    "gssencmode": "gssEncMode",
}
BOTH = {"host", "port", "dbname", "user", "password", *JDBC_NAMES}
# What an address alone has a say in, as far as this package leaves it open; of a file of passwords, a
# connection has taken the password.
OF_THE_ADDRESS = {"options", "application_name", "connect_timeout", "client_encoding", "passfile"}


def with_environment(parts: Mapping[str, str]) -> dict[str, str]:
    """Return `parts` with what libpq adds to them: of the environment, else its defaults.

    Raises: ConfigError, with the variable's name, for what JDBC cannot follow.
    """
    found, refused = {name: value for name, value in parts.items() if value}, []
    for option in Conninfo.get_defaults():
        name = option.keyword.decode()
        if name in found or not option.val or name in OF_THE_ADDRESS:
            continue
        if name in BOTH:
            found[name] = option.val.decode()
        elif option.val != option.compiled:
            refused.append((option.envvar or option.keyword).decode())
    if found.get("sslrootcert") == "system" and "sslrootcert" not in parts:
        refused.append("PGSSLROOTCERT=system")
    if refused:
        names = ", ".join(refused)
        message = f"the environment sets {names} for PostgreSQL: JDBC cannot follow it, so Spark would not"
        hint = f"Unset {names}; the address of a database says where it is, and its sslmode."
        raise ConfigError(message, hint=hint)
    return found


def demanded(parts: Mapping[str, str]) -> dict[str, str]:
    """Return what the environment alone adds to `parts`, but for logins. Raises: as `with_environment`."""
    defaults = {
        option.keyword.decode(): (option.compiled or b"").decode() for option in Conninfo.get_defaults()
    }
    return {
        name: value
        for name, value in with_environment(parts).items()
        if name not in parts and name not in ("user", "password") and value != defaults[name]
    }
