"""Proof that Iceberg holds what PostgreSQL holds: every value of every row, in both directions.

Shares only the way to the catalog with the job. Each side writes a row as the same text, and digests are
compared in the order of the keys, so that two million rows need little memory.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from psycopg import sql
from pyiceberg.types import DateType, IcebergType, ListType, TimestampType, TimestamptzType

from iceberg_datamart.app.assemble import catalog_of
from iceberg_datamart.demo.rows import TABLES
from iceberg_datamart.errors import DatamartError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pyiceberg.table import Table
    from typing_extensions import LiteralString

    from iceberg_datamart.core.settings.model import Config

    Connection = psycopg.Connection[Any]

MART = "account_settlements"
MART_KEY = (
    *("account_id", "account_metadata_id", "account_risk_id", "queue_id"),
    "settlement_transaction_id",
)
CHANGED, MISSING, EXTRA = "changed", "missing", "extra"
_SHOWN = 3
_LINEAGE = {"_run_id", "_merged_at"}
_FETCHED_ROWS = 20_000
# Between two values, for NULL, between two elements: control characters that the demo's texts lack.
_BETWEEN, _NULL, _ELEMENTS = "\x1f", "\x1e", "\x1d"


class Row(NamedTuple):
    """One row: its key, and a digest of all its values, the key's included."""

    key: tuple[int, ...]
    digest: bytes


@dataclass(frozen=True)
class Difference:
    """A row that is not the same on both sides: `changed`, `missing` from Iceberg, or `extra` in it."""

    kind: str
    key: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """How many rows were expected, how many differ, and the first few that do."""

    rows: int
    differences: int
    first: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """Say whether both sides hold the same rows."""
        return self.differences == 0


@dataclass(frozen=True)
class Proof:
    """The comparison of one mirror or mart, and its key's columns."""

    table: str
    key: tuple[str, ...]
    comparison: Comparison


def compare(expected: Iterable[Row], found: Iterable[Row]) -> Comparison:
    """Return how `found` differs from `expected`; both come in the order of their keys.

    A key that `found` holds twice is an extra row.
    """
    rows, differences, first = 0, 0, []
    for is_expected, difference in _walked(iter(expected), iter(found)):
        rows += is_expected
        if difference is not None:
            differences += 1
            if differences <= _SHOWN:
                first.append(difference)
    return Comparison(rows, differences, tuple(first))


def prove(config: Config, url: str) -> Iterator[Proof]:
    """Yield a proof for each mirror and for the mart, all read at one point of the source.

    Raises: DatamartError where a table has other columns than its source.
    """
    catalog = catalog_of(config)
    with psycopg.connect(url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        for name, key, query in _queries():
            table = catalog.load_table((config.database, name))
            columns = _columns(connection, query, table)
            expected = _in_source(connection, query, key, columns)
            yield Proof(name, key, compare(expected, _in_iceberg(table, key, columns)))


def _queries() -> Iterator[tuple[str, tuple[str, ...], sql.Composable]]:
    for table in TABLES:
        every_row = sql.SQL("select * from {}").format(sql.Identifier("public", table))
        yield table, ("id",), every_row
    text: LiteralString = files("iceberg_datamart.demo").joinpath("mart.sql").read_text("utf-8")
    yield MART, MART_KEY, sql.SQL(text)


def _columns(connection: Connection, query: sql.Composable, table: Table) -> dict[str, IcebergType]:
    """Return the columns of both sides, in the source's order, with their Iceberg types."""
    cursor = connection.execute(sql.SQL("select * from ({}) as r limit 0").format(query))
    source = [column.name for column in cursor.description or ()]
    fields = {field.name: field.field_type for field in table.schema().fields if field.name not in _LINEAGE}
    if set(source) != set(fields):
        differing = ", ".join(sorted(set(source) ^ set(fields)))
        raise DatamartError(f"'{table.name()[-1]}' and its source do not have the same columns: {differing}")
    return {name: fields[name] for name in source}


def _in_source(
    connection: Connection, query: sql.Composable, key: Sequence[str], columns: Mapping[str, IcebergType]
) -> Iterator[Row]:
    """Yield the rows that PostgreSQL has, read batch by batch and digested by the server."""
    texts = sql.SQL(", ").join(_source_text(sql.Identifier(name), kind) for name, kind in columns.items())
    keys = sql.SQL(", ").join(map(sql.Identifier, key))
    digest = sql.SQL("decode(md5(array_to_string(array[{}], {}, {})), 'hex')").format(
        texts, sql.Literal(_BETWEEN), sql.Literal(_NULL)
    )
    statement = sql.SQL("select {}, {} from ({}) as r order by {}").format(keys, digest, query, keys)
    with connection.cursor("proof", binary=True) as cursor:
        cursor.itersize = _FETCHED_ROWS
        for row in cursor.execute(statement):
            yield Row(row[:-1], row[-1])


def _source_text(name: sql.Identifier, kind: IcebergType) -> sql.Composed:
    if isinstance(kind, (TimestampType, TimestamptzType)):
        return sql.SQL("(extract(epoch from {}) * 1000000)::int8::text").format(name)
    if isinstance(kind, DateType):
        return sql.SQL("({} - date '1970-01-01')::text").format(name)
    if isinstance(kind, ListType):
        elements = sql.SQL("cardinality({0}) || {1} || array_to_string({0}, {1})")
        return elements.format(name, sql.Literal(_ELEMENTS))
    return sql.SQL("{}::text").format(name)


def _in_iceberg(table: Table, key: Sequence[str], columns: Mapping[str, IcebergType]) -> Iterator[Row]:
    """Yield the rows that a reader of the Iceberg table sees; only keys and digests are kept to sort them."""
    digested = []
    for batch in table.scan(selected_fields=tuple(columns)).to_arrow_batch_reader():
        texts = [pc.fill_null(_arrow_text(batch.column(name)), _NULL) for name in columns]
        joined = pc.binary_join_element_wise(*texts, pa.scalar(_BETWEEN, texts[0].type))
        texts_as_bytes = joined.cast(pa.large_binary()).to_pylist()
        digests = [hashlib.md5(text, usedforsecurity=False).digest() for text in texts_as_bytes]
        arrays = [*(batch.column(name) for name in key), pa.array(digests, pa.binary(16))]
        digested.append(pa.RecordBatch.from_arrays(arrays, [*key, "digest"]))
    if not digested:
        return
    rows = pa.Table.from_batches(digested).sort_by([(name, "ascending") for name in key])
    for batch in rows.to_batches(max_chunksize=_FETCHED_ROWS):
        *keys, digests = (column.to_pylist() for column in batch.columns)
        yield from map(Row, zip(*keys, strict=True), digests)


def _arrow_text(values: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("us", values.type.tz)).cast(pa.int64())
    elif pa.types.is_date32(values.type):
        values = values.cast(pa.int32())
    elif pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        joined = pc.binary_join(values.cast(pa.list_(pa.string())), _ELEMENTS)
        length = pc.list_value_length(values).cast(pa.string())
        return pc.binary_join_element_wise(length, joined, _ELEMENTS).cast(pa.large_string())
    return values.cast(pa.large_string())


def _walked(expected: Iterator[Row], found: Iterator[Row]) -> Iterator[tuple[bool, Difference | None]]:
    """Yield for each row of either side whether it was expected, and what is wrong with it."""
    left, right = next(expected, None), next(found, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left.key < right.key):
            assert left is not None  # noqa: S101  (one of them is there)
            yield True, Difference(MISSING, left.key)
            left = next(expected, None)
        elif left is None or right.key < left.key:
            yield False, Difference(EXTRA, right.key)
            right = next(found, None)
        else:
            yield True, None if left.digest == right.digest else Difference(CHANGED, left.key)
            left, right = next(expected, None), next(found, None)
