"""Whether an expression says the same of the same row, whenever and beside whatever it is asked (R21)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Plan nodes that Spark puts between an expression and its rows.
_PLANS = {
    "Window": "a window function",
    "Aggregate": "an aggregate function",
    "Generate": "a function that makes several rows of one",
}
_SUBQUERIES = {"Exists", "ListQuery", "FunctionTableSubqueryArgumentExpression"}
_CLOCKS = {"CurrentDate", "CurrentTime", "CurrentTimestamp", "LocalTimestamp", "Now"}
_SESSION = {"SparkVersion", "VariableReference"}
# Its result may have random bytes in it, which Spark does not tell.
_RANDOM = {"AesEncrypt"}
_MOMENT = re.compile(r"(?:now|today|tomorrow|yesterday)\b", re.IGNORECASE)
_TYPED_MOMENT = re.compile(rf"\b(?:date|timestamp\w*)\s*[\"']\s*{_MOMENT.pattern}", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """One node of an analysed expression: its class in Spark, and whether Spark calls it deterministic.

    `moment` is the constant text that it casts to a date or time, if it does.
    """

    kind: str
    deterministic: bool = True
    moment: str = ""


def fault_in(text: str, plans: Iterable[str], parts: Iterable[Part]) -> str | None:
    """Return what in an expression depends on more than its row; None where nothing does.

    `plans` are the nodes of its plan but for those of a plain SELECT or WHERE.
    """
    for plan in plans:
        return _PLANS.get(plan, f"more than one value for each row ({plan})")
    if _TYPED_MOMENT.search(text):
        return "the clock"
    return next(filter(None, map(_fault_of, parts)), None)


def _fault_of(part: Part) -> str | None:
    if part.kind.endswith("Subquery") or part.kind in _SUBQUERIES:
        return "a subquery"
    if part.kind in _CLOCKS or _MOMENT.match(part.moment.strip()):
        return "the clock"
    if part.kind.startswith("Current") or part.kind in _SESSION:
        return f"the session ({part.kind})"
    if not part.deterministic or part.kind in _RANDOM:
        return f"a value that is another each time ({part.kind})"
    return None
