"""A demo's folder: what lies in it, how it is made, and how it is removed and nothing else."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from iceberg_datamart.app.settings_file import load_config
from iceberg_datamart.demo.changes import ChangeSummary, change
from iceberg_datamart.demo.seed import create_tables, load
from iceberg_datamart.demo.settings import DATABASE, config_text, with_url, write_config
from iceberg_datamart.embedded import postgres
from iceberg_datamart.errors import DatamartError

if TYPE_CHECKING:
    from pathlib import Path

    from iceberg_datamart.core.settings.model import Config

_MARKER = "DEMO"
_MARKER_TEXT = "Made by 'iceberg-datamart demo', which removes it with '--fresh'.\n"


@dataclass(frozen=True)
class DemoFolder:
    """The folder of one demo; `directory` is absolute."""

    directory: Path

    @property
    def config_file(self) -> Path:
        """Return where the settings are."""
        return self.directory / "datamart.yaml"

    @property
    def timestamp_file(self) -> Path:
        """Return where the timestamp file is."""
        return self.directory / "last_load_timestamp.csv"

    @property
    def is_made(self) -> bool:
        """Say whether a demo made this folder."""
        return (self.directory / _MARKER).is_file()

    def config(self) -> Config:
        """Return the settings. Raises: ConfigError."""
        return load_config(self.config_file, os.environ)

    def claim(self) -> None:
        """Make the folder, or take an empty one, for a demo.

        Raises: DatamartError where something is in the way; nothing of that is touched.
        """
        config_text(self.directory, "")  # refuses a path that cannot work before anything is made
        if self.is_made:
            message = f"{self.directory} holds a demo already."
            hint = (
                "Choose another folder with --directory, or start again with --fresh, which removes this one."
            )
            raise DatamartError(message, hint=hint)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            in_the_way = sorted(path.name for path in self.directory.iterdir())
        except OSError as error:
            message = f"{self.directory} cannot hold the demo: {error.strerror}."
            raise DatamartError(message, hint="Choose another folder with --directory.") from error
        if in_the_way:
            message = f"{self.directory} is not empty: it holds {in_the_way[0]}."
            raise DatamartError(message, hint="Choose another folder with --directory.")
        (self.directory / _MARKER).write_text(_MARKER_TEXT, "utf-8")

    def make(self, rows: int, seed: int) -> str:
        """Start a server with the six tables in a claimed folder; return the source's url."""
        postgres.create(self._server)
        server = postgres.start(self._server)
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(f"create database {DATABASE}")
        url = server.url(DATABASE)
        with psycopg.connect(url, autocommit=True) as connection:
            create_tables(connection)
            load(connection, rows, seed)
        write_config(self.config_file, config_text(self.directory, url))
        return url

    def start(self) -> str:
        """Start the server unless it runs, and return the source's url. Raises: DatamartError."""
        self._refuse_unless_made()
        url = postgres.start(self._server).url(DATABASE)
        text = self.config_file.read_text("utf-8")
        if url not in text:
            write_config(self.config_file, with_url(text, url))
        return url

    def change(self, size: int) -> ChangeSummary:
        """Change the source as a live system would, and return the counts; starts the server first."""
        with psycopg.connect(self.start(), autocommit=True) as connection:
            # Another seed each time, or the same rows would change again.
            row = connection.execute("select max(transaction_id) from settlement_transaction").fetchone()
            return change(connection, row[0] if row else 0, size)

    def stop(self) -> None:
        """Stop the server, if it runs. Raises: DatamartError where no demo made this folder."""
        self._refuse_unless_made()
        postgres.stop(self._server)

    def empty(self) -> None:
        """Stop the server and remove what a demo made, for another one; other files in the folder stay."""
        self.stop()
        for folder in (self._server, self.directory / "warehouse"):
            shutil.rmtree(folder, ignore_errors=True)
        files = (self.config_file, self.timestamp_file, self.directory / "catalog.db")
        for file in (*files, self.timestamp_file.with_name(self.timestamp_file.name + ".lock")):
            file.unlink(missing_ok=True)

    @property
    def _server(self) -> Path:
        return self.directory / "postgres"

    def _refuse_unless_made(self) -> None:
        if not self.is_made:
            message = f"There is no demo in {self.directory}."
            raise DatamartError(
                message, hint="Make one with 'iceberg-datamart demo', or name its --directory."
            )
