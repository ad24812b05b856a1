"""Why a table or mart needs Spark, as far as facts tell before a run: one reason after another.

What they do not tell, the engine in process finds out before it writes anything, and Spark takes over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.core.mart.shape import MirrorShape, mart_shape
from iceberg_datamart.core.mart.spark_only import spark_only as spark_only_mart
from iceberg_datamart.core.names import same_but_for_case
from iceberg_datamart.core.quality.spark_only import spark_only as spark_only_table
from iceberg_datamart.core.sql.reserved import LINEAGE_NAMES
from iceberg_datamart.core.sql.whitelist import reason_in
from iceberg_datamart.errors import DatamartError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.core.plan.facts import Facts, TableFacts
    from iceberg_datamart.core.settings.model import Config, MartConfig, TableConfig
    from iceberg_datamart.core.state.history import TableHistory

# The engine in process writes what Iceberg's own defaults are, and leaves all else to Spark.
_WRITES = {
    "write.format.default": "parquet",
    "write.merge.mode": "merge-on-read",
}
_FORMAT_VERSION = 2


def mirror_obstacles(name: str, config: Config, known: TableFacts) -> Iterator[str]:
    """Yield why a table needs Spark."""
    settings, source = config.tables[name], known.source
    if isinstance(source, DatamartError):
        return
    if not source.is_digested:
        yield "its source is files or an Iceberg table"
    held = () if known.mirror is None else tuple(known.mirror.columns)
    yield from _names_of_one(name, dict.fromkeys((*held, *(column.name for column in source.columns))))
    yield from layout_obstacles(name, known.mirror, settings.properties)
    yield from _sql_of_table(name, settings, config, source.columns)


def mart_obstacles(name: str, config: Config, facts: Facts) -> Iterator[str]:
    """Yield why a mart needs Spark; its own table is not looked at."""
    settings = config.marts[name]
    yield from layout_obstacles(name, None, settings.properties)
    tables = (settings.from_, *(join.table for join in settings.joins))
    for table in tables:
        known = facts.tables.get(table)
        mirror = None if known is None else known.mirror
        yield from layout_obstacles(table, mirror, config.tables[table].properties)
        yield from _names_of_one(table, _mirror_shape(table, config, known).columns)
    if _has_own_sql(settings):
        yield from _settings_of_spark(config)
        shapes = {table: _mirror_shape(table, config, facts.tables.get(table)) for table in tables}
        if all(shape.types for shape in shapes.values()):
            reason = spark_only_mart(settings, mart_shape(name, settings, shapes))
            yield from [] if reason is None else [reason]


def _names_of_one(table: str, names: Iterable[str]) -> Iterator[str]:
    twins = same_but_for_case(names)
    if twins is not None:
        yield "'{}' has columns '{}' and '{}', one name in process".format(table, *twins)


def _sql_of_table(
    name: str, settings: TableConfig, config: Config, columns: Iterable[Column]
) -> Iterator[str]:
    reason = spark_only_table(f"tables.{name}", settings.checks, settings.audits, columns)
    if reason is not None:
        yield reason
    if any(check.type == "expression" for check in settings.checks):
        yield from _settings_of_spark(config)


def _settings_of_spark(config: Config) -> Iterator[str]:
    reason = reason_in(config.spark.properties)
    if reason is not None:
        yield reason


def _has_own_sql(settings: MartConfig) -> bool:
    own = any(check.type == "expression" for check in settings.checks)
    return own or bool(settings.expressions or settings.filter or settings.audits)


def _mirror_shape(table: str, config: Config, known: TableFacts | None) -> MirrorShape:
    """Return a mirror's columns as they will be after the run, without types where they are not known."""
    if known is None or isinstance(known.source, DatamartError):
        return MirrorShape((), ())
    present = {} if known.mirror is None else known.mirror.columns
    columns = {name: kind for name, kind in present.items() if name not in LINEAGE_NAMES}
    columns |= {column.name: column.type for column in known.source.columns}
    key = config.tables[table].primary_key or known.source.primary_key
    return MirrorShape(tuple(columns), key, tuple(columns.values()))


def layout_obstacles(
    table: str, history: TableHistory | None, properties: Mapping[str, str]
) -> Iterator[str]:
    """Yield why a table's files need Spark; `properties` are those that the settings give it."""
    known = {**({} if history is None else history.properties), **properties}
    for name, value in _WRITES.items():
        if known.get(name, value) != value:
            yield f"'{table}' has {name}={known[name]}"
    if known.get("format-version", str(_FORMAT_VERSION)) != str(_FORMAT_VERSION):
        yield f"'{table}' is to have format version {known['format-version']}"
    if history is None:
        return
    if history.format_version != _FORMAT_VERSION:
        yield f"'{table}' has format version {history.format_version}"
    if history.is_partitioned:
        yield f"'{table}' is partitioned"
    if history.current is not None and history.current.has_equality_deletes:
        yield f"'{table}' has equality deletes"
