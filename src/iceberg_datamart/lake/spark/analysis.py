"""Expressions of the settings as Spark's analyser understands them, on both runtimes; nothing is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JError
from pyspark.sql import functions as f
from pyspark.sql.utils import AnalysisException, ParseException

from iceberg_datamart.core.mart.row_local import Part, fault_in
from iceberg_datamart.core.sql.reserved import ROW
from iceberg_datamart.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import DataFrame

_VALUE = "_datamart_value"


def require_row_local(rows: DataFrame, text: str, place: str, *, is_filter: bool = False) -> None:
    """Raise ConfigError, naming `place`, where `text` is no expression of one row of `rows`."""
    named = rows.alias(ROW)
    try:
        expression = f.expr(text if is_filter else f"{text}\n AS {_VALUE}")
    except ParseException as error:
        message = f"{place}: `{text.strip()}` is not an expression of Spark's SQL"
        raise ConfigError(message, hint="Write one expression, without AS. Nothing was written.") from error
    try:
        frame = named.where(expression) if is_filter else named.select(expression)
    except AnalysisException as error:
        said = str(error).partition("\n")[0].rstrip(";")
        hint = f"Its columns are {', '.join(rows.columns)}. Nothing was written."
        raise ConfigError(f"{place}: `{text.strip()}`: {said}", hint=hint) from error
    plan = frame._jdf.queryExecution().analyzed()  # noqa: SLF001
    above = list(_above(plan))
    plain = "Filter" if is_filter else "Project"
    plans = [name for name, _ in above]
    others = [] if plans == [plain] else [name for name in plans if name != "Project"] or plans[:1]
    found = fault_in(text, others, [part for _, node in above for part in _parts(node)])
    if found is not None:
        message = f"{place}: `{text.strip()}` depends on {found}, not on its row alone"
        hint = "Use columns of the row, operators and deterministic functions. Nothing was written."
        raise ConfigError(message, hint=hint)


def _above(plan: Any) -> Iterator[tuple[str, Any]]:
    """Return the plan's nodes with their names, from the top down to the relation."""
    while str(plan.nodeName()) != "SubqueryAlias" or str(plan.alias()) != ROW:
        yield str(plan.nodeName()), plan
        if plan.children().size() != 1:
            return
        plan = plan.children().apply(0)


def _parts(node: Any) -> Iterator[Part]:
    """Return all parts of the expressions of a plan's node."""
    expressions = node.expressions()
    waiting = [expressions.apply(index) for index in range(expressions.size())]
    while waiting:
        found = waiting.pop()
        kind = str(found.getClass().getName()).rpartition(".")[2].rstrip("$")
        yield Part(kind, bool(found.deterministic()), _moment(kind, found))
        children = found.children()
        waiting += [children.apply(index) for index in range(children.size())]
        # to_timestamp and to_date cast a text without a format, and their children do not show it.
        if kind.startswith("ParseTo"):
            waiting.append(found.replacement())


def _moment(kind: str, expression: Any) -> str:
    """Return the constant text that an expression casts to a date or time; empty where it does not."""
    if kind not in ("Cast", "AnsiCast", "TryCast"):
        return ""
    value = expression.children().apply(0)
    target = str(expression.dataType().simpleString())
    if not target.startswith(("date", "timestamp")) or not value.foldable():
        return ""
    try:
        return str(value.eval(None))
    except Py4JError:
        # What cannot be computed now is not known to be the same then.
        return "now"
