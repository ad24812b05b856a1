"""Which keys of a mart's mirrors changed, and the predicates that find the mart's rows of them (R8)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from iceberg_datamart.core.sql.bounds import bounds_of, one_of
from iceberg_datamart.core.sql.dialect import listed, matching
from iceberg_datamart.core.sql.reserved import OTHER, ROW, RUN_ID

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from iceberg_datamart.core.columns import Column
    from iceberg_datamart.core.sql.dialect import Dialect


@dataclass(frozen=True)
class Delta:
    """How to find what changed in a mirror since the mart consumed it.

    `now` and `before` are the mirror's relations at its current and at the consumed snapshot.
    """

    now: str
    before: str
    run_ids: tuple[str, ...]
    deletes: bool


@dataclass(frozen=True)
class Arm:
    """The mart rows whose `outputs` are among the keys that `keys` selects, under the same names."""

    outputs: tuple[str, ...]
    keys: str


@dataclass(frozen=True)
class Taken:
    """An arm's rows, found by its keys: those of the relation `keys`, or, where that is None, of `rows`.

    `rows` are values of the columns `ranged`, whose literals bound all rows that the arm takes.
    """

    outputs: tuple[str, ...]
    ranged: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    keys: str | None

    def rows_of(self, dialect: Dialect, relation: str, names: Mapping[str, str] | None = None) -> str:
        """Return the relation of the rows that the arm takes, whose columns may have other `names`."""
        named = names or {name: name for name in self.outputs}
        bounds = bounds_of(dialect, self._ranged(named), self.rows, ROW)
        if self.keys is None:
            bounds += f" AND {self._listed(dialect, named)}"
        bounded = relation if bounds == "true" else f"(SELECT * FROM {relation} AS {ROW} WHERE {bounds})"
        if self.keys is None:
            return bounded
        return dialect.among(bounded, self.keys, self._same(dialect, named))

    def others_of(self, dialect: Dialect, relation: str) -> str:
        """Return the relation of the mart's rows that the arm does not take."""
        named = {name: name for name in self.outputs}
        if self.keys is None:
            listed = self._listed(dialect, named)
            return f"(SELECT * FROM {relation} AS {ROW} WHERE NOT coalesce({listed}, false))"
        return dialect.among(relation, self.keys, self._same(dialect, named), others=True)

    def _same(self, dialect: Dialect, names: Mapping[str, str]) -> str:
        pairs = [(dialect.quoted(name), dialect.quoted(names[name])) for name in self.outputs]
        return " AND ".join(dialect.same(f"{OTHER}.{key}", f"{ROW}.{own}") for key, own in pairs)

    def _listed(self, dialect: Dialect, names: Mapping[str, str]) -> str:
        """Return the predicate that names the keys. Raises: ValueError where they cannot be named."""
        text = one_of(dialect, self._ranged(names), self.rows, ROW)
        if text is None or len(self.ranged) < len(self.outputs):
            raise ValueError(f"keys of {self.outputs} that no predicate names, and no relation of them")
        return text

    def _ranged(self, names: Mapping[str, str]) -> list[Column]:
        return [replace(column, name=names[column.name]) for column in self.ranged]


def changed_keys_sql(dialect: Dialect, delta: Delta, key: Sequence[str]) -> str:
    """Return the SELECT of the primary keys written, or deleted, since the mart consumed the mirror."""
    runs = ", ".join(dialect.literal(run_id) for run_id in delta.run_ids)
    names = listed(dialect, key, ROW)
    written = f"SELECT {names} FROM {delta.now} AS {ROW} WHERE {ROW}.{dialect.quoted(RUN_ID)} IN ({runs})"
    if not delta.deletes:
        return written
    same = matching(dialect, key, OTHER, ROW, null_safe=True)
    present = f"SELECT 1 FROM {delta.now} AS {OTHER} WHERE {same}"
    return f"{written} UNION ALL SELECT {names} FROM {delta.before} AS {ROW} WHERE NOT EXISTS ({present})"


def joined_arms(arms: Iterable[Arm]) -> tuple[Arm, ...]:
    """Return one arm for each set of outputs, with the keys of all: fewer joins to compute."""
    keys: dict[tuple[str, ...], list[str]] = {}
    for arm in arms:
        keys.setdefault(arm.outputs, []).append(arm.keys)
    return tuple(Arm(outputs, " UNION ".join(selects)) for outputs, selects in keys.items())


def restricted_sql(dialect: Dialect, relation: str, columns: Sequence[str], arms: Sequence[Taken]) -> str:
    """Return the SELECT of the rows of `relation` that any arm takes, once each; all without arms."""
    taken = [arm.rows_of(dialect, relation) for arm in arms]
    return each_once_sql(dialect, taken or [relation], columns, arms)


def each_once_sql(
    dialect: Dialect, taken: Sequence[str], columns: Sequence[str], arms: Sequence[Taken]
) -> str:
    """Return the SELECT of the rows that `arms` have `taken`, a relation for each, but for those before."""
    parts = []
    for position, relation in enumerate(taken):
        rows = relation
        for earlier in arms[:position]:
            rows = earlier.others_of(dialect, rows)
        parts.append(f"SELECT {listed(dialect, columns, ROW)} FROM {rows} AS {ROW}")
    return " UNION ALL ".join(parts)
