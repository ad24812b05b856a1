"""Which rows of a changeset fail a check, as SQL, and what a report says of them.

As for CHECK constraints, NULL passes all checks but not_null, and rows with a NULL are unique.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime, timezone
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from iceberg_datamart.core.columns import decimal_size
from iceberg_datamart.core.sql import CHANGE, DELETE, NEW, OLD, OTHER, ROW, literal, matching, quoted
from iceberg_datamart.core.state.watermark import EPOCH, microseconds
from iceberg_datamart.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.core.settings.checks import CheckConfig

ERROR, WARN, REJECT = "error", "warn", "reject"
FAILING, ROWS, REJECTED = "_datamart_failing", "_datamart_rows", "_datamart_rejected"
_CHANGED, _COUNT = "_datamart_changed", "_datamart_count"
_VERDICT, _REASON, JSON = "_datamart_verdict", "_datamart_reason", "_datamart_json"


@dataclass(frozen=True)
class RowCheck:
    """A check of each row by itself; `fails` is the predicate of the failing ones, never NULL."""

    name: str
    on_fail: str
    fails: str


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

    @property
    def rejects(self) -> str:
        """Return the predicate of the rows that checks of single rows reject."""
        found = [check.fails for check in self.rows if check.on_fail == REJECT]
        return f"({' OR '.join(found)})" if found else "false"

    @property
    def judged(self) -> Checks:
        """Return the checks of rows that carry their verdicts already, as `verdicts_sql` adds them."""
        rows = (
            replace(check, fails=quoted(name)) for check, name in zip(self.rows, self.verdicts, strict=True)
        )
        return replace(self, rows=tuple(rows))

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
    types = {column.name: column.type for column in columns}
    for index, check in enumerate(settings):
        place = f"{where}.checks[{index}]"
        for name in (*(check.columns or ()), *filter(None, (check.column,))):
            if name not in types:
                hint = f"Columns are: {', '.join(types)}."
                raise ConfigError(f"{place}: there is no column '{name}'", hint=hint)
        if check.type == "unique":
            unique.append(UniqueCheck(check.label, check.on_fail, check.columns or ()))
        elif check.type == "row_count_change":
            counts.append(CountCheck(check.label, check.on_fail, check.max_increase, check.max_decrease))
        else:
            passes = _passes(place, check, types)
            rows.append(RowCheck(check.label, check.on_fail, f"NOT coalesce({passes}, true)"))
    return Checks(tuple(rows), tuple(unique), tuple(counts))


def _passes(place: str, check: CheckConfig, types: Mapping[str, str]) -> str:
    """Return the predicate that a row satisfies, or that is NULL for it, where it passes."""
    if check.type == "not_null":
        return "(" + " AND ".join(f"{quoted(name)} IS NOT NULL" for name in check.columns or ()) + ")"
    if check.type == "expression":
        # On lines of its own, so that a comment at its end hides nothing.
        return f"(\n{check.sql}\n)"
    name = check.column or ""

    def value(text: str) -> str:
        return typed_literal(place, text, types[name])

    if check.type == "accepted_values":
        return f"({quoted(name)} IN ({', '.join(value(text) for text in check.values or ())}))"
    bounds = {">=": check.min, "<=": check.max}
    parts = [f"{quoted(name)} {sign} {value(text)}" for sign, text in bounds.items() if text is not None]
    return f"({' AND '.join(parts)})"


def typed_literal(place: str, text: str, iceberg_type: str) -> str:
    """Return `text` as a literal of a column's type; an instant without an offset is in UTC.

    Raises: ConfigError, naming `place`, for a text that is no such value.
    """
    try:
        return _typed_literal(text, iceberg_type)
    except (ValueError, InvalidOperation):
        message = f"{place}: {text!r} is no value of a column of type {iceberg_type}"
        raise ConfigError(message, hint="Correct the value, or use a check of type expression.") from None


def _typed_literal(text: str, iceberg_type: str) -> str:  # noqa: PLR0911  (one a family)
    if iceberg_type == "string":
        return literal(text)
    if iceberg_type in ("int", "long"):
        return literal(int(text), iceberg_type)
    if decimal_size(iceberg_type) is not None:
        return literal(_finite(text))
    if iceberg_type in ("float", "double"):
        return f"CAST({literal(repr(float(text)))} AS double)"
    if iceberg_type == "boolean" and text.lower() in ("true", "false"):
        return text.lower()
    if iceberg_type == "date":
        return literal((date.fromisoformat(text) - EPOCH.date()).days, "date")
    if iceberg_type in ("timestamptz", "timestamp"):
        instant = datetime.fromisoformat(text.replace("Z", "+00:00"))
        micros = microseconds(instant if instant.tzinfo else instant.replace(tzinfo=timezone.utc))
        found = literal(micros, "timestamptz")
        return found if iceberg_type == "timestamptz" else f"CAST({found} AS timestamp_ntz)"
    raise ValueError(iceberg_type)


def _finite(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError(text)
    return number


def verdicts_sql(changes: str, checks: Checks) -> str:
    """Return the SELECT of a changeset with a verdict of each check of single rows; deleted rows pass."""
    verdicts = (
        f"CASE WHEN {CHANGE} <> '{DELETE}' THEN {check.fails} ELSE false END AS {quoted(name)}"
        for check, name in zip(checks.rows, checks.verdicts, strict=True)
    )
    return f"SELECT *, {', '.join(verdicts)} FROM {changes}"


def tally_sql(changes: str, checks: Checks) -> str:
    """Return the SELECT of a changeset's rows by change and rejection: one pass for all checks of rows.

    Its columns are the change, whether the rows are rejected, their number, and for each check how many
    of them fail it.
    """
    kept = f"{CHANGE} <> '{DELETE}'"
    fails = [f"sum(CASE WHEN {kept} AND {check.fails} THEN 1 ELSE 0 END)" for check in checks.rows]
    rejected = f"({kept} AND {checks.rejects})"
    columns = [CHANGE, REJECTED, f"count(*) AS {ROWS}"]
    columns += [f"{text} AS {FAILING}_{index}" for index, text in enumerate(fails)]
    inner = f"SELECT *, {rejected} AS {REJECTED} FROM {changes}"
    return f"SELECT {', '.join(columns)} FROM ({inner}) AS {NEW} GROUP BY {CHANGE}, {REJECTED}"


def failing_sql(changes: str, fails: str) -> str:
    """Return the SELECT of a changeset's inserted and updated rows for which `fails` holds."""
    return f"SELECT * FROM {changes} WHERE {CHANGE} <> '{DELETE}' AND {fails}"


def passing_sql(changes: str, checks: Checks) -> str:
    """Return the SELECT of a changeset's rows but those that checks of single rows reject."""
    return f"SELECT * FROM {changes} WHERE {CHANGE} = '{DELETE}' OR NOT {checks.rejects}"


def of_rejected_sql(changes: str, checks: Checks, columns: Sequence[str]) -> str:
    """Return the SELECT of the rows that checks of single rows reject: why, and the row as JSON."""
    names = {check.fails: check.name for check in checks.rows if check.on_fail == REJECT}
    reasons = (f"CASE WHEN {fails} THEN {literal(_reason(name))} END" for fails, name in names.items())
    rows = failing_sql(changes, checks.rejects)
    return (
        f"SELECT concat_ws('; ', {', '.join(reasons)}) AS {_REASON}, {_json(columns)} AS {JSON} FROM ({rows})"
    )


def rejected_sql(rows: str, columns: Sequence[str], check: str) -> str:
    """Return the SELECT of rows that the check of this name rejects: why, and the row as JSON."""
    return f"SELECT {literal(_reason(check))} AS {_REASON}, {_json(columns)} AS {JSON} FROM {rows}"


def _reason(check: str) -> str:
    return f"check '{check}'"


def _json(columns: Sequence[str]) -> str:
    return f"to_json(struct({', '.join(map(quoted, columns))}), map('ignoreNullFields', 'false'))"


def sharing_sql(changes: str, duplicates: str, key: Sequence[str], *, others: bool = False) -> str:
    """Return the SELECT of a changeset's new rows whose key is in `duplicates`, or of all `others`."""
    same = matching(key, OTHER, ROW, null_safe=True)
    present = f"EXISTS (SELECT 1 FROM {duplicates} AS {OTHER} WHERE {same})"
    twice = f"({ROW}.{CHANGE} <> '{DELETE}' AND {present})"
    return f"SELECT * FROM {changes} AS {ROW} WHERE {'NOT ' if others else ''}{twice}"


def duplicates_sql(changes: str, mirror: str | None, key: Sequence[str], check: UniqueCheck) -> str:
    """Return the SELECT of a changeset's rows that share the check's values with another row of the table.

    Those are other rows of the changeset, and rows of `mirror` that the changeset leaves as they are.
    """
    present = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in check.columns)
    names = ", ".join(map(quoted, dict.fromkeys((*key, *check.columns))))
    rows = f"SELECT {names}, true AS {_CHANGED} FROM {changes} WHERE {CHANGE} <> '{DELETE}' AND {present}"
    if mirror is not None:
        same = matching(check.columns, NEW, OLD)
        touched = matching(key, NEW, OLD, null_safe=True)
        shown = ", ".join(f"{OLD}.{quoted(name)}" for name in dict.fromkeys((*key, *check.columns)))
        rows += (
            f" UNION ALL SELECT {shown}, false AS {_CHANGED} FROM {mirror} AS {OLD} "
            f"WHERE EXISTS (SELECT 1 FROM {changes} AS {NEW} WHERE {same}) "
            f"AND NOT EXISTS (SELECT 1 FROM {changes} AS {NEW} WHERE {touched})"
        )
    by = ", ".join(map(quoted, check.columns))
    counted = f"SELECT *, count(*) OVER (PARTITION BY {by}) AS {_COUNT} FROM ({rows}) AS {ROW}"
    keys = ", ".join(map(quoted, key))
    return f"SELECT {keys} FROM ({counted}) AS {ROW} WHERE {_CHANGED} AND {_COUNT} > 1"


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
