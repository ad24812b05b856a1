"""Settings: where the catalog, its tables, and the state of runs are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from iceberg_datamart.core.settings.address import address_problem
from iceberg_datamart.core.settings.rules import Problem, Settings, Text, Texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class CatalogConfig(Settings):
    """The Iceberg catalog, and where the tables' files lie."""

    type: Literal["glue", "sql", "rest"] = Field(description="Kind of catalog, by PyIceberg's name for it.")
    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = Field(
        default="datamart", description="The catalog's name in Spark, and in the catalog file of type `sql`."
    )
    uri: Text | None = Field(
        default=None,
        repr=False,
        description="Address of the catalog; `sql` and `rest` need it. `sqlite:///catalog.db` is relative "
        "to the working directory, `sqlite:////data/catalog.db` is not.",
    )
    warehouse: Text = Field(
        description="Folder or S3 prefix of the tables; a relative one is left as written."
    )
    properties: Texts = Field(
        default={}, repr=False, description="Catalog properties, passed to Spark and PyIceberg alike."
    )

    @classmethod
    def broken_rules(cls, plain: Mapping[str, Any]) -> Iterable[Problem]:
        """Return a problem where a catalog that is reached by its address has none, or a malformed one."""
        uri = plain.get("uri")
        if plain.get("type") in ("sql", "rest") and uri is None:
            yield Problem(("uri",), f"required for a catalog of type {plain['type']!r}")
        if isinstance(uri, str) and uri and (problem := address_problem(uri)) is not None:
            yield Problem(("uri",), problem)


class StateConfig(Settings):
    """Where the timestamp file is, and what its absence means."""

    timestamp_file: Text = Field(
        description="The CSV with one `last_load_timestamp`: an S3 address or a local path."
    )
    on_missing: Literal["full_load", "use_snapshots"] = Field(
        default="full_load",
        description="Without the timestamp file: load everything, or go on from the snapshots' watermarks.",
    )
    runs: Literal["files", "table"] = Field(
        default="files",
        description="`table`: runs are kept in the Iceberg table `_runs`, too, not only in files.",
    )
    run_records: int = Field(
        default=500,
        ge=1,
        le=10_000,
        description="How many records of runs are kept in the folder `runs` beside the timestamp file.",
    )
