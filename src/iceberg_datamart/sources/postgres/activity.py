"""What holds a PostgreSQL source's horizon back at this moment; answers soon, or says why not."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg

from iceberg_datamart.core.source.reads import Activity
from iceberg_datamart.sources.postgres.connection import (
    connected,
    connection_parameters,
    transaction,
    translated,
)
from iceberg_datamart.sources.postgres.horizon import UNSEEN_START, look_at
from iceberg_datamart.sources.postgres.settings import APPLICATION

if TYPE_CHECKING:
    from iceberg_datamart.core.settings.model import PostgresSource

_PATIENCE = 3  # seconds, to connect and for each statement


def activity(name: str, config: PostgresSource) -> Activity:
    """Return the present horizon and what holds it back, the oldest first. Raises: SourceError."""
    with closing(connected(name, config, _PATIENCE)) as connection:
        try:
            with transaction(connection):
                connection.execute(f"set local statement_timeout = '{_PATIENCE}s'")
                look = look_at(connection)
        except psycopg.Error as error:
            raise translated(name, error) from error
    since = look.clock - UNSEEN_START
    # Those of other jobs have the usual name, whatever this one's settings say.
    own = {APPLICATION, connection_parameters(config)["application_name"]}
    holding = tuple(
        replace(each, is_own=each.application_name in own)
        for each in look.open_transactions
        if each.holds_from <= since
    )
    return Activity(look.horizon, holding, look.blind)
