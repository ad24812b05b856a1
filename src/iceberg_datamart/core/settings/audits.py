"""Audits as people write them: what must hold for a table as a whole before readers see it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from iceberg_datamart.core.settings.rules import (
    ColumnPairs,
    KindSettings,
    Problem,
    Settings,
    Text,
    entries,
    is_enabled,
    kind_problems,
    listed,
    mapping,
    unusable,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from iceberg_datamart.core.settings.rules import SettingPath

# The settings that each type of audit takes besides those of all.
_KINDS = {
    "unique_key": KindSettings(),
    "row_count": KindSettings(one_of=("min", "max")),
    "foreign_key": KindSettings(("columns", "table")),
    "sql": KindSettings(("sql",)),
}
# What braces mean in `sql`: two stand for one, and a name between them for a table.
_BRACES = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}]*)\}|[{}]")
_SELECT = re.compile(r"\s*(?:select|with)\b", re.IGNORECASE)
# Texts, quoted names and comments of a statement.
_TEXTS = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`|--[^\n]*|/\*.*?\*/""", re.DOTALL)


def tables_in(sql: str) -> tuple[str, ...]:
    """Return the names that stand in braces in an audit's `sql`, each once."""
    names = (match["name"] for match in _BRACES.finditer(sql))
    return tuple(dict.fromkeys(name for name in names if name is not None))


def filled(sql: str, relations: Mapping[str, str]) -> str:
    """Return an audit's `sql` with the relation of each name that stands in braces."""

    def instead(match: re.Match[str]) -> str:
        return match[0][0] if match["name"] is None else relations[match["name"]]

    return _BRACES.sub(instead, sql)


class AuditConfig(Settings):
    """One audit of a table or mart."""

    type: Literal["unique_key", "row_count", "foreign_key", "sql"] = Field(description="What is audited.")
    name: Text | None = Field(
        default=None, description="What reports call it. Not set: its type and its columns."
    )
    on_fail: Literal["error", "warn"] = Field(
        default="error",
        description="`error`: the staged snapshot is not published; `warn`: it is, and the report says so.",
    )
    min: int | None = Field(default=None, ge=0, description="The least number of rows of `row_count`.")
    max: int | None = Field(default=None, ge=0, description="The greatest number of rows of `row_count`.")
    columns: ColumnPairs | None = Field(
        default=None,
        description="The columns of `foreign_key`: names that both tables have, `[account_id]`, or pairs, "
        "`{own column: column of the other table}`.",
    )
    table: Text | None = Field(
        default=None, description="The mirror that has a row for each `foreign_key`; also the table itself."
    )
    sql: Text | None = Field(
        default=None,
        description="The SELECT of `sql`, in Spark SQL; each row that it returns is a failure. `{name}` "
        "stands for a table, `{{` and `}}` for braces.",
    )

    @property
    def label(self) -> str:
        """Return what messages call the audit."""
        if self.name is not None:
            return self.name
        if self.type == "foreign_key":
            return f"foreign_key ({', '.join(own for own, _ in self.columns or ())})"
        return self.type if self.sql is None else f"sql ({' '.join(self.sql.split())[:60]})"

    @property
    def tables(self) -> tuple[str, ...]:
        """Return the tables that the audit names, its own among them where it does."""
        return (*filter(None, (self.table,)), *tables_in(self.sql or ""))

    @classmethod
    def broken_rules(cls, plain: Mapping[str, Any]) -> Iterable[Problem]:
        """Return each setting that this type of audit lacks, does not have, or cannot work with."""
        yield from kind_problems(plain, _KINDS, "an audit")
        least, most = plain.get("min"), plain.get("max")
        if isinstance(least, int) and isinstance(most, int) and least > most:
            yield Problem(("min",), f"{least} is more than max, which is {most}")
        if plain.get("type") == "sql" and isinstance(plain.get("sql"), str):
            yield from _statement_problems(plain["sql"])


def _statement_problems(sql: str) -> Iterator[Problem]:
    """Return why a text cannot be the SELECT of an audit."""
    if not _SELECT.match(sql):
        yield Problem(("sql",), "must be a statement that begins with SELECT or WITH")
    if ";" in _TEXTS.sub("", sql):
        yield Problem(("sql",), "must be one statement, without a semicolon")
    lone = next((match[0] for match in _BRACES.finditer(sql) if match[0] in {"{", "}"}), None)
    if lone is not None:
        yield Problem(("sql",), f"has a single {lone}; write {lone * 2} where the character is meant")


def audit_problems(plain: Mapping[str, Any]) -> Iterator[Problem]:
    """Return each table that an audit cannot name, column that is never read, and circle of tables."""
    tables, marts = entries(plain.get("tables")), entries(plain.get("marts"))
    for name, table in tables.items():
        for path, other in _named(table):
            place = ("tables", name, *path)
            if other in marts:
                message = f"{other!r} is a mart, and marts come after tables; let the mart have the audit"
                yield Problem(place, message)
            elif other != name and (is_enabled(table) or other not in tables):
                yield from unusable(place, other, tables)
        yield from _column_problems(name, table, tables)
    for name, mart in marts.items():
        for path, other in _named(mart):
            if other in marts and other != name:
                message = f"{other!r} is another mart; an audit of a mart names mirrors and the mart itself"
                yield Problem(("marts", name, *path), message)
            elif other != name:
                yield from unusable(("marts", name, *path), other, tables)
    yield from _circles({name: table for name, table in tables.items() if is_enabled(table)})


def _audits(table: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    yield from enumerate(map(mapping, listed(table.get("audits"))))


def _named(table: Mapping[str, Any]) -> Iterator[tuple[SettingPath, str]]:
    """Return each table that the audits name, with the path of the setting that does."""
    for index, audit in _audits(table):
        if audit.get("type") == "foreign_key" and isinstance(audit.get("table"), str):
            yield ("audits", index, "table"), audit["table"]
        if audit.get("type") == "sql" and isinstance(audit.get("sql"), str):
            yield from ((("audits", index, "sql"), name) for name in tables_in(audit["sql"]))


def _column_problems(
    name: str, table: Mapping[str, Any], tables: Mapping[str, dict[str, Any]]
) -> Iterator[Problem]:
    for index, audit in _audits(table):
        pairs = audit.get("columns")
        own = pairs if isinstance(pairs, dict) else dict(_pair(each) for each in listed(pairs))
        sides = [(name, list(own.keys())), (str(audit.get("table")), list(own.values()))]
        for side, columns in sides:
            excluded = listed(tables.get(side, {}).get("exclude"))
            for column in columns:
                if column in excluded:
                    message = f"column {column!r} is in 'exclude' of {side!r}, so it is never read"
                    yield Problem(("tables", name, "audits", index, "columns"), message)


def _pair(value: Any) -> tuple[str, str]:
    """Return a column of a list as the pair that it is; checked settings have pairs already."""
    own, other = value if isinstance(value, (list, tuple)) and len(value) == 2 else (value, value)  # noqa: PLR2004
    return str(own), str(other)


def _circles(tables: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    """Return a problem for each circle in which tables would wait for each other."""
    done: set[str] = set()

    def found(name: str, way: tuple[str, ...]) -> Iterator[Problem]:
        for path, other in _named(tables[name]):
            if other in way and other != name:
                circle = " -> ".join((*way[way.index(other) :], other))
                message = f"the audits name each other's tables in a circle: {circle}; one must come first"
                yield Problem(("tables", name, *path), message)
            elif other in tables and other not in done and other != name:
                yield from found(other, (*way, other))
        done.add(name)

    for name in tables:
        if name not in done:
            yield from found(name, (name,))
