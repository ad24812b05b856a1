"""What the Glue Data Catalog says of a table, and of the connection through which it was crawled.

https://docs.aws.amazon.com/glue/latest/webapi/API_Table.html
https://docs.aws.amazon.com/glue/latest/webapi/API_Connection.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from iceberg_datamart.aws_faults import aws_code
from iceberg_datamart.errors import SourceError, SourceTableMissingError
from iceberg_datamart.sources.aws import client, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_MISSING = "EntityNotFoundException"


@dataclass(frozen=True)
class GlueTable:
    """A table of the catalog. `parameters` are its own, laid over those of its storage.

    `columns` have Hive's types; those of the partitions are not among them. `serde` are the parameters of
    the `library` that reads its files.
    """

    name: str
    identity: str
    location: str
    parameters: Mapping[str, str]
    serde: Mapping[str, str]
    columns: tuple[tuple[str, str], ...]
    partition_columns: tuple[tuple[str, str], ...]
    library: str = ""

    @property
    def reading(self) -> Mapping[str, str]:
        """Return what a SerDe is told: its own parameters, laid over the table's."""
        return {**self.parameters, **self.serde}

    @property
    def classification(self) -> str:
        """Return what the crawler took the table for, in lower case; empty where nothing says."""
        return self.parameters.get("classification", "").lower()

    @property
    def is_iceberg(self) -> bool:
        """Return whether the table is one of Iceberg's own."""
        return self.parameters.get("table_type", "").upper() == "ICEBERG"

    @property
    def connection(self) -> str | None:
        """Return the name of the Glue connection through which the table was crawled."""
        return self.parameters.get("connectionName")


@dataclass(frozen=True, order=True)
class GluePartition:
    """A partition's values in the order of the table's partition columns, and where its files are.

    `serde` are the name and parameters of its own SerDe, `columns` the names of its own columns; None where
    it says nothing of them.
    """

    values: tuple[str, ...]
    location: str
    serde: tuple[str, Mapping[str, str]] | None = field(default=None, compare=False)
    columns: tuple[str, ...] | None = field(default=None, compare=False)


class GlueCatalog:
    """One database of the catalog, as source `name` reads it."""

    def __init__(self, name: str, database: str) -> None:
        """Name the database; nothing is asked yet. Raises: SourceError where no region is known."""
        self._name, self._database = name, database
        self._client = client("glue")

    def table(self, table: str, glue_table: str) -> GlueTable:
        """Return what the catalog says of `glue_table`, the source of table `table`.

        Raises: SourceTableMissingError, SourceRefusedError, SourceUnreachableError.
        """
        missing = SourceTableMissingError(
            f"there is no table '{glue_table}' in the Glue database '{self._database}'",
            hint=f"Correct tables.{table}.from or sources.{self._name}.database, or run the table's crawler.",
        )
        found = self._asked(
            f"Glue table '{self._database}.{glue_table}'",
            "glue:GetTable on it, its database and the catalog",
            missing,
            lambda: self._client.get_table(DatabaseName=self._database, Name=glue_table)["Table"],
        )
        storage = found.get("StorageDescriptor", {})
        serde = storage.get("SerdeInfo", {})
        parameters = {**storage.get("Parameters", {}), **found.get("Parameters", {})}
        return GlueTable(
            name=glue_table,
            identity=f"glue:{found.get('CatalogId', '')}/{self._database}/{glue_table}",
            location=storage.get("Location", ""),
            parameters=parameters,
            serde=serde.get("Parameters", {}),
            columns=_columns(storage.get("Columns", ())),
            partition_columns=_columns(found.get("PartitionKeys", ())),
            library=serde.get("SerializationLibrary", ""),
        )

    def partitions(self, glue_table: str, *, columns: bool) -> tuple[GluePartition, ...]:
        """Return the partitions, with the names of their `columns` where those are asked for.

        Raises: SourceError for one without a place, and as `table`.
        """
        pages = self._client.get_paginator("get_partitions")
        asked = {"DatabaseName": self._database, "TableName": glue_table, "ExcludeColumnSchema": not columns}
        what = f"the partitions of Glue table '{self._database}.{glue_table}'"
        found = self._asked(
            what,
            "glue:GetPartitions on it, its database and the catalog",
            SourceTableMissingError(f"{what} are gone", hint="Run again."),
            lambda: [each for page in pages.paginate(**asked) for each in page["Partitions"]],
        )
        return tuple(_partition(glue_table, each, with_columns=columns) for each in found)

    def connection(self, connection: str) -> Mapping[str, str]:
        """Return the properties of a connection, its password among them where it is not encrypted.

        Raises: SourceError, SourceRefusedError, SourceUnreachableError.
        """
        missing = SourceError(
            f"there is no Glue connection '{connection}', through which tables of source '{self._name}' "
            "were crawled",
            hint="Create it again, or run the crawler with the one that there is.",
        )
        found: Mapping[str, str] = self._asked(
            f"Glue connection '{connection}'",
            "glue:GetConnection on it and the catalog, and kms:Decrypt where passwords are encrypted",
            missing,
            lambda: self._client.get_connection(Name=connection)["Connection"]["ConnectionProperties"],
        )
        return found

    @staticmethod
    def _asked(what: str, needs: str, missing: SourceError, ask: Callable[[], Any]) -> Any:
        """Return Glue's answer."""
        try:
            return ask()
        except (ClientError, BotoCoreError) as error:
            if aws_code(error) == _MISSING:
                raise missing from error
            raise refusal(what, error, needs) from error


def _partition(glue_table: str, found: Mapping[str, Any], *, with_columns: bool) -> GluePartition:
    values, storage = tuple(found.get("Values", ())), found.get("StorageDescriptor") or {}
    if not storage.get("Location"):
        message = f"partition ({', '.join(values)}) of Glue table '{glue_table}' does not say where it is"
        raise SourceError(message, hint="Give it a location, or drop it. Nothing was written.")
    serde, columns = storage.get("SerdeInfo") or {}, storage.get("Columns") or ()
    return GluePartition(
        values,
        storage["Location"],
        (serde.get("SerializationLibrary", ""), serde.get("Parameters") or {}) if serde else None,
        tuple(each["Name"] for each in columns) if with_columns and columns else None,
    )


def _columns(found: Iterable[Mapping[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((each["Name"], each.get("Type", "string").replace(" ", "")) for each in found)
