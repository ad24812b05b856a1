"""Which columns a mart may join: those whose values in the mirrors are equal where the source's are (R21)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceberg_datamart.core.columns import DecimalSize, decimal_size
from iceberg_datamart.errors import LakeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from iceberg_datamart.core.mart.shape import MartShape

# Before the name of a type whose equality is not that of its values as a mirror holds them.
OTHERWISE = "!"
_KINDS = {"int": "number", "long": "number", "float": "float", "double": "float", "string": "text"}
_DIGITS = {"int": DecimalSize(10, 0), "long": DecimalSize(20, 0)}
_GREATEST_PRECISION = 38


def kind_of(iceberg_type: str) -> str:
    """Return as what a column is compared whose source has Iceberg's types alone."""
    return "number" if decimal_size(iceberg_type) else _KINDS.get(iceberg_type, iceberg_type)


def require_equality(
    shape: MartShape, kinds: Mapping[str, Mapping[str, str]], types: Mapping[str, Mapping[str, str]]
) -> None:
    """Raise LakeError for a join that the mirrors' values may not answer as the source does.

    `kinds` and `types` are those of each table's columns: as what it is compared, and its Iceberg type.
    """
    for node in shape.nodes:
        for parents, own in node.on:
            sides = [(node.parent or "", parents), (node.table, own)]
            faults = list(_faults(sides, kinds, types))
            if faults:
                names = " = ".join(f"'{table}.{column}'" for table, column in sides)
                hint = (
                    "Join columns of one type; `type: string` in a table's `columns` reads one as its text."
                )
                raise LakeError(f"mart '{shape.name}' joins {names}: {faults[0]}", hint=hint)


def _faults(
    sides: list[tuple[str, str]],
    kinds: Mapping[str, Mapping[str, str]],
    types: Mapping[str, Mapping[str, str]],
) -> Iterator[str]:
    for table, column in sides:
        if column not in kinds[table]:
            yield f"as what '{table}.{column}' is compared is not known yet; run all tables once"
        elif kinds[table][column].startswith(OTHERWISE):
            kind = kinds[table][column].removeprefix(OTHERWISE)
            yield f"'{table}.{column}' is {kind}, which the source compares otherwise than by its text"
    one, other = (kinds[table].get(column) for table, column in sides)
    if one != other:
        yield f"the first is {one}, the second {other}, and these are not compared exactly"
    sizes = [_size(types[table][column]) for table, column in sides]
    if one == "number" and max(p - s for p, s in sizes) + max(s for _, s in sizes) > _GREATEST_PRECISION:
        yield f"no decimal holds both {' and '.join(types[table][column] for table, column in sides)}"


def _size(iceberg_type: str) -> DecimalSize:
    """Return the precision and scale of a number's type."""
    return decimal_size(iceberg_type) or _DIGITS.get(iceberg_type, DecimalSize(0, 0))
