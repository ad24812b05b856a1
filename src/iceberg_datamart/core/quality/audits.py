"""What is wrong with a table as a whole, as SQL over relations, and what a report says of it.

A relation of the table itself is its staged snapshot. As for keys in SQL, a row with a NULL in the
columns of a foreign key passes; as for the match of a mart's rows, two NULLs in a key are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from iceberg_datamart.core.settings.audits import filled, tables_in
from iceberg_datamart.core.sql.dialect import listed
from iceberg_datamart.core.sql.reserved import OTHER, ROW
from iceberg_datamart.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.core.settings.audits import AuditConfig
    from iceberg_datamart.core.sql.dialect import Dialect

_LONGEST_VALUE = 60


@dataclass(frozen=True)
class KeyAudit:
    """No two rows of `table` have the same `key`."""

    place: str
    name: str
    on_fail: str
    table: str
    key: tuple[str, ...]

    @property
    def tables(self) -> tuple[str, ...]:
        """Return the tables whose relations the SELECT needs."""
        return (self.table,)

    @property
    def order(self) -> tuple[str, ...]:
        """Return the columns by which the first failures are chosen."""
        return self.key

    def failing_sql(self, dialect: Dialect, relations: Mapping[str, str]) -> str:
        """Return the SELECT of the keys that several rows have."""
        key = listed(dialect, self.key)
        return f"SELECT {key} FROM {relations[self.table]} GROUP BY {key} HAVING count(*) > 1"

    def finding(self, count: int, first: str) -> str:
        """Return what a message says of so many failures, and of the first ones."""
        keys = "1 key has" if count == 1 else f"{count} keys have"
        return f"{keys} several rows{_shown(count, first)}"


@dataclass(frozen=True)
class ForeignKeyAudit:
    """Each row of `table` has a row of `other` with the same values in the `pairs` of columns."""

    place: str
    name: str
    on_fail: str
    table: str
    key: tuple[str, ...]
    other: str
    pairs: tuple[tuple[str, str], ...]

    @property
    def tables(self) -> tuple[str, ...]:
        """Return the tables whose relations the SELECT needs."""
        return (self.table, self.other)

    @property
    def order(self) -> tuple[str, ...]:
        """Return the columns by which the first failures are chosen."""
        return self.key

    def failing_sql(self, dialect: Dialect, relations: Mapping[str, str]) -> str:
        """Return the SELECT of the rows that point to no row: their key and their columns."""
        quoted, own = dialect.quoted, [own for own, _ in self.pairs]
        shown = listed(dialect, dict.fromkeys((*self.key, *own)), ROW)
        present = " AND ".join(f"{ROW}.{quoted(name)} IS NOT NULL" for name in own)
        same = " AND ".join(f"{OTHER}.{quoted(other)} = {ROW}.{quoted(own)}" for own, other in self.pairs)
        return (
            f"SELECT {shown} FROM {relations[self.table]} AS {ROW} WHERE {present} "
            f"AND NOT EXISTS (SELECT 1 FROM {relations[self.other]} AS {OTHER} WHERE {same})"
        )

    def finding(self, count: int, first: str) -> str:
        """Return what a message says of so many failures, and of the first ones."""
        rows = "1 row points" if count == 1 else f"{count} rows point"
        return f"{rows} to no row of '{self.other}'{_shown(count, first)}"


@dataclass(frozen=True)
class SqlAudit:
    """A SELECT of people's own returns no row."""

    place: str
    name: str
    on_fail: str
    sql: str
    order: tuple[str, ...] = ()

    @property
    def tables(self) -> tuple[str, ...]:
        """Return the tables whose relations the SELECT needs."""
        return tables_in(self.sql)

    def failing_sql(self, dialect: Dialect, relations: Mapping[str, str]) -> str:
        """Return the SELECT with the relations in it. Raises: NeedsSparkError for any engine but Spark."""
        select = dialect.expression(filled(self.sql, relations), {})
        # On lines of its own, so that a comment at its end hides nothing.
        return f"SELECT * FROM (\n{select}\n) AS {ROW}"

    def finding(self, count: int, first: str) -> str:
        """Return what a message says of so many failures, and of the first ones."""
        return f"{'1 row' if count == 1 else f'{count} rows'} found{_shown(count, first)}"


@dataclass(frozen=True)
class CountAudit:
    """`table` has at least `least` and at most `most` rows."""

    place: str
    name: str
    on_fail: str
    table: str
    least: int | None
    most: int | None

    @property
    def tables(self) -> tuple[str, ...]:
        """Return the tables whose relations the SELECT needs."""
        return (self.table,)

    def count_sql(self, relations: Mapping[str, str]) -> str:
        """Return the SELECT of the number of rows."""
        return f"SELECT count(*) FROM {relations[self.table]}"

    def finding(self, rows: int) -> str | None:
        """Return what a message says of so many rows; None where that is right."""
        if self.least is not None and rows < self.least:
            return f"{rows} rows; min is {self.least}"
        return f"{rows} rows; max is {self.most}" if self.most is not None and rows > self.most else None


RowAudit: TypeAlias = "KeyAudit | ForeignKeyAudit | SqlAudit"
Audit: TypeAlias = "RowAudit | CountAudit"


def audits_of(
    where: str, settings: Iterable[AuditConfig], columns: Sequence[Column], key: Sequence[str]
) -> tuple[Audit, ...]:
    """Return the audits of a table with `columns` and `key`; `where` is the path of its settings.

    Raises: ConfigError for a column that is not there.
    """
    names, table = [column.name for column in columns], where.partition(".")[2]
    found: list[Audit] = []
    for index, audit in enumerate(settings):
        said = (f"{where}.audits[{index}]", audit.label, audit.on_fail)
        for name, _ in audit.columns or ():
            if name not in names:
                hint = f"Columns are: {', '.join(names)}."
                raise ConfigError(f"{said[0]}: there is no column '{name}'", hint=hint)
        if audit.type == "unique_key":
            found.append(KeyAudit(*said, table, tuple(key)))
        elif audit.type == "row_count":
            found.append(CountAudit(*said, table, audit.min, audit.max))
        elif audit.type == "foreign_key":
            found.append(ForeignKeyAudit(*said, table, tuple(key), audit.table or "", audit.columns or ()))
        else:
            found.append(SqlAudit(*said, audit.sql or ""))
    return tuple(found)


def first_failures(rows: Iterable[Iterable[tuple[str, Any]]]) -> str:
    """Return what a message shows of failing rows, each given as its names and values."""
    return "; ".join(", ".join(f"{name}={_value(value)}" for name, value in row) for row in rows)


def _value(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _shown(count: int, first: str) -> str:
    return f": {first}" if count == 1 else f", the first: {first}"
