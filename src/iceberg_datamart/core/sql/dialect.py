"""Where the engines' SQL differs.

Beside these methods our SQL keeps to what the engines share: joins (also SEMI and ANTI), EXISTS, CASE,
coalesce, window functions, count_if and concat_ws. Names are always quoted, values always literals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from iceberg_datamart.core.sql.reserved import OTHER, ROW

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Dialect(Protocol):
    """One engine's SQL. Arguments are text of it, too, but for names, types and literals' values."""

    @property
    def joins_in_steps(self) -> bool:
        """Return whether a join of few rows with many must be told its steps, by semi-joins.

        WITH … AS MATERIALIZED keeps the rows of a step, and rows that were read are cheap to read twice.
        """

    def quoted(self, *names: str) -> str:
        """Return a dotted identifier."""

    def literal(self, value: Any, iceberg_type: str = "string") -> str:
        """Return a literal. Timestamps and dates are given as microseconds or days since 1970."""

    def number(self, value: str, iceberg_type: str) -> str:
        """Return a value of a type with ranges as `literal` takes it: Python has no dates after 9999."""

    def same(self, left: str, right: str) -> str:
        """Return whether two values are equal or both NULL."""

    def expression(self, text: str, columns: Mapping[str, str]) -> str:
        """Return SQL that people wrote, which is Spark's, over `columns`, name to Iceberg type.

        Raises: NeedsSparkError where the engine might compute it otherwise than Spark.
        """

    def text(self, value: str) -> str:
        """Return a value as messages show it."""

    def array(self, values: Iterable[str]) -> str:
        """Return an array."""

    def known(self, array: str) -> str:
        """Return the elements of an array that are not NULL."""

    def unnested(self, array: str) -> str:
        """Return what, in a SELECT's list, makes a row of each element."""

    def among(self, relation: str, keys: str, same: str, *, others: bool = False) -> str:
        """Return the relation of the rows that have a match in `keys`, or of all `others`, each once.

        `same` is the predicate that the row `ROW` and the key `OTHER` match.
        """

    def row(self, columns: Sequence[str]) -> str:
        """Return all columns of these names as one value."""

    def json(self, columns: Sequence[str]) -> str:
        """Return all columns of these names as a JSON object in text, with those that are NULL."""


def semi_joined(relation: str, keys: str, same: str, *, others: bool) -> str:
    """Return `Dialect.among` of engines that have SEMI and ANTI joins.

    DuckDB (1.5) keeps all rows of a scan for an EXISTS where another predicate bounds them.
    """
    kind = "ANTI" if others else "SEMI"
    return f"(SELECT {ROW}.* FROM {relation} AS {ROW} {kind} JOIN {keys} AS {OTHER} ON {same})"


def listed(dialect: Dialect, columns: Iterable[str], alias: str = "") -> str:
    """Return columns as the list of a SELECT."""
    before = f"{alias}." if alias else ""
    return ", ".join(before + dialect.quoted(name) for name in columns)


def matching(
    dialect: Dialect, columns: Iterable[str], left: str, right: str, *, null_safe: bool = False
) -> str:
    """Return the predicate that two rows have the same `columns`."""
    pairs = [(f"{left}.{name}", f"{right}.{name}") for name in map(dialect.quoted, columns)]
    return " AND ".join(dialect.same(*pair) if null_safe else " = ".join(pair) for pair in pairs)
