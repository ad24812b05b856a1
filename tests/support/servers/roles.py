"""Roles that a test's source is read as."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg


@contextmanager
def role_of(connection: psycopg.Connection[Any], role: str, grants: str, options: str = "") -> Iterator[str]:
    """Yield the url by which a new role reads the connection's database; `{role}` in `grants` is its name."""
    info = connection.info
    connection.execute(f"create role {role} login password 'pw' {options}; {grants.format(role=role)}")
    try:
        yield f"postgresql://{role}:pw@{info.host}:{info.port}/{info.dbname}"
    finally:
        connection.execute(f"drop owned by {role}; drop role {role}")
