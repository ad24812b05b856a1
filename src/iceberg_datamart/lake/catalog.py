"""The catalog without a JVM: histories, new tables, schema changes, by PyIceberg."""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from datetime import datetime, timezone
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING

from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, TableAlreadyExistsError

from iceberg_datamart.core.state.history import Snapshot, TableHistory
from iceberg_datamart.core.state.origin import origin_of
from iceberg_datamart.crash_points import crash_point
from iceberg_datamart.embedded.java import refuse_unnameable
from iceberg_datamart.errors import CommitConflictError, MetadataMissingError
from iceberg_datamart.lake.answering import answering, while_unreachable
from iceberg_datamart.lake.opening import existing_catalog, open_catalog
from iceberg_datamart.lake.types import iceberg_schema, iceberg_type, widened_place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot

    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.core.plan.schema import SchemaChange
    from iceberg_datamart.core.settings.model import CatalogConfig


_PRIMARY_KEY = "iceberg-datamart.primary-key"
# https://py.iceberg.apache.org/configuration/#backward-compatibility
_LEGACY = "PYICEBERG_LEGACY_CURRENT_SNAPSHOT_ID"
_WRITING = Lock()
# Of a new table's columns: https://iceberg.apache.org/spec/#table-metadata-fields
_FIRST_SCHEMA = 0


@contextmanager
def _changing(table: str, doing: str) -> Iterator[None]:
    """Turn the failures of a metadata commit into errors of this package, naming the table."""
    try:
        with answering(table):
            yield
    except CommitFailedException as error:
        raise CommitConflictError(f"another run changed {table} while {doing}", hint="Run again.") from error


@contextmanager
def _changing_columns(table: str) -> Iterator[None]:
    """Do as `_changing`; afterwards the columns are changed."""
    with _changing(table, "its columns were changed"):
        yield
    crash_point("columns-changed")


@contextmanager
def writing_metadata(*, empty: bool) -> Iterator[None]:
    """Let PyIceberg write metadata, `empty` where it will name no snapshot, as every Iceberg reads it.

    Iceberg 1.0 reads no empty table whose metadata leaves the current snapshot out. The setting by which
    PyIceberg names it writes all other absent fields as null, and no Iceberg, up to 1.10, reads a snapshot
    whose parent is null. The setting is one for the process, so writers take turns.
    """
    with _WRITING:
        before = os.environ.get(_LEGACY)
        os.environ[_LEGACY] = str(empty).lower()
        try:
            yield
        finally:
            os.environ.pop(_LEGACY)
            if before is not None:
                os.environ[_LEGACY] = before


class LakeCatalog:
    """One namespace of one Iceberg catalog."""

    def __init__(self, config: CatalogConfig, database: str) -> None:
        """Open the catalog as it is. Raises: ConfigError, CatalogUnreachableError."""
        self._config, self._catalog = config, existing_catalog(config)
        self._warehouse, self._database = config.warehouse, database

    def history(self, table: str) -> TableHistory | None:
        """Return the table's columns and its current snapshot's ancestors; None where there is no table."""
        try:
            found = while_unreachable(self.load, table)
        except NoSuchTableError:
            return None
        fields, ancestors = found.schema().fields, tuple(_ancestors(found))
        columns = {field.name: str(field.field_type) for field in fields}
        ids = {snapshot.snapshot_id for snapshot in ancestors}
        # No rollback and no expiry takes a sequence number back. Tables of format 1 have none.
        last = getattr(found.metadata, "last_sequence_number", 0)
        others = tuple(as_snapshot(s) for s in found.metadata.snapshots if s.snapshot_id not in ids)
        return TableHistory(
            columns,
            _primary_key(found),
            ancestors,
            is_superseded=bool(ancestors) and last > ancestors[0].sequence_number,
            has_required=any(field.required for field in fields),
            others=others,
            log=tuple((_instant(e.timestamp_ms), e.snapshot_id) for e in found.metadata.snapshot_log),
            last_sequence_number=last,
            properties=dict(found.properties),
            schema_id=found.metadata.current_schema_id,
            format_version=found.metadata.format_version,
            is_partitioned=any(spec.fields for spec in found.metadata.partition_specs),
            origin=origin_of(found.properties, ancestors),
        )

    def surveyed(
        self, tables: Iterable[str]
    ) -> tuple[dict[str, TableHistory | None], dict[str, MetadataMissingError]]:
        """Return the history of each table, and the failures of those that cannot be loaded (R9)."""
        found: dict[str, TableHistory | None] = {}
        failures: dict[str, MetadataMissingError] = {}
        for table in tables:
            try:
                found[table] = self.history(table)
            except MetadataMissingError as error:  # noqa: PERF203  (of one table alone)
                found[table], failures[table] = None, error
        return found, failures

    def create(
        self, table: str, columns: Sequence[Column], key: Sequence[str], properties: Mapping[str, str]
    ) -> int:
        """Create an empty table that tells its key; one that another run just created stays.

        Return the id of its columns as they were made. Raises: CatalogUnreachableError, where the table may
        be there by now; ConfigError, where Java could not open it.
        """
        if not self._warehouse.startswith("s3://"):
            refuse_unnameable(f"{self._warehouse} {self._database} {table}")
        schema = iceberg_schema(columns, key)
        told = {_PRIMARY_KEY: json.dumps(list(key))} if key else {}
        try:
            with answering(table):
                catalog = self._made()
                self._create_namespace(catalog)
                crash_point("database-created")
                with writing_metadata(empty=True):
                    catalog.create_table(
                        (self._database, table), schema=schema, properties={**told, **properties}
                    )
        except TableAlreadyExistsError:
            return _FIRST_SCHEMA
        crash_point("table-created")
        return _FIRST_SCHEMA

    def _found(self) -> Catalog | None:
        """Return the catalog as soon as there is one: another run may make it."""
        if self._catalog is None:
            self._catalog = existing_catalog(self._config)
        return self._catalog

    def _made(self) -> Catalog:
        """Return the catalog, which is made where it is missing: who only reads leaves no trace."""
        if self._catalog is None:
            self._catalog = open_catalog(self._config)
        return self._catalog

    def _create_namespace(self, catalog: Catalog) -> None:
        """Create the database where it is missing; another run may do so, too, meanwhile.

        Looked for first: the job's role need not be allowed to create one.
        """
        if catalog.namespace_exists(self._database):
            return
        try:
            catalog.create_namespace_if_not_exists(self._database)
        except Exception:
            if not catalog.namespace_exists(self._database):
                raise

    def evolve(self, table: str, change: SchemaChange, schema_id: int | None) -> int | None:
        """Add, widen and drop columns: one metadata commit, no snapshot.

        `schema_id` is of the columns that change; return that of the new ones. Raises: CommitConflictError
        where the table has others by now; CatalogUnreachableError, where they may be changed by now.
        """
        if not (change.added or change.widened or change.dropped):
            return schema_id
        found = self._loaded_with(table, schema_id)
        with (
            _changing_columns(table),
            writing_metadata(empty=not found.metadata.snapshots),
            found.update_schema() as update,
        ):
            for name in change.dropped:
                update.delete_column((name,))
            for column in change.added:
                update.add_column((column.name,), iceberg_type(column.type, count(1)))
            for column in change.widened:
                update.update_column(*widened_place(column))
        return found.metadata.current_schema_id

    def make_optional(self, table: str, schema_id: int | None) -> int:
        """Let every column be NULL, so that none is an identifier field; the table still tells its key.

        `schema_id` and what is returned as in `evolve`. Raises: as `evolve`.
        """
        loaded = self._loaded_with(table, schema_id)
        empty = not loaded.metadata.snapshots
        with _changing_columns(table), writing_metadata(empty=empty), loaded.transaction() as transaction:
            found = transaction.table_metadata.schema()
            if key := _primary_key(loaded):
                transaction.set_properties({_PRIMARY_KEY: json.dumps(key)})
            with transaction.update_schema() as update:
                update.set_identifier_fields()
                for field in found.fields:
                    if field.required:
                        update.make_column_optional((field.name,))
        return loaded.metadata.current_schema_id

    def _loaded_with(self, table: str, schema_id: int | None) -> Table:
        """Return the table as it is now. Raises: CommitConflictError where it has other columns."""
        found = self.load(table)
        if found.metadata.current_schema_id != schema_id:
            message = f"another run or tool changed the columns of {table} meanwhile"
            raise CommitConflictError(message, hint="Run again.")
        return found

    def set_properties(self, table: str, properties: Mapping[str, str]) -> None:
        """Set some properties of the table: one metadata commit. Raises: as `evolve`."""
        loaded = self.load(table)
        empty = not loaded.metadata.snapshots
        doing = "its properties were set"
        with _changing(table, doing), writing_metadata(empty=empty), loaded.transaction() as transaction:
            transaction.set_properties(dict(properties))

    def roll_back(self, table: str, current: int, snapshot_id: int) -> None:
        """Make an ancestor of snapshot `current` the current one: one metadata commit, no snapshot.

        Raises: CommitConflictError where the table is not at `current` any more; CatalogUnreachableError,
        where it may be rolled back by now.
        """
        loaded = self.load(table)
        found, doing = loaded.current_snapshot(), "it was rolled back"
        if found is None or found.snapshot_id != current:
            raise CommitConflictError(f"another run changed {table} while {doing}", hint="Look at it again.")
        with _changing(table, doing), writing_metadata(empty=False), loaded.manage_snapshots() as manage:
            manage.rollback_to_snapshot(snapshot_id)

    def load(self, table: str) -> Table:
        """Return the table as it is now. Raises: NoSuchTableError, MetadataMissingError."""
        catalog = self._found()
        if catalog is None:
            raise NoSuchTableError(f"there is no catalog yet, and so no table {table}")
        try:
            with answering(table):
                return catalog.load_table((self._database, table))
        except FileNotFoundError as error:
            quoted = re.search(r"'([^']+)'", str(error))
            file = quoted[1] if quoted else str(error)
            message = f"{table}: the catalog points to a metadata file that does not exist: {file}"
            hint = f"Run `iceberg-datamart repair {table}`, then run again; no other table is affected."
            raise MetadataMissingError(message, hint=hint) from error


def _primary_key(table: Table) -> tuple[str, ...]:
    """Return the identifier fields, in the order in which the table was given its key.

    That order is in a property alone, as are keys that cannot be identifier fields.
    """
    told = tuple(json.loads(table.properties.get(_PRIMARY_KEY, "[]")))
    identifiers = table.schema().identifier_field_names()
    if not identifiers or set(told) == identifiers:
        return told
    return tuple(field.name for field in table.schema().fields if field.name in identifiers)


def _ancestors(table: Table) -> list[Snapshot]:
    found = []
    current = table.current_snapshot()
    while current is not None:
        found.append(as_snapshot(current))
        parent = current.parent_snapshot_id
        current = None if parent is None else table.snapshot_by_id(parent)
    return found


def as_snapshot(snapshot: IcebergSnapshot) -> Snapshot:
    """Return one of PyIceberg's snapshots as a history tells it."""
    summary = snapshot.summary
    return Snapshot(
        snapshot_id=snapshot.snapshot_id,
        parent_id=snapshot.parent_snapshot_id,
        committed_at=_instant(snapshot.timestamp_ms),
        operation="" if summary is None else summary.operation.value,
        summary={} if summary is None else dict(summary.additional_properties),
        sequence_number=snapshot.sequence_number or 0,
        schema_id=snapshot.schema_id,
    )


def _instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, tz=timezone.utc)
