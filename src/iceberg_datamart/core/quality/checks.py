"""Which rows of a changeset fail a check, as SQL, and what a report says of them.

As for CHECK constraints, NULL passes all checks but not_null, and rows with a NULL are unique.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from iceberg_datamart.core.quality.predicates import (
    Between,
    Expression,
    NotNull,
    NoVerdict,
    OneOf,
    typed_value,
)
from iceberg_datamart.core.sql.dialect import listed, matching
from iceberg_datamart.core.sql.reserved import CHANGE, DELETE, NEW, OLD, OTHER, ROW
from iceberg_datamart.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.core.quality.predicates import Predicate
    from iceberg_datamart.core.settings.checks import CheckConfig
    from iceberg_datamart.core.sql.dialect import Dialect

ERROR, WARN, REJECT = "error", "warn", "reject"
FAILING, ROWS, REJECTED = "_datamart_failing", "_datamart_rows", "_datamart_rejected"
_CHANGED, _COUNT = "_datamart_changed", "_datamart_count"
_VERDICT, _REASON, JSON = "_datamart_verdict", "_datamart_reason", "_datamart_json"


@dataclass(frozen=True)
class RowCheck:
    """A check of each row by itself."""

    name: str
    on_fail: str
    passes: Predicate

    def fails(self, dialect: Dialect) -> str:
        """Return the predicate of the failing rows, never NULL."""
        return f"NOT coalesce({self.passes.sql(dialect)}, true)"


@dataclass(frozen=True)
class UniqueCheck:
    """A check that no two rows of the table have the same values in `columns`."""

    name: str
    on_fail: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class CountCheck:
    """A check that a run does not change the number of rows by more than these parts of it."""

    name: str
    on_fail: str
    max_increase: float | None
    max_decrease: float | None

    def finding(self, before: int, after: int) -> str | None:
        """Return what is wrong; None for nothing, and for the first rows of an empty table."""
        if not before:
            return None
        increase, text = (after - before) / before, f"check '{self.name}': {before} rows would become {after}"
        if self.max_increase is not None and increase > self.max_increase:
            return f"{text}; max_increase is {self.max_increase}"
        if self.max_decrease is not None and -increase > self.max_decrease:
            return f"{text}; max_decrease is {self.max_decrease}"
        return None


@dataclass(frozen=True)
class Checks:
    """The checks of one table or mart."""

    rows: tuple[RowCheck, ...] = ()
    unique: tuple[UniqueCheck, ...] = ()
    counts: tuple[CountCheck, ...] = ()

    @property
    def look_at_rows(self) -> bool:
        """Return whether any check needs to see the rows that change."""
        return bool(self.rows or self.unique)

    def rejects(self, dialect: Dialect) -> str:
        """Return the predicate of the rows that checks of single rows reject."""
        found = [check.fails(dialect) for check in self.rows if check.on_fail == REJECT]
        return f"({' OR '.join(found)})" if found else "false"

    @property
    def judged(self) -> Checks:
        """Return the checks of rows that carry their verdicts already, as `verdicts_sql` adds them."""
        judged = zip(self.rows, self.verdicts, strict=True)
        return replace(self, rows=tuple(replace(check, passes=NoVerdict(name)) for check, name in judged))

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Return the names of the columns that say which rows fail each check of single rows."""
        return tuple(f"{_VERDICT}_{index}" for index in range(len(self.rows)))


NO_CHECKS = Checks()


def checks_of(where: str, settings: Iterable[CheckConfig], columns: Sequence[Column]) -> Checks:
    """Return the checks of a table with `columns`; `where` is the path of its settings.

    Raises: ConfigError for a column that is not there, or a value that its type cannot hold.
    """
    rows: list[RowCheck] = []
    unique: list[UniqueCheck] = []
    counts: list[CountCheck] = []
    named = {column.name: column for column in columns}
    for index, check in enumerate(settings):
        place = f"{where}.checks[{index}]"
        for name in (*(check.columns or ()), *filter(None, (check.column,))):
            if name not in named:
                hint = f"Columns are: {', '.join(named)}."
                raise ConfigError(f"{place}: there is no column '{name}'", hint=hint)
        if check.type == "unique":
            unique.append(UniqueCheck(check.label, check.on_fail, check.columns or ()))
        elif check.type == "row_count_change":
            counts.append(CountCheck(check.label, check.on_fail, check.max_increase, check.max_decrease))
        else:
            rows.append(RowCheck(check.label, check.on_fail, _predicate(place, check, named)))
    return Checks(tuple(rows), tuple(unique), tuple(counts))


def _predicate(place: str, check: CheckConfig, columns: Mapping[str, Column]) -> Predicate:
    if check.type == "not_null":
        return NotNull(check.columns or ())
    if check.type == "expression":
        return Expression(check.sql or "", tuple(columns.values()))
    column = columns[check.column or ""]

    def value(text: str) -> Any:
        return typed_value(place, text, column.type)

    if check.type == "accepted_values":
        return OneOf(column, tuple(value(text) for text in check.values or ()))
    if check.type == "range":
        low, high = (None if text is None else value(text) for text in (check.min, check.max))
        if low is not None and high is not None and low > high:
            raise ConfigError(f"{place}: min is {check.min} and max {check.max}", hint="Exchange the two.")
        return Between(column, low, high)
    raise ValueError(check.type)


def verdicts_sql(dialect: Dialect, changes: str, checks: Checks) -> str:
    """Return the SELECT of a changeset with a verdict of each check of single rows; deleted rows pass."""
    verdicts = (
        f"CASE WHEN {CHANGE} <> '{DELETE}' THEN {check.fails(dialect)} ELSE false END "
        f"AS {dialect.quoted(name)}"
        for check, name in zip(checks.rows, checks.verdicts, strict=True)
    )
    return f"SELECT *, {', '.join(verdicts)} FROM {changes}"


def tally_sql(dialect: Dialect, changes: str, checks: Checks) -> str:
    """Return the SELECT of a changeset's rows by change and rejection: one pass for all checks of rows.

    Its columns are the change, whether the rows are rejected, their number, and for each check how many
    of them fail it.
    """
    kept = f"{CHANGE} <> '{DELETE}'"
    fails = [f"sum(CASE WHEN {kept} AND {check.fails(dialect)} THEN 1 ELSE 0 END)" for check in checks.rows]
    rejected = f"({kept} AND {checks.rejects(dialect)})"
    columns = [CHANGE, REJECTED, f"count(*) AS {ROWS}"]
    columns += [f"{text} AS {FAILING}_{index}" for index, text in enumerate(fails)]
    inner = f"SELECT *, {rejected} AS {REJECTED} FROM {changes}"
    return f"SELECT {', '.join(columns)} FROM ({inner}) AS {NEW} GROUP BY {CHANGE}, {REJECTED}"


def failing_sql(changes: str, fails: str) -> str:
    """Return the SELECT of a changeset's inserted and updated rows for which `fails` holds."""
    return f"SELECT * FROM {changes} WHERE {CHANGE} <> '{DELETE}' AND {fails}"


def passing_sql(dialect: Dialect, changes: str, checks: Checks) -> str:
    """Return the SELECT of a changeset's rows but those that checks of single rows reject."""
    return f"SELECT * FROM {changes} WHERE {CHANGE} = '{DELETE}' OR NOT {checks.rejects(dialect)}"


def of_rejected_sql(dialect: Dialect, changes: str, checks: Checks, columns: Sequence[str]) -> str:
    """Return the SELECT of the rows that checks of single rows reject: why, and the row as JSON."""
    reasons = ", ".join(
        f"CASE WHEN {check.fails(dialect)} THEN {dialect.literal(_reason(check.name))} END"
        for check in checks.rows
        if check.on_fail == REJECT
    )
    rows = failing_sql(changes, checks.rejects(dialect))
    return f"SELECT concat_ws('; ', {reasons}) AS {_REASON}, {dialect.json(columns)} AS {JSON} FROM ({rows})"


def rejected_sql(dialect: Dialect, rows: str, columns: Sequence[str], check: str) -> str:
    """Return the SELECT of rows that the check of this name rejects: why, and the row as JSON."""
    reason = dialect.literal(_reason(check))
    return f"SELECT {reason} AS {_REASON}, {dialect.json(columns)} AS {JSON} FROM {rows}"


def _reason(check: str) -> str:
    return f"check '{check}'"


def sharing_sql(
    dialect: Dialect, changes: str, duplicates: str, key: Sequence[str], *, others: bool = False
) -> str:
    """Return the SELECT of a changeset's new rows whose key is in `duplicates`, or of all `others`."""
    same = matching(dialect, key, OTHER, ROW, null_safe=True)
    present = f"EXISTS (SELECT 1 FROM {duplicates} AS {OTHER} WHERE {same})"
    twice = f"({ROW}.{CHANGE} <> '{DELETE}' AND {present})"
    return f"SELECT * FROM {changes} AS {ROW} WHERE {'NOT ' if others else ''}{twice}"


def duplicates_sql(
    dialect: Dialect, changes: str, mirror: str | None, key: Sequence[str], check: UniqueCheck
) -> str:
    """Return the SELECT of a changeset's rows that share the check's values with another row of the table.

    Those are other rows of the changeset, and rows of `mirror` that the changeset leaves as they are.
    """
    present = NotNull(check.columns).sql(dialect)
    columns = tuple(dict.fromkeys((*key, *check.columns)))
    names = listed(dialect, columns)
    rows = f"SELECT {names}, true AS {_CHANGED} FROM {changes} WHERE {CHANGE} <> '{DELETE}' AND {present}"
    if mirror is not None:
        same = matching(dialect, check.columns, NEW, OLD)
        touched = matching(dialect, key, NEW, OLD, null_safe=True)
        rows += (
            f" UNION ALL SELECT {listed(dialect, columns, OLD)}, false AS {_CHANGED} FROM {mirror} AS {OLD} "
            f"WHERE EXISTS (SELECT 1 FROM {changes} AS {NEW} WHERE {same}) "
            f"AND NOT EXISTS (SELECT 1 FROM {changes} AS {NEW} WHERE {touched})"
        )
    by = listed(dialect, check.columns)
    counted = f"SELECT *, count(*) OVER (PARTITION BY {by}) AS {_COUNT} FROM ({rows}) AS {ROW}"
    return f"SELECT {listed(dialect, key)} FROM ({counted}) AS {ROW} WHERE {_CHANGED} AND {_COUNT} > 1"


def finding(name: str, count: int, keys: Sequence[Mapping[str, Any]]) -> str:
    """Return what a message says of the rows that fail a check; `keys` are those of the first."""
    shown = "; ".join(", ".join(f"{name}={value}" for name, value in key.items()) for key in keys)
    rows = "1 row fails it" if count == 1 else f"{count} rows fail it, the first"
    return f"check '{name}': {rows}: {shown}"


@dataclass
class Findings:
    """What checks found: `errors` forbid the commit, `warnings` go along with it."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, on_fail: str, text: str) -> None:
        """Take a finding in, according to what its check's `on_fail` says."""
        (self.errors if on_fail == ERROR else self.warnings).append(text)
