"""No column can have the name of a relation in the package's SQL: where x is a column, `x.id` is a field."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from iceberg_datamart.core.sql.reserved import is_taken
from support.shops.taken_names import PACKAGE, internal_aliases

if TYPE_CHECKING:
    from collections.abc import Iterator

# What a report reads, of SELECTs without any other column.
RESULTS = {"wrong", "pending", "rejected"}
# Of a hint that holds a statement.
WORDS = {"they", "audit"}
FOLDERS = ("core/sql", "lake", "lake/spark", "sources/postgres")
# Whose SQL stands beside names of people's columns; the others ask system catalogs alone.
MODULES = sorted(
    {
        *("core/mart/arms.py", "core/mart/shape.py", "core/quality/checks.py", "core/quality/audits.py"),
        *(f"{folder}/{path.name}" for folder in FOLDERS for path in (PACKAGE / folder).glob("*.py")),
    }
    - {
        f"sources/postgres/{name}.py"
        for name in (
            "activity",
            "calls",
            "catalog",
            "connection",
            "horizon",
            "recipe",
            "relations",
            "rights",
            "sequences",
            "storage",
        )
    }
)
TYPES = "bigint|boolean|decimal|double|string|timestamp|timestamp_ntz|date"
NAMED = re.compile(rf"\b(?:AS|as) (?!(?:{TYPES})\b)([a-z]\w*)|(\w+) ->|(?<![\w.])([a-z]\w*)\.(?:`|\{{|\*|$)")


def sql_texts(module: ast.Module) -> Iterator[str]:
    """Return the strings of a module, `{}` for what is put in, but for docstrings and plain words."""
    inner = {part for node in ast.walk(module) if isinstance(node, ast.JoinedStr) for part in node.values}
    docs = {id(node.value) for node in ast.walk(module) if isinstance(node, ast.Expr)}
    for node in ast.walk(module):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and not (node in inner or id(node) in docs):
            yield str(node.value)


def aliases(text: str) -> set[str]:
    """Return the names of relations and variables in a piece of SQL; none in an English sentence."""
    is_sql = re.search(r"\b(SELECT|FROM|EXISTS|MERGE)\b|\bselect\b.*\bfrom\b|^as |->|\.\{.*=", text)
    return {name for found in NAMED.findall(text) for name in found if name} if is_sql else set()


@pytest.mark.parametrize("name", MODULES)
def test_every_alias_is_one_that_no_column_can_have(name: str) -> None:
    module = ast.parse((PACKAGE / name).read_text("utf-8"))
    found = {alias for text in sql_texts(module) for alias in aliases(text)}
    assert {alias for alias in found - RESULTS - WORDS if not is_taken(alias)} == set()


@pytest.mark.parametrize(
    "text",
    [
        "SELECT {} FROM {} AS t",
        "(select {} from {}) as q",
        "x.{} = {}",
        "transform({}, e -> {})",
        "SELECT n.* FROM {}",
        "coalesce(t.{}, false) = {}",
    ],
)
def test_an_alias_that_a_column_may_have_is_noticed(text: str) -> None:
    assert [alias for alias in aliases(text) if not is_taken(alias)]


@pytest.mark.parametrize(
    "name", [*internal_aliases(), "_datamart_row", "_DataMart_Row", "_run_id", "_Run_Id", "_file"]
)
def test_no_column_has_such_a_name_whatever_its_case(name: str) -> None:
    assert is_taken(name)
