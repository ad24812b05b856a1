"""Changes of a table's rows as what is staged: rows to add, and the places of rows to delete."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import TYPE_CHECKING

from iceberg_datamart.core.source.widths import BATCH_SIZE, BUDGET
from iceberg_datamart.core.sql.dialect import listed, matching
from iceberg_datamart.core.sql.duckdb import DUCKDB
from iceberg_datamart.core.sql.merge import lineage_values
from iceberg_datamart.core.sql.reserved import CHANGE, DELETE, INSERT, NEW, OLD
from iceberg_datamart.errors import LakeError, NeedsSparkError
from iceberg_datamart.lake.in_process.delete_files import FILE_PATH
from iceberg_datamart.lake.in_process.delete_files import POS as POS_IN_FILE
from iceberg_datamart.lake.in_process.live_files import name_of
from iceberg_datamart.lake.in_process.ordered import OutOfOrderError, in_order
from iceberg_datamart.lake.in_process.scans import FILE, POS
from iceberg_datamart.lake.in_process.session import CHUNK_ROWS
from iceberg_datamart.lake.in_process.types import duckdb_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pyiceberg.table import Table

    from iceberg_datamart.core.changes import Append, Lineage, Merge
    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.lake.engine import Staged
    from iceberg_datamart.lake.in_process.session import Session
    from iceberg_datamart.lake.in_process.staging import Staging
    from iceberg_datamart.lake.in_process.tables import Tables

log = logging.getLogger(__name__)
quoted = DUCKDB.quoted


class Writing:
    """Computes with DuckDB what `Staging` writes."""

    def __init__(self, session: Session, tables: Tables, staging: Staging) -> None:
        """Take what computes, what is read and what is written."""
        self._session, self._tables, self._staging = session, tables, staging

    def append(self, append: Append, summary: Mapping[str, str]) -> Staged:
        """Stage rows that are all new."""
        values = [*map(quoted, append.columns), *_nulls(append.absent), *_lineage(append.lineage)]
        rows = f"SELECT {', '.join(values)} FROM {append.relation}"
        if not append.order:
            return self._appended(append.table, rows, summary)
        try:
            return self._appended(append.table, rows, summary, append.order)
        except OutOfOrderError:
            log.debug("'%s': its rows do not come in the order of their key, and are sorted", append.table)
        return self._appended(append.table, f"{rows} ORDER BY {listed(DUCKDB, append.order)}", summary)

    def _appended(
        self, table: str, select: str, summary: Mapping[str, str], order: Sequence[str] = ()
    ) -> Staged:
        """Stage a SELECT's rows, in `order`. Raises: OutOfOrderError where they do not nearly come so."""
        loaded = self._tables.load(table)
        require_room(self._session, loaded)
        with closing(self._session.streamed(select)) as rows:
            return self._staging.change(loaded, in_order(rows, order) if order else rows, None, summary)

    def merge(self, merge: Merge, summary: Mapping[str, str]) -> Staged:
        """Stage what `core.sql.merge.merge_sql` says of the snapshot that is current now.

        Raises: LakeError where two changes are of one row; CommitConflictError where another snapshot
        became current meanwhile.
        """
        table = self._tables.load(merge.table)
        require_room(self._session, table)
        matched = self._session.kept(matched_sql(merge, self._tables.placed(table)))
        try:
            self._require_one_change_a_row(merge.table, matched)
            places = f"SELECT {FILE} AS {FILE_PATH}, {POS} AS {POS_IN_FILE} FROM {matched} ORDER BY ALL"
            with (
                closing(self._session.streamed(places)) as positions,
                closing(self._session.streamed(written_sql(merge, matched))) as rows,
            ):
                return self._staging.change(table, rows, positions, summary)
        finally:
            self._session.give_up(matched)

    def _require_one_change_a_row(self, table: str, matched: str) -> None:
        counts = f"SELECT count(*), count(DISTINCT ({FILE}, {POS})) FROM {matched}"
        changes, rows = self._session.fetched(counts)[0]
        if changes != rows:
            message = f"{table}: {changes} changes are of {rows} rows: a key was to be changed twice"
            raise LakeError(message, hint="Nothing of this table was published. Run again.")


def require_room(session: Session, table: Table) -> None:
    """Raise NeedsSparkError where the fewest rows that DuckDB tells may be more than memory has."""
    told = table.properties.get(BATCH_SIZE)
    if told is None:
        return
    bytes_at_a_time = CHUNK_ROWS * (BUDGET // int(told))
    if bytes_at_a_time > session.memory:
        message = f"{name_of(table)}: {CHUNK_ROWS} rows may be {bytes_at_a_time} bytes, more than run.memory"
        raise NeedsSparkError(message)


def matched_sql(merge: Merge, placed: str) -> str:
    """Return the SELECT of the rows that are changed or deleted: where each lies, and what an update keeps.

    That is what the table holds of key and absent columns; an insert matches nothing.
    """
    kept = [*merge.key, *(column.name for column in merge.absent)]
    values = [FILE, POS, *map(quoted, kept)]
    changed = f"SELECT {listed(DUCKDB, merge.key)}, {CHANGE} FROM {merge.relation} AS {NEW}"
    return (
        f"SELECT {', '.join(f'{OLD}.{name}' for name in values)}, {NEW}.{CHANGE} "
        f"FROM (SELECT {', '.join(values)} FROM {placed} AS {OLD} WHERE {merge.bounds}) AS {OLD} "
        f"JOIN ({changed} WHERE {CHANGE} <> '{INSERT}') AS {NEW} "
        f"ON {matching(DUCKDB, merge.key, OLD, NEW, null_safe=True)}"
    )


def written_sql(merge: Merge, matched: str) -> str:
    """Return the SELECT of the rows that are written: new versions of those in `matched`, and new rows.

    An insert has no match: not even the rows of its key that are deleted.
    """
    lineage = _lineage(merge.lineage)
    old = f"{OLD}.{POS} IS NOT NULL"
    values = [
        f"CASE WHEN {old} THEN {OLD}.{name} ELSE {NEW}.{name} END AS {name}"
        for name in map(quoted, merge.key)
    ]
    values += [f"{NEW}.{quoted(name)}" for name in merge.columns if name not in merge.key]
    values += [f"{OLD}.{quoted(column.name)}" for column in merge.absent]
    return (
        f"SELECT {', '.join([*values, *lineage])} FROM {merge.relation} AS {NEW} "
        f"LEFT JOIN {matched} AS {OLD} ON {OLD}.{CHANGE} = {NEW}.{CHANGE} "
        f"AND {matching(DUCKDB, merge.key, OLD, NEW, null_safe=True)} "
        f"WHERE {NEW}.{CHANGE} <> '{DELETE}' ORDER BY {listed(DUCKDB, merge.key)}"
    )


def _nulls(columns: Iterable[Column]) -> list[str]:
    return [f"CAST(NULL AS {duckdb_type(column.type)}) AS {quoted(column.name)}" for column in columns]


def _lineage(lineage: Lineage) -> list[str]:
    values = lineage_values(DUCKDB, lineage)
    return [f"{value} AS {quoted(name)}" for name, value in values.items()]
