"""What a run will do, decided from facts alone: `plan` prints exactly what `run` executes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from iceberg_datamart.errors import DatamartError, SchemaChangeError, SourceIdentityError
from iceberg_datamart.schema import SchemaChange, schema_change
from iceberg_datamart.sql import LINEAGE
from iceberg_datamart.watermark import CursorKind, ReadWindow, Watermark, least_cursor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from iceberg_datamart.config import Config, TableConfig
    from iceberg_datamart.reading import SourceTable
    from iceberg_datamart.receipt import MirrorState, TableHistory
    from iceberg_datamart.watermark import Horizon

FULL, INCREMENTAL = "full", "incremental"
_LINEAGE_NAMES = {column.name for column in LINEAGE}


@dataclass(frozen=True)
class TableFacts:
    """What is known of one table before a run: its source, or why it cannot be read, and its mirror."""

    source: SourceTable | DatamartError
    mirror: TableHistory | None = None
    horizon: Horizon | None = None


@dataclass(frozen=True)
class Facts:
    """All that a plan depends on. `timestamp` is what the timestamp file says; None where it is missing."""

    timestamp: datetime | None
    tables: Mapping[str, TableFacts]


@dataclass(frozen=True)
class Wishes:
    """What the caller of a run asked for. No `tables` means all."""

    load_type: str = INCREMENTAL
    tables: tuple[str, ...] = ()
    accept_new_source: bool = False


@dataclass(frozen=True)
class MergeWindow:
    """Read a window of one source and merge it into its mirror."""

    table: str
    load_type: str
    window: ReadWindow
    reason: str
    source: SourceTable
    horizon: Horizon
    mirror: TableHistory | None
    saved: Watermark | None
    change: SchemaChange = field(default_factory=SchemaChange)


@dataclass(frozen=True)
class Refuse:
    """Do nothing for one table, which counts as failed."""

    table: str
    error: DatamartError


@dataclass(frozen=True)
class MaintainMart:
    """Bring one mart up to its mirrors."""

    mart: str
    tables: tuple[str, ...]


@dataclass(frozen=True)
class WriteTimestamp:
    """Move the timestamp file on, if every enabled table got there (R6)."""

    expected: datetime | None


Step: TypeAlias = "MergeWindow | Refuse | MaintainMart | WriteTimestamp"


@dataclass(frozen=True)
class Plan:
    """The steps of one run, in order; those of tables may run side by side."""

    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()

    @property
    def table_steps(self) -> tuple[MergeWindow | Refuse, ...]:
        """Return the steps that concern one table each."""
        return tuple(step for step in self.steps if isinstance(step, (MergeWindow, Refuse)))


def plan_run(config: Config, facts: Facts, wishes: Wishes) -> Plan:
    """Return the steps of one run."""
    tables = [name for name, table in config.tables.items() if table.enabled]
    chosen = [name for name in tables if not wishes.tables or name in wishes.tables]
    steps: list[Step] = [plan_table(name, config, facts, wishes) for name in chosen]
    for name, mart in config.marts.items():
        inputs = (mart.from_, *(join.table for join in mart.joins))
        if not wishes.tables or set(inputs) & set(wishes.tables):
            steps.append(MaintainMart(name, inputs))
    steps.append(WriteTimestamp(facts.timestamp))
    warnings = [f"table '{step.table}': {text}" for step in steps if isinstance(step, MergeWindow)
                for text in _warnings(step)]
    return Plan(tuple(steps), tuple(warnings))


def plan_table(name: str, config: Config, facts: Facts, wishes: Wishes) -> MergeWindow | Refuse:
    """Return what happens to one table: its window, or why it is refused before anything is read."""
    known = facts.tables[name]
    if isinstance(known.source, DatamartError) or known.horizon is None:
        error = known.source if isinstance(known.source, DatamartError) else DatamartError("no horizon")
        return Refuse(name, error)
    try:
        change = _followed(name, known.source, known.mirror)
        state = _accepted_state(name, known, wishes)
    except DatamartError as error:
        return Refuse(name, error)
    load_type, lower, reason = _start(config, name, known, facts.timestamp, state, wishes)
    return MergeWindow(
        table=name,
        load_type=load_type,
        window=ReadWindow(lower),
        reason=reason,
        source=known.source,
        horizon=known.horizon,
        mirror=known.mirror,
        saved=None if state is None or load_type == FULL else state.settled(known.horizon.instant),
        change=change,
    )


def _start(  # noqa: PLR0913  (the witnesses of R4)
    config: Config,
    name: str,
    known: TableFacts,
    timestamp: datetime | None,
    state: MirrorState | None,
    wishes: Wishes,
) -> tuple[str, Watermark | None, str]:
    """Return load type, lower end and the reason for both (R4, R5, R11)."""
    table, source = config.tables[name], known.source
    why = _why_full(config, known, timestamp, state, wishes)
    if why or isinstance(source, DatamartError) or source.cursor is None or known.horizon is None:
        return FULL, None, why or "the table has no cursor column"
    if source.cursor is CursorKind.INTEGER:
        lower, reason = _integer_start(known, timestamp, known.horizon.instant)
        return INCREMENTAL, lower, reason
    file = None if timestamp is None else least_cursor(source.cursor, table.cursor_timezone, timestamp)
    if state is None:
        return INCREMENTAL, _lowered(file, table), "the mirror's history says nothing: the timestamp file"
    if state.watermark is None:
        return INCREMENTAL, None, "the mirror has no watermark yet"
    if state.watermark.kind is not source.cursor:
        return INCREMENTAL, None, "the cursor column's type changed"
    if file is not None and file.value < state.watermark.value:
        return INCREMENTAL, _lowered(file, table), "the timestamp file, older than the mirror's watermark"
    return INCREMENTAL, _lowered(state.watermark, table), "the mirror's watermark"


def _why_full(
    config: Config,
    known: TableFacts,
    timestamp: datetime | None,
    state: MirrorState | None,
    wishes: Wishes,
) -> str:
    """Return why everything must be read, or an empty text."""
    if wishes.load_type == FULL:
        return "asked for"
    if known.mirror is None or known.mirror.current is None:
        return "the mirror is empty"
    if timestamp is None and config.state.on_missing == "full_load":
        return "the timestamp file is missing"
    if timestamp is None and state is None:
        return "neither the timestamp file nor the mirror's history says where to start"
    if state is not None and not isinstance(known.source, DatamartError) and state.source != known.source.identity:
        return "the source is a new one"
    return ""


def _integer_start(
    known: TableFacts, timestamp: datetime | None, horizon: datetime
) -> tuple[Watermark | None, str]:
    """Return the newest state that the timestamp file does not contradict: integers know no time."""
    states = () if known.mirror is None else known.mirror.mirror_states()
    for position, state in enumerate(states):
        whole_second = state.complete_through.replace(microsecond=0)
        if timestamp is None or whole_second <= timestamp:
            lower = state.settled(horizon) if position == 0 else state.watermark
            return lower, "the mirror's watermark" if position == 0 else "the timestamp file's time"
    return None, "the timestamp file is older than the mirror's history"


def _accepted_state(name: str, known: TableFacts, wishes: Wishes) -> MirrorState | None:
    """Return the mirror's newest CDC state. Raises: SourceIdentityError for another source (R13)."""
    states = () if known.mirror is None else known.mirror.mirror_states()
    if not states or isinstance(known.source, DatamartError):
        return None
    if states[0].source != known.source.identity and not wishes.accept_new_source:
        message = (
            f"the mirror was filled from {states[0].source}, "
            f"but the settings now name {known.source.identity} (server/database/table)"
        )
        hint = "Correct the source's url, or run once with --accept-new-source: a full load from the new one."
        raise SourceIdentityError(message, hint=hint)
    return states[0]


def _followed(name: str, source: SourceTable, mirror: TableHistory | None) -> SchemaChange:
    taken = sorted({column.name for column in source.columns} & _LINEAGE_NAMES)
    if taken:
        hint = f"Add it to tables.{name}.exclude."
        raise SchemaChangeError(f"the source has a column '{taken[0]}', a name that mirrors need", hint=hint)
    if mirror is None:
        return SchemaChange()
    present = {column: kind for column, kind in mirror.columns.items() if column not in _LINEAGE_NAMES}
    return schema_change(name, source.columns, present, source.primary_key)


def _lowered(mark: Watermark | None, table: TableConfig) -> Watermark | None:
    return None if mark is None else mark.lowered_by(table.lookback or timedelta(0))


def _warnings(step: MergeWindow) -> list[str]:
    gone = [f"column '{name}' is gone from the source; new rows hold NULL" for name in step.change.absent]
    return gone
