"""The rows of a window, one for each key, from wherever they are read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from iceberg_datamart.core.instants import CursorKind
from iceberg_datamart.core.source.reads import FilesRead, IcebergRead, Probe, QueryRead, SharedKeys
from iceberg_datamart.core.sql.keys import (
    Batch,
    deduplicated_sql,
    shared_keys_sql,
    versions_sql,
    without_older_sql,
)
from iceberg_datamart.core.state.watermark import Watermark
from iceberg_datamart.errors import UnfitValueError

if TYPE_CHECKING:
    from iceberg_datamart.core.source.reads import LakeRead, SourceTable
    from iceberg_datamart.lake.engine import Engine
    from iceberg_datamart.ports import MirrorMerge

_CURSOR_TYPES = {CursorKind.TIMESTAMPTZ: "timestamptz", CursorKind.DATE: "date", CursorKind.INTEGER: "long"}


def batch_of(engine: Engine, merge: MirrorMerge) -> str:
    """Return the relation of the rows to merge, one for each key, and the read's marks."""
    source, read = merge.source, merge.read
    rows = engine.read(read, source)
    # PostgreSQL itself proves its keys, or chooses among the rows that share one: `sources/postgres/keys.py`.
    if source.key_is_unique or isinstance(read, QueryRead):
        return rows
    if isinstance(read, IcebergRead) and read.after is not None and read.deleted:
        # Of a row that is marked as deleted, the mirror keeps nothing that says how new it was.
        whole = engine.read(replace(read, after=None), source)
        rows = engine.define(versions_sql(engine.dialect, whole, rows, source.primary_key))
    marks = [mark for mark in (read.deleted, read.pending) if mark is not None]
    batch = _batch(rows, source, merge.cursor)
    return engine.define(deduplicated_sql(engine.dialect, batch, marks))


def probe_of(engine: Engine, source: SourceTable, read: LakeRead, place: str, cursor: str | None) -> Probe:
    """Return how many rows there are, the greatest cursor, and which keys are shared.

    `place` is the path of the table's settings. Raises: UnfitValueError for a NULL in a key, and for files
    that cannot be told for certain.
    """
    if isinstance(read, FilesRead) and read.format == "csv" and read.folders:
        engine.require_whole_lines(read)
    dialect = engine.dialect
    keys = " OR ".join(f"{dialect.quoted(name)} IS NULL" for name in source.primary_key)
    greatest = "CAST(NULL AS bigint)"
    if cursor is not None and source.cursor is not None:
        greatest = f"max({dialect.number(dialect.quoted(cursor), _CURSOR_TYPES[source.cursor])})"
    rows = engine.read(read, source)
    number, newest, without = engine.fetch(f"SELECT count(*), {greatest}, count_if({keys}) FROM {rows}")[0]
    if without:
        message = f"{without} rows have NULL in their key ({', '.join(source.primary_key)})"
        raise UnfitValueError(message, hint=f"Correct the source, or {place}.primary_key.")
    mark = None if newest is None or source.cursor is None else Watermark(source.cursor, int(newest))
    text = shared_keys_sql(dialect, _batch(rows, source, cursor))
    shared, doubled, undecided, example = engine.fetch(text)[0]
    found = SharedKeys(shared, doubled, undecided, example or "")
    return Probe(int(number), mark, settled=mark, shared=found)


def _batch(rows: str, source: SourceTable, cursor: str | None) -> Batch:
    columns = [column.name for column in source.columns]
    return Batch(rows, source.primary_key, columns, cursor if cursor in columns else None)


def without_older(engine: Engine, merge: MirrorMerge, batch: str, base: int) -> str:
    """Return the rows of `batch` but those that files or an append bring later than newer ones.

    They are a log of versions: what the mirror holds may come from a file that is gone since. A full
    load takes what the files say now, as of a database.
    """
    if merge.full or merge.cursor is None or isinstance(merge.read, QueryRead):
        return batch
    mirror = engine.table(merge.table, base)
    return engine.define(
        without_older_sql(engine.dialect, batch, mirror, merge.source.primary_key, merge.cursor)
    )
