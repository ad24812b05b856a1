"""What a run will do, decided from facts alone: `plan` prints exactly what `run` executes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from iceberg_datamart.core.columns import Column
from iceberg_datamart.core.engines import engine_of
from iceberg_datamart.core.load_types import BACKFILL, FULL, INCREMENTAL, RECONCILE, WHOLE
from iceberg_datamart.core.names import unfit_for_glue
from iceberg_datamart.core.plan.obstacles import mart_obstacles, mirror_obstacles
from iceberg_datamart.core.plan.schema import (
    SchemaChange,
    renumbered,
    require_allowed,
    same_in_files,
    schema_change,
)
from iceberg_datamart.core.plan.steps import MaintainMart, MergeWindow, Plan, Refuse, WriteTimestamp
from iceberg_datamart.core.plan.windows import ASKED, Witnesses, next_start
from iceberg_datamart.core.quality.audits import audits_of
from iceberg_datamart.core.quality.checks import checks_of
from iceberg_datamart.core.sql.reserved import LINEAGE_NAMES, is_taken
from iceberg_datamart.core.state.watermark import ReadWindow
from iceberg_datamart.errors import DatamartError, SchemaChangeError, SourceError, SourceIdentityError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from iceberg_datamart.core.engines import EngineChoice
    from iceberg_datamart.core.plan.facts import Facts, RunRequest, TableFacts
    from iceberg_datamart.core.plan.steps import Step
    from iceberg_datamart.core.plan.windows import Start
    from iceberg_datamart.core.quality.audits import Audit
    from iceberg_datamart.core.quality.checks import Checks
    from iceberg_datamart.core.settings.model import Config, TableConfig
    from iceberg_datamart.core.source.reads import SourceTable
    from iceberg_datamart.core.state.commit import MirrorState
    from iceberg_datamart.core.state.history import TableHistory
    from iceberg_datamart.core.state.watermark import Horizon


def chosen_tables(config: Config, request: RunRequest) -> list[str]:
    """Return the enabled tables that the caller asked for."""
    enabled = [name for name, table in config.tables.items() if table.enabled]
    return [name for name in enabled if not request.tables or name in request.tables]


def maintain_mart(name: str, config: Config, facts: Facts) -> MaintainMart:
    """Return the step of a mart, with what is known of its tables' sources."""
    step = MaintainMart(name, config.marts[name], _mart_engine(name, config, facts), {})
    known = {table: facts.tables[table].source for table in step.tables if table in facts.tables}
    sources = {table: source for table, source in known.items() if not isinstance(source, DatamartError)}
    keys = {table: config.tables[table].primary_key or () for table in step.tables}
    return replace(step, keys=keys, sources=sources)


def _mart_engine(name: str, config: Config, facts: Facts) -> EngineChoice | DatamartError:
    try:
        return engine_of(facts.engines, mart_obstacles(name, config, facts))
    except Exception as error:  # noqa: BLE001  (of one mart alone, R9)
        return _planning_error(error)


def plan_run(config: Config, facts: Facts, request: RunRequest) -> Plan:
    """Return the steps of one run."""
    steps: list[Step] = [plan_table(name, config, facts, request) for name in chosen_tables(config, request)]
    marts = (maintain_mart(name, config, facts) for name in config.marts)
    steps += [step for step in marts if not request.tables or set(step.tables) & set(request.tables)]
    enabled = tuple(name for name, table in config.tables.items() if table.enabled)
    steps.append(WriteTimestamp(facts.timestamp, enabled))
    warnings = [text for step in steps if isinstance(step, MergeWindow) for text in _column_warnings(step)]
    warnings += [*_clock_warnings(facts), *_doubt_warnings(steps), *_foreign_warnings(steps)]
    return Plan(tuple(steps), tuple(warnings))


def _column_warnings(step: MergeWindow) -> Iterator[str]:
    """Yield what becomes of columns that went; those that came are a reason to compare all rows."""
    for name in step.change.absent:
        yield f"table '{step.table}': column '{name}' is gone from the source; new rows hold NULL"


def _clock_warnings(facts: Facts) -> Iterator[str]:
    clocks = [known.horizon.clock for known in facts.tables.values() if known.horizon is not None]
    if facts.timestamp is not None and clocks and facts.timestamp > max(clocks):
        ahead, clock = (f"{instant:%Y-%m-%d %H:%M:%S}" for instant in (facts.timestamp, max(clocks)))
        yield (
            f"the timestamp file says {ahead}, ahead of the source's clock {clock}; "
            "nothing is skipped for it, and a run in which no table fails sets it back"
        )


def _doubt_warnings(steps: Iterable[Step]) -> Iterator[str]:
    """Yield why tables are compared whole that nobody asked to be (R19, R20)."""
    for step in steps:
        if isinstance(step, MergeWindow) and step.doubted:
            yield f"table '{step.table}': all rows are compared: {step.reason}"


def _foreign_warnings(steps: Iterable[Step]) -> Iterator[str]:
    for step in steps:
        if not isinstance(step, MergeWindow) or step.mirror is None or step.load_type in WHOLE:
            continue
        for last in step.mirror.foreign()[:1]:
            yield (
                f"table '{step.table}': another tool changed the mirror (snapshot {last.snapshot_id}, "
                f"{last.operation}); rows that differ from the source stay until "
                f"`reconcile --table {step.table}`"
            )


def plan_table(name: str, config: Config, facts: Facts, request: RunRequest) -> MergeWindow | Refuse:
    """Return what happens to one table: its window, or why it is refused before anything is read."""
    known = facts.tables[name]
    if isinstance(known.source, DatamartError) or known.horizon is None:
        error = known.source if isinstance(known.source, DatamartError) else DatamartError("no horizon")
        return Refuse(name, error)
    try:
        return _planned(name, config, facts, request, known.source, known.horizon)
    except Exception as error:  # noqa: BLE001  (of one table alone, R9)
        return Refuse(name, _planning_error(error))


def _planning_error(error: Exception) -> DatamartError:
    """Return the error itself, or one of this package for an unforeseen one."""
    if isinstance(error, DatamartError):
        return error
    unforeseen = DatamartError(
        f"it cannot be planned: {type(error).__name__}: {error}",
        hint="Run with --debug for the whole story.",
    )
    unforeseen.__cause__ = error
    return unforeseen


def _planned(  # noqa: PLR0913, PLR0917  (the facts of one table)
    name: str, config: Config, facts: Facts, request: RunRequest, source: SourceTable, horizon: Horizon
) -> MergeWindow:
    """Return the window of a table. Raises: DatamartError where it is refused."""
    table, mirror = config.tables[name], facts.tables[name].mirror
    _check_names(name, source, mirror, glue=config.catalog.type == "glue")
    change = _allowed_change(name, source, mirror, table)
    state = _accepted_state(source, mirror, request)
    if request.load_type == BACKFILL:
        _require_windows(name, source)
    checks, audits = _checks_and_audits(name, table, source)
    history = mirror
    if request.snapshot_id is not None and mirror is not None:
        history = mirror.as_of(request.snapshot_id)
    added = tuple(column.name for column in change.added)
    start = next_start(
        table,
        source,
        Witnesses(facts.timestamp, history, horizon, change.full_load_reason, added),
        asked=_asked(name, facts, request, change),
        on_missing=config.state.on_missing,
    )
    return MergeWindow(
        table=name,
        settings=table,
        load_type=start.load_type,
        window=ReadWindow(start.lower, start.after),
        reason=_reconcile_reason(start, table, request, facts.tables[name]) or _reason(start, request),
        source=source,
        horizon=horizon,
        mirror=mirror,
        saved=None if state is None or start.load_type in WHOLE else state.settled(horizon.instant),
        engine=engine_of(facts.engines, mirror_obstacles(name, config, facts.tables[name])),
        change=change,
        checks=checks,
        audits=audits,
        doubted=start.doubted,
    )


def _checks_and_audits(
    name: str, table: TableConfig, source: SourceTable
) -> tuple[Checks, tuple[Audit, ...]]:
    """Return what must hold for the rows of a table, and for the table as a whole. Raises: ConfigError."""
    where = f"tables.{name}"
    return (
        checks_of(where, table.checks, source.columns),
        audits_of(where, table.audits, source.columns, source.primary_key),
    )


def _asked(name: str, facts: Facts, request: RunRequest, change: SchemaChange) -> str:
    """Return the load type that is wanted of a table; a new column is filled by a full load alone."""
    asked = request.load_type
    if asked == INCREMENTAL and name in facts.due:
        asked = RECONCILE
    # A backfill would find no row that is gone.
    if asked in {INCREMENTAL, BACKFILL} and _needs_reconcile(facts.tables[name]):
        asked = RECONCILE
    return FULL if asked == RECONCILE and change.added else asked


def _needs_reconcile(known: TableFacts) -> bool:
    return known.mirror is not None and known.mirror.needs_reconcile


def _reconcile_reason(start: Start, table: TableConfig, request: RunRequest, known: TableFacts) -> str | None:
    """Return why a table is reconciled that nobody asked to be; None where that is not so."""
    if start.reason != ASKED or request.load_type == RECONCILE or start.load_type != RECONCILE:
        return None
    if _needs_reconcile(known):
        return "a rollback undid a comparison with the source"
    return f"its turn: every {table.reconcile_every} runs"


def _reason(start: Start, request: RunRequest) -> str:
    rerun = "" if request.snapshot_id is None else f" as of snapshot {request.snapshot_id}"
    return start.reason + rerun


def _accepted_state(
    source: SourceTable, mirror: TableHistory | None, request: RunRequest
) -> MirrorState | None:
    """Return the mirror's newest CDC state. Raises: SourceIdentityError for another source (R13)."""
    state = None if mirror is None else mirror.mirror_state
    if state is None:
        return None
    if state.source != source.identity and not request.accept_new_source:
        message = (
            f"the mirror was filled from {state.source}, "
            f"but the settings now name {source.identity} (server/database/table)"
        )
        hint = "Correct the source's url, or run once with --accept-new-source: a full load from the new one."
        raise SourceIdentityError(message, hint=hint)
    return state


def _check_names(name: str, source: SourceTable, mirror: TableHistory | None, *, glue: bool) -> None:
    """Raise SchemaChangeError for a column whose name the mirror cannot have, or not beside those it has."""
    taken = sorted(column.name for column in source.columns if is_taken(column.name))
    if taken:
        hint = f"Add it to tables.{name}.exclude."
        if taken[0] in source.primary_key:
            hint = f"Rename it in the source, or name a view in tables.{name}.from that renames it."
        raise SchemaChangeError(f"the source has a column '{taken[0]}', a name that mirrors need", hint=hint)
    known = {column.name for column in source.columns}
    held = {} if mirror is None else mirror.columns
    columns = (*source.columns, *(Column(each, kind) for each, kind in held.items() if each not in known))
    twins = same_in_files(columns)
    if twins is not None:
        message = "the columns '{}' and '{}' would have the same name in Parquet files".format(*twins)
        raise SchemaChangeError(message, hint=_way_out(name, twins, known))
    unfit = unfit_for_glue(column.name for column in columns) if glue else None
    if unfit is not None:
        hint = f"Add it to tables.{name}.exclude, or rename it in the source."
        raise SchemaChangeError(unfit, hint=hint)


def _way_out(name: str, twins: Iterable[str], known: AbstractSet[str]) -> str:
    """Return how to go on where two columns cannot be in one table; `known` are the source's."""
    gone = next((each for each in twins if each not in known), None)
    if gone is None:
        return f"Add one of them to tables.{name}.exclude."
    return (
        f"The source has '{gone}' no more, and the mirror keeps it: rename the other one in the source, "
        f"or drop the mirror '{name}' and load it again. Nothing was written to '{name}'."
    )


def _require_windows(name: str, source: SourceTable) -> None:
    """Raise SourceError for a source that is read whole where its columns change."""
    if not source.is_digested:
        message = "files and Iceberg tables are read whole when their columns change, so nothing is left out"
        hint = f"Run with --load-type full --table {name} to compare all rows."
        raise SourceError(message, hint=hint)


def _allowed_change(
    name: str, source: SourceTable, mirror: TableHistory | None, table: TableConfig
) -> SchemaChange:
    """Return how a mirror's columns change to its source's. Raises: SchemaChangeError for what is refused."""
    if mirror is None:
        return SchemaChange()
    if mirror.key and set(mirror.key) != set(source.primary_key):
        message = (
            f"the key is {', '.join(source.primary_key)} now, but the mirror's is {', '.join(mirror.key)}"
        )
        hint = f"Correct tables.{name}.primary_key, or drop the mirror '{name}' and load it again."
        raise SchemaChangeError(message, hint=hint)
    present = {column: kind for column, kind in mirror.columns.items() if column not in LINEAGE_NAMES}
    change = schema_change(name, source.columns, present, source.primary_key)
    change = replace(change, absent=tuple(gone for gone in change.absent if gone not in table.exclude))
    state = mirror.mirror_state
    recorded = {} if state is None or state.source != source.identity else state.column_ids
    change = renumbered(change, recorded, source.column_ids)
    if mirror.current is not None:
        # Of a column that was gone when the table was merged last, people know.
        news = replace(change, absent=tuple(gone for gone in change.absent if recorded.get(gone) != 0))
        require_allowed(name, news, present, table.on_schema_change)
    return change


def merge_order(config: Config, tables: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return each of `tables` with those of them that must be merged before it, because its audits name them.

    No table comes before one that it waits for, and those that wait for none come first.
    """
    chosen = list(tables)
    earlier = {
        table: tuple(
            name
            for name in dict.fromkeys(name for audit in config.tables[table].audits for name in audit.tables)
            if name in chosen and name != table
        )
        for table in chosen
    }

    @cache
    def depth(table: str) -> int:
        return max((1 + depth(name) for name in earlier[table]), default=0)

    return {table: earlier[table] for table in sorted(chosen, key=depth)}
