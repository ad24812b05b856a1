"""Checks as people write them: which rows of a table or mart are not as they should be, and what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from iceberg_datamart.core.settings.rules import (
    KindSettings,
    OneOrMore,
    Plain,
    Problem,
    Settings,
    Text,
    kind_problems,
    listed,
    mapping,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# The settings that each type of check takes besides those of all.
_KINDS = {
    "not_null": KindSettings(("columns",)),
    "unique": KindSettings(("columns",)),
    "accepted_values": KindSettings(("column", "values")),
    "range": KindSettings(("column",), one_of=("min", "max")),
    "expression": KindSettings(("sql",)),
    "row_count_change": KindSettings(one_of=("max_increase", "max_decrease")),
}


class CheckConfig(Settings):
    """One check of a table or mart."""

    type: Literal["not_null", "unique", "accepted_values", "range", "expression", "row_count_change"] = Field(
        description="What is checked."
    )
    name: Text | None = Field(
        default=None, description="What reports call it. Not set: its type and its columns."
    )
    on_fail: Literal["error", "warn", "reject"] = Field(
        default="error",
        description="`error`: nothing of the table is committed; `warn`: the report says so; "
        "`reject`: the failing rows go to `<table>__rejected`, the others are committed.",
    )
    columns: OneOrMore | None = Field(default=None, description="The columns of `not_null` and `unique`.")
    column: Text | None = Field(default=None, description="The column of `accepted_values` and `range`.")
    values: tuple[Plain, ...] | None = Field(
        default=None, min_length=1, description="The values that `accepted_values` accepts."
    )
    min: Plain | None = Field(default=None, description="The least value in the `range`.")
    max: Plain | None = Field(default=None, description="The greatest value in the `range`.")
    sql: Text | None = Field(
        default=None,
        description="The predicate of `expression`, in Spark SQL; a row for which it is false fails.",
    )
    max_increase: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="`row_count_change`: by what part of its rows a table may grow in one run.",
    )
    max_decrease: float | None = Field(
        default=None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="`row_count_change`: by what part of its rows a table may shrink in one run.",
    )

    @property
    def label(self) -> str:
        """Return what messages call the check."""
        if self.name is not None:
            return self.name
        of = self.columns or tuple(filter(None, (self.column or self.sql,)))
        return f"{self.type} ({', '.join(of)})" if of else self.type

    @classmethod
    def broken_rules(cls, plain: Mapping[str, Any]) -> Iterable[Problem]:
        """Return each setting that this type of check lacks, or does not have."""
        yield from kind_problems(plain, _KINDS, "a check")
        if plain.get("type") == "row_count_change" and plain.get("on_fail") == "reject":
            yield Problem(("on_fail",), "a number of rows cannot be rejected; write error or warn")


def column_problems(table: Mapping[str, Any]) -> Iterator[Problem]:
    """Return each column of a table's checks that is never read."""
    for index, check in enumerate(map(mapping, listed(table.get("checks")))):
        columns = [(("columns", at), name) for at, name in enumerate(listed(check.get("columns")))]
        for path, name in [*columns, (("column",), check.get("column"))]:
            if name in listed(table.get("exclude")):
                yield Problem(
                    ("checks", index, *path), f"column {name!r} is in 'exclude', so it is never read"
                )


def mart_problems(mart: Mapping[str, Any]) -> Iterator[Problem]:
    """Return each check of a mart that would reject rows: a mart is exactly its join (R8)."""
    for index, check in enumerate(map(mapping, listed(mart.get("checks")))):
        if check.get("on_fail") == "reject":
            message = "a mart holds every row of its join, so it rejects none; let a table reject them"
            yield Problem(("checks", index, "on_fail"), message)
