"""Settings as people write them: validated as a whole, every problem named with its path."""

from __future__ import annotations

import re
from datetime import timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)

from iceberg_datamart.core.names import SourceName
from iceberg_datamart.core.settings.audits import AuditConfig, audit_problems
from iceberg_datamart.core.settings.checks import CheckConfig, column_problems, mart_problems
from iceberg_datamart.core.settings.places import CatalogConfig, StateConfig
from iceberg_datamart.core.settings.rules import (
    RESERVED_COLUMNS,
    ColumnPairs,
    Names,
    OneOrMore,
    Problem,
    SettingPath,
    Settings,
    Text,
    Texts,
    listed,
    mapping,
    reference_problems,
    settings_of,
)
from iceberg_datamart.core.settings.sources import GlueSource, PostgresSource, SourceConfig, SourceOfAKind
from iceberg_datamart.core.settings.upkeep import Maintain, MaintainConfig, UpkeepConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "AuditConfig",
    "CatalogConfig",
    "CheckConfig",
    "ColumnConfig",
    "Config",
    "GlueSource",
    "JoinConfig",
    "MaintainConfig",
    "MartConfig",
    "PostgresSource",
    "Problem",
    "RunConfig",
    "SettingPath",
    "Settings",
    "SourceConfig",
    "SourceName",
    "SparkConfig",
    "StateConfig",
    "TableConfig",
    "UpkeepConfig",
    "settings_of",
]

_MAX_PRECISION = 38  # of a decimal in Iceberg
_EVERY = r"every ([1-9][0-9]{0,5}) runs?"


def _runs(value: Any) -> Any:
    match = re.fullmatch(_EVERY, value) if isinstance(value, str) else None
    if isinstance(value, str) and not match:
        msg = f"must read like 'every 24 runs', not {value!r}"
        raise ValueError(msg)
    return int(match[1]) if match else value


def _version(value: Any) -> Any:
    return 1 if value == "1" else value


def _source_name(value: Any) -> SourceName:
    if isinstance(value, SourceName):
        return value
    if not isinstance(value, str):
        msg = "must be text, such as public.account"
        raise ValueError(msg)  # noqa: TRY004  (pydantic gathers ValueErrors)
    return SourceName.parse(value)


def _time_zone(name: str) -> str:
    try:
        # UTC needs no time zone database; what "localtime" means depends on the machine.
        return name if name == "UTC" else ZoneInfo("" if name == "localtime" else name).key
    except (KeyError, ValueError, OSError):  # OSError: 'Europe' alone is a folder of the database
        near = get_close_matches(name, available_timezones(), n=1) or ["Europe/Berlin"]
        msg = f"{name!r} is no time zone; write one such as {near[0]!r}"
        raise ValueError(msg) from None


def _column_type(text: str) -> str:
    match = re.fullmatch(r"decimal\(([0-9]{1,2}),([0-9]{1,2})\)", text.replace(" ", ""))
    if text != "string" and not (
        match and 1 <= int(match[1]) <= _MAX_PRECISION and int(match[2]) <= int(match[1])
    ):
        msg = f"must be 'string' or 'decimal(p,s)' with p from 1 to 38 and s from 0 to p, not {text!r}"
        raise ValueError(msg)
    return text.replace(" ", "")


SourceTable = Annotated[
    SourceName,
    PlainValidator(_source_name),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "minLength": 1}),
]
EveryRuns = Annotated[
    int,
    Field(ge=1),
    BeforeValidator(_runs, json_schema_input_type=Annotated[str, Field(pattern=f"^{_EVERY}$")]),
]


class ColumnConfig(Settings):
    """What is set by hand for one column of a mirror."""

    type: Annotated[str, AfterValidator(_column_type)] = Field(
        description="`decimal(p,s)` with p from 1 to 38 and s from 0 to p, or `string`."
    )


class TableConfig(Settings):
    """One mirror: the source table it follows, and how."""

    source: Text = Field(description="Which of the `sources` has the table.")
    from_: SourceTable = Field(
        validation_alias="from",
        serialization_alias="from",
        description="The source table: `schema.table` or `table`. A part with a dot needs double quotes, "
        "as in `'public.\"my.table\"'`. Case is kept.",
    )
    primary_key: OneOrMore | None = Field(
        default=None, description="Columns that identify a row. Not set: the source's own primary key."
    )
    duplicates: Literal["error", "newest"] = Field(
        default="error",
        description="What becomes of rows that share a key which no constraint of the source proves: the "
        "table fails, or with `newest` the row with the greatest `cursor` stays. Rows in files that differ "
        "in their cursor are versions of one, and no error.",
    )
    cursor: Text | None = Field(
        default=None,
        description="Column that grows when a row changes. Not set: every run reads the whole table, or "
        "what an Iceberg source appended.",
    )
    cursor_timezone: Annotated[str, AfterValidator(_time_zone)] = Field(
        default="UTC", description="Time zone of a cursor column that stores none."
    )
    lookback_minutes: float | None = Field(
        default=None,
        ge=0,
        le=525_600,
        allow_inf_nan=False,
        description="How far below the watermark the read window starts. Not set: the job decides.",
    )
    soft_delete: Text | None = Field(
        default=None,
        description="SQL predicate, in the source's SQL; rows for which it holds are deleted. It depends on "
        "its row alone: no clock, no random value, no subquery.",
    )
    max_delete_fraction: float = Field(
        default=0.5,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="A full load or reconcile that would remove more than this part of the mirror stops "
        "before it writes. Rows that `soft_delete` marks in an incremental run do not count.",
    )
    reconcile_every: EveryRuns | None = Field(
        default=None,
        validation_alias="reconcile",
        serialization_alias="reconcile",
        description="`every 24 runs`: how often the mirror is compared with the source by digests, for what "
        "the cursor does not see: deletes, and updates without a new cursor value.",
    )
    columns: dict[str, ColumnConfig] = Field(
        default={}, description="Settings of single columns, by column name."
    )
    exclude: Names = Field(
        default=(), description="Columns that are not read; neither the cursor nor in the primary key."
    )
    on_schema_change: Literal["evolve", "fail", "ignore"] = Field(
        default="evolve",
        description="When the source's columns change: the mirror follows, the table fails, or new columns "
        "are not read.",
    )
    checks: tuple[CheckConfig, ...] = Field(
        default=(), description="What must hold for each row that is inserted or updated."
    )
    audits: tuple[AuditConfig, ...] = Field(
        default=(), description="What must hold for the table as a whole before it is published."
    )
    partitions: int | None = Field(
        default=None, ge=1, description="Number of parallel reads of this table. Not set: chosen by its size."
    )
    properties: Texts = Field(
        default={},
        description="Iceberg table properties, laid over the defaults; set by the next run that changes the "
        "table.",
    )
    maintain: UpkeepConfig = Field(
        default_factory=UpkeepConfig, description="What `maintain` does to this table otherwise than to all."
    )
    enabled: bool = Field(default=True, description="`false` leaves the table out of every run.")

    @property
    def lookback(self) -> timedelta | None:
        """Return how far below the watermark the window starts; None where that is not set."""
        return None if self.lookback_minutes is None else timedelta(minutes=self.lookback_minutes)

    @classmethod
    def broken_rules(cls, plain: Mapping[str, Any]) -> Iterable[Problem]:
        """Return each column that cannot be primary key or cursor, and what needs a cursor."""
        if plain.get("duplicates") == "newest" and plain.get("cursor") is None:
            yield Problem(("duplicates",), "'newest' needs a 'cursor': nothing else says which row is newer")
        key = [(("primary_key", index), name) for index, name in enumerate(listed(plain.get("primary_key")))]
        for path, name in [*key, (("cursor",), plain.get("cursor"))]:
            if name in listed(plain.get("exclude")):
                yield Problem(path, f"column {name!r} is in 'exclude', so it is never read")
            if str(name).lower() in RESERVED_COLUMNS:
                yield Problem(path, f"{name!r} is reserved for the column that every mirror gets")
        yield from column_problems(plain)


class JoinConfig(Settings):
    """One equi-join of a mart."""

    table: Text = Field(description="The table to join.")
    on: ColumnPairs = Field(
        description="Columns of the same name, `[account_id]`, or pairs, `{parent column: joined column}`."
    )
    how: Literal["inner", "left"] = Field(default="inner", description="Kind of join.")
    to: Text | None = Field(
        default=None, description="The parent: a table joined earlier. Not set: found by the columns of `on`."
    )


class MartConfig(Settings):
    """One mart: the joined table, kept true from its mirrors."""

    from_: Text = Field(
        validation_alias="from", serialization_alias="from", description="The table at the root of the joins."
    )
    joins: Annotated[tuple[JoinConfig, ...], Field(min_length=1)] = Field(
        description="The joins, in their order."
    )
    columns: OneOrMore | None = Field(
        default=None, description="Columns of the mart, besides its key. Not set: all of its tables."
    )
    filter: Text | None = Field(
        default=None, description="SQL predicate of a row's columns; only rows for which it holds are kept."
    )
    expressions: Texts = Field(
        default={},
        description="Added columns: name and SQL expression of a row's columns. Window functions, "
        "aggregates, subqueries, clocks and random values are refused.",
    )
    require: Names = Field(
        default=(),
        description="Tables without which the mart is not maintained in a run: when one fails, it waits.",
    )
    checks: tuple[CheckConfig, ...] = Field(
        default=(), description="What must hold for each row that is inserted or updated; never `reject`."
    )
    audits: tuple[AuditConfig, ...] = Field(
        default=(), description="What must hold for the table as a whole before it is published."
    )
    maintain: UpkeepConfig = Field(
        default_factory=UpkeepConfig, description="What `maintain` does to this table otherwise than to all."
    )
    properties: Texts = Field(
        default={},
        description="Iceberg table properties, laid over the defaults; set by the next run that changes the "
        "table.",
    )

    @classmethod
    def broken_rules(cls, plain: Mapping[str, Any]) -> Iterable[Problem]:
        """Return each expression that would hide a lineage column."""
        for name in mapping(plain.get("expressions")):
            if name.lower() in RESERVED_COLUMNS:
                yield Problem(
                    ("expressions", name), f"{name!r} is reserved for the column that every mart gets"
                )
        yield from mart_problems(plain)


class RunConfig(Settings):
    """How a run works."""

    parallel_tables: int = Field(
        default=2, ge=1, description="How many tables are read and merged at a time."
    )
    memory: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,6}(MB|GB)$")] | None = Field(
        default=None,
        description="How much memory the engine in process may take before it puts rows on disk, such as "
        "`2GB`. Not set: a quarter of the machine's.",
    )
    metrics: Literal["none", "cloudwatch"] = Field(
        default="none", description="Where figures of each run are sent: nowhere, or to Amazon CloudWatch."
    )


class SparkConfig(Settings):
    """What is passed to Spark."""

    properties: Texts = Field(
        default={}, repr=False, description="Spark settings, such as `spark.driver.memory`."
    )


class Config(Settings):
    """All settings of the job."""

    version: Annotated[Literal[1], BeforeValidator(_version)] = Field(description="Version of this format.")
    catalog: CatalogConfig = Field(description="The Iceberg catalog.")
    database: Text = Field(description="Database (namespace) of all mirrors and marts.")
    state: StateConfig = Field(description="The timestamp file.")
    sources: dict[str, SourceOfAKind] = Field(description="Databases to read, by a name of your choice.")
    tables: Annotated[dict[str, TableConfig], Field(min_length=1)] = Field(
        description="Mirrors, by the name that the Iceberg table gets."
    )
    marts: dict[str, MartConfig] = Field(
        default={}, description="Marts, by the name that the Iceberg table gets."
    )
    engine: Literal["auto", "spark", "in_process"] = Field(
        default="auto",
        description="What works on the tables: `in_process`, which needs no JVM, or `spark`. `auto` decides "
        "for each table and mart.",
    )
    run: RunConfig = Field(default_factory=RunConfig, description="Limits of a run.")
    maintain: Maintain = Field(
        default_factory=MaintainConfig,
        description="How long snapshots are kept, and when files are compacted.",
    )
    spark: SparkConfig = Field(default_factory=SparkConfig, description="Settings of Spark.")

    @classmethod
    def broken_rules(cls, plain: Mapping[str, Any]) -> Iterable[Problem]:
        """Return every name that is not allowed, taken twice, or names nothing."""
        yield from reference_problems(plain)
        yield from audit_problems(plain)
