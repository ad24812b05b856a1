"""The tables of one database as relations of DuckDB, each at a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyiceberg.exceptions import NoSuchTableError

from iceberg_datamart.errors import LakeError
from iceberg_datamart.lake.answering import answering, while_unreachable
from iceberg_datamart.lake.in_process.file_systems import is_s3, read_s3
from iceberg_datamart.lake.in_process.live_files import LiveFiles, name_of, needs_spark
from iceberg_datamart.lake.in_process.scans import Selected, duckdb_type, scan_sql

if TYPE_CHECKING:
    import duckdb
    from pyiceberg.catalog import Catalog
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot
    from pyiceberg.types import NestedField

    from iceberg_datamart.lake.in_process.live_files import SnapshotFiles


class Tables:
    """Reads the tables of one database for all threads of a run; a manifest is read once.

    Each method raises NeedsSparkError for a table that only Spark can read or write.
    """

    def __init__(self, catalog: Catalog, database: str) -> None:
        """Take PyIceberg's catalog."""
        self._catalog, self._database = catalog, database
        self._live = LiveFiles()

    @property
    def catalog(self) -> Catalog:
        """Return PyIceberg's catalog."""
        return self._catalog

    def attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let a connection, and all of its cursors, read where the tables are."""
        if is_s3(self._catalog.properties.get("warehouse", "")):
            read_s3(connection, self._catalog)

    def load(self, name: str) -> Table:
        """Return the table as the catalog has it now. Raises: NoSuchTableError, CatalogUnreachableError."""
        return while_unreachable(self._loaded, name)

    def _loaded(self, name: str) -> Table:
        with answering(name):
            return self._catalog.load_table((self._database, name))

    def relation(self, name: str, snapshot_id: int | None = None) -> str:
        """Return a table's rows, at a snapshot or the current one, always in its present columns.

        A column that was added after the snapshot is NULL.
        """
        return self._present_columns(self.load(name), snapshot_id, placed=False)

    def placed(self, table: Table, snapshot_id: int | None = None) -> str:
        """Return the rows as `relation` does, of a loaded table, and the place of each.

        That is in `_datamart_file` and `_datamart_pos`.
        """
        return self._present_columns(table, snapshot_id, placed=True)

    def _present_columns(self, table: Table, snapshot_id: int | None, *, placed: bool) -> str:
        snapshot = _snapshot(table, snapshot_id)
        return scan_sql(self._live.of(table, snapshot), columns_of(table, snapshot), placed=placed)

    def as_it_was(self, name: str, snapshot_id: int) -> str:
        """Return a table's rows at a snapshot in the columns of its time; those that came later are NULL."""
        table = self.load(name)
        snapshot = _snapshot(table, snapshot_id)
        then = _schema_of(table, snapshot)
        known = {field.name for field in then.fields}
        later = [field for field in table.schema().fields if field.name not in known]
        columns = [
            *(_selected(table, field, is_there=True) for field in then.fields),
            *(_selected(table, field, is_there=False) for field in later),
        ]
        return scan_sql(self._live.of(table, snapshot), columns)

    def present(self, name: str) -> str | None:
        """Return a table's rows at the snapshot that readers see now; None where there is no table."""
        try:
            return self.relation(name)
        except NoSuchTableError:
            return None

    def files(self, table: Table, snapshot: Snapshot | None) -> SnapshotFiles:
        """Return the live files of a snapshot of a loaded table."""
        return self._live.of(table, snapshot)


def columns_of(table: Table, snapshot: Snapshot | None) -> list[Selected]:
    """Return how a snapshot's rows are selected in the table's present columns; later ones are NULL."""
    then = {field.field_id for field in _schema_of(table, snapshot).fields}
    return [_selected(table, field, is_there=field.field_id in then) for field in table.schema().fields]


def _snapshot(table: Table, snapshot_id: int | None) -> Snapshot | None:
    """Return a snapshot, or the current one. Raises: LakeError where it is gone."""
    if snapshot_id is None:
        return table.current_snapshot()
    found = table.snapshot_by_id(snapshot_id)
    if found is None:
        message = f"{name_of(table)}: there is no snapshot {snapshot_id} any more"
        raise LakeError(message, hint="It was removed by expire_snapshots, or the table was made again.")
    return found


def _schema_of(table: Table, snapshot: Snapshot | None) -> Schema:
    """Return the columns that a snapshot was written with; the present ones where it does not tell."""
    if snapshot is None or snapshot.schema_id is None:
        return table.schema()
    schemas = table.schemas()
    if snapshot.schema_id not in schemas:
        raise LakeError(f"{name_of(table)}: the columns of snapshot {snapshot.snapshot_id} are not known")
    return schemas[snapshot.schema_id]


def _selected(table: Table, field: NestedField, *, is_there: bool) -> Selected:
    kind = duckdb_type(field.field_type)
    if kind is None:
        raise needs_spark(table, f"column {field.name!r} is {field.field_type}")
    return Selected(field.name, kind, field.field_id if is_there else None)
