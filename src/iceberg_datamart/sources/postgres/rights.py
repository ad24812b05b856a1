"""What a role may not read, by name, and what to grant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iceberg_datamart.errors import SourceError
from iceberg_datamart.sources.postgres import catalog
from iceberg_datamart.sources.postgres.connection import translated

if TYPE_CHECKING:
    import psycopg
    from psycopg.errors import InsufficientPrivilege

    from iceberg_datamart.core.settings.model import TableConfig


def denied(
    connection: psycopg.Connection[Any],
    source: str,
    name: str,
    table: TableConfig,
    error: InsufficientPrivilege,
) -> SourceError:
    """Return the server's refusal of the table `name`, with the columns that the role may not read."""
    said = translated(source, error)
    relation = catalog.relation_named(connection, table.from_)
    columns = catalog.columns_of(connection, relation)
    wanted = [column for column in columns if column.name not in table.exclude]
    lacking = [column.name for column in wanted if not column.is_readable]
    if not lacking:
        return said
    role, place = connection.info.user, f"{relation.schema}.{relation.table}"
    if len(lacking) == len(columns):
        hint = f"GRANT SELECT ON {place} TO {role}. Nothing of this table was written."
        return SourceError(f"table '{name}': {said.message}", hint=hint)
    names = ", ".join(lacking)
    message = f"table '{name}': {said.message}; the role may not read its columns {names}"
    hint = (
        f"GRANT SELECT ({names}) ON {place} TO {role}, or leave them out by tables.{name}.exclude. "
        "Nothing of this table was written."
    )
    return SourceError(message, hint=hint)
