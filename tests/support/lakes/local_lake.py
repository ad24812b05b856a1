"""Iceberg tables in a folder, read and written as the in-process engine does it, and by other readers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.report.progress import Board
from iceberg_datamart.lake.catalog import LakeCatalog
from iceberg_datamart.lake.iceberg import TABLE_PROPERTIES
from iceberg_datamart.lake.in_process.staging import Staging
from iceberg_datamart.lake.in_process.tables import Tables
from iceberg_datamart.lake.opening import open_catalog
from support.fakes.ports import configured
from support.oracles import second_reader
from support.worlds.laptop import SMALL_SPARK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa  # type: ignore[import-untyped]

    from iceberg_datamart.core.plan.schema import SchemaChange
    from iceberg_datamart.lake.engine import Staged

COLUMNS = (Column("id", "long", nullable=False), Column("v", "string"), Column("n", "int"))
Row = tuple[Any, ...]


class LocalLake:
    """One database of tables in a folder; table `t` is the one that is meant where none is named."""

    def __init__(
        self, folder: Path, warehouse: str | None = None, properties: Mapping[str, str] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.warehouse = warehouse or str(folder / "warehouse")
        place = {
            "type": "sql",
            "uri": f"sqlite:///{folder}/catalog.db",
            "warehouse": self.warehouse,
            "properties": dict(properties or {}),
        }
        self.config = configured("t", catalog=place, spark={"properties": dict(SMALL_SPARK)})
        self.catalog = LakeCatalog(self.config.catalog, "datamart")
        self.tables = Tables(open_catalog(self.config.catalog), "datamart")
        self.connection = duckdb.connect()
        self.connection.execute("set timezone = 'UTC'")
        self.tables.attach(self.connection)

    def create(
        self, name: str = "t", columns: Sequence[Column] = COLUMNS, key: Sequence[str] = ("id",), **also: str
    ) -> None:
        """Make an empty table as the lake makes its own."""
        properties = {key.replace("_", "."): value for key, value in also.items()}
        self.catalog.create(name, columns, key, {**TABLE_PROPERTIES, **properties})

    def evolve(self, change: SchemaChange, name: str = "t") -> None:
        """Change the table's columns, whichever it has."""
        self.catalog.evolve(name, change, self.tables.load(name).metadata.current_schema_id)

    def staging(self, run_id: str = "run-1") -> Staging:
        return Staging(self.tables, run_id, Board())

    def reader(self, select: str) -> pa.RecordBatchReader:
        """Return the rows of a SELECT as a stream on a connection of its own."""
        return self.connection.cursor().execute(select).to_arrow_reader(1000)

    def places(self, where: str, name: str = "t") -> pa.Table:
        """Return where rows of the table lie, in order."""
        placed = self.tables.placed(self.tables.load(name))
        query = f"SELECT _datamart_file AS file_path, _datamart_pos AS pos FROM {placed} WHERE {where}"
        return self.connection.cursor().execute(f"{query} ORDER BY ALL").to_arrow_table()

    def stage(self, select: str | None, where: str | None = None, name: str = "t", **summary: str) -> Staged:
        """Stage the rows of a SELECT, and the deletion of those that `where` holds for."""
        rows = None if select is None else self.reader(select)
        places = None if where is None else self.places(where, name).to_reader()
        return self.staging().change(self.tables.load(name), rows, places, summary)

    def change(self, select: str | None, where: str | None = None, name: str = "t", **summary: str) -> Staged:
        """Do as `stage`, and publish it."""
        staged = self.stage(select, where, name, **summary)
        self.staging().publish(staged)
        return staged

    def fetch(self, select: str) -> list[Row]:
        return self.connection.cursor().execute(select).fetchall()

    def rows(self, name: str = "t", snapshot_id: int | None = None) -> list[Row]:
        """Return the rows as this engine reads them."""
        return ordered(self.fetch(f"FROM {self.tables.relation(name, snapshot_id)}"))

    def rows_of_pyiceberg(self, name: str = "t", snapshot_id: int | None = None) -> list[Row]:
        found = self.tables.load(name).scan(snapshot_id=snapshot_id).to_arrow().to_pylist()
        return ordered([tuple(row.values()) for row in found])

    def rows_of_duckdb(self, name: str = "t") -> list[Row]:
        """Return the rows as DuckDB's own reader of Iceberg finds them."""
        found = second_reader.rows(self.tables.load(name).metadata_location)
        return ordered([tuple(row.values()) for row in found])

    def rows_of_all_readers(self, name: str = "t") -> list[Row]:
        """Return the rows, which all readers that need no JVM must find alike."""
        rows = self.rows(name)
        assert rows == self.rows_of_pyiceberg(name)
        assert rows == self.rows_of_duckdb(name)
        return rows

    def summary(self, name: str = "t") -> dict[str, str]:
        """Return the current snapshot's summary."""
        current = self.tables.load(name).current_snapshot()
        assert current is not None
        assert current.summary is not None
        return dict(current.summary.additional_properties)

    def files(self, name: str = "t") -> set[str]:
        """Return all files in the table's folder that no metadata file is."""
        from pathlib import Path  # noqa: PLC0415

        folder = Path(self.tables.load(name).location().removeprefix("file://"))
        return {
            str(path) for path in folder.rglob("*") if path.is_file() and path.suffix not in {".json", ".crc"}
        }


def ordered(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=repr)


def numbered(first: int, last: int, v: str = "v", n: str = "NULL::INTEGER") -> str:
    """Return a SELECT of rows for `COLUMNS`."""
    return f"SELECT i AS id, '{v}' || i AS v, {n} AS n FROM range({first}, {last} + 1) r(i)"
