"""The part of Spark's SQL that other engines can be told to compute alike, as a tree.

After https://github.com/apache/spark/blob/v3.5.6/sql/api/src/main/antlr4/org/apache/spark/sql/catalyst/parser/SqlBaseParser.g4
which 3.3 agrees with in this part. What is not known here for certain is refused, never guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceberg_datamart.errors import NeedsSparkError

if TYPE_CHECKING:
    from collections.abc import Callable

_DEEPEST, _LONGEST = 40, 2000
_TOKEN = re.compile(
    r"""(?P<blank>[ \t\r\n]+|--[^\r\n\\]*(?=[\r\n]|\Z)|/\*(?!\+)(?:(?!/\*|\*/).)*\*/)
    |(?P<text>'(?:[^'\\]|\\.)*')
    |(?P<name>`[^`]+`(?!`))
    |(?P<number>(?:\d+L|\d+\.\d+|\d+)(?![A-Za-z0-9_.]))
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign><=>|<>|<=|>=|!=|==|-(?!-)|[<>=+(),])""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_UNKNOWN = re.compile(r"\w[\w.]*|[^\w\s()',`]+")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "r": "\r", "t": "\t"}
_COMPARISONS = {"=", "==", "<>", "!=", "<", "<=", ">", ">=", "<=>"}
_FUNCTIONS = {"coalesce", "nullif"}
_TYPED = {"date", "timestamp"}
_KEYWORDS = {
    *("and", "or", "not", "is", "null", "in", "like", "between", "true", "false"),
    *("case", "when", "then", "else", "end"),
}
# Words that may mean something else than a column of this name; in backquotes they mean the column.
_NO_NAMES = {
    *("anti", "cross", "except", "full", "inner", "intersect", "join", "lateral", "left", "minus", "natural"),
    *("on", "right", "semi", "setminus", "union", "using", "select", "from", "where", "group", "order", "as"),
    *("having", "limit", "with", "distinct", "exists", "interval", "user", "session_user", "current_user"),
    *("current_date", "current_time", "current_timestamp", "localtimestamp", "current_catalog"),
    *("current_database", "current_schema", "current_timezone", "now"),
}


@dataclass(frozen=True)
class Node:
    """A part of an expression: its `kind`, and what it is made of.

    Literals and names have a `text`; so have a comparison (its sign), a call (its function) and a sum (the
    sign before each part but the first).
    """

    kind: str
    text: str = ""
    parts: tuple[Node, ...] = ()


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


def parsed(text: str) -> Node:
    """Return an expression of Spark's SQL. Raises: NeedsSparkError, naming the construct."""
    return _Parser(_tokens(text)).whole()


def refused(construct: str) -> NeedsSparkError:
    """Return what to raise for a construct."""
    return NeedsSparkError(f"{construct} is left to Spark", hint="Spark can run it.")


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            unknown = _UNKNOWN.match(text, at)
            raise refused(f"`{unknown[0] if unknown else text[at]}`")
        kind = match.lastgroup or ""
        if kind != "blank":
            found.append(_Token(kind, match[0]))
        at = match.end()
    if len(found) > _LONGEST:
        raise refused(f"an expression of {len(found)} words and signs")
    return found


class _Parser:
    """Reads tokens from the first to the last; each method reads one level of precedence."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens, self._at, self._depth = tokens, 0, 0

    def whole(self) -> Node:
        node = self._disjunction()
        if self._at < len(self._tokens):
            raise self._unknown()
        return node

    def _disjunction(self) -> Node:
        return self._chain("or", self._conjunction)

    def _conjunction(self) -> Node:
        return self._chain("and", self._negation)

    def _chain(self, word: str, part: Callable[[], Node]) -> Node:
        parts = [part()]
        while self._took(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Node(word, parts=tuple(parts))

    def _negation(self) -> Node:
        if self._took("not"):
            return Node("not", parts=(self._inside(self._negation),))
        return self._predicate()

    def _predicate(self) -> Node:
        """Read a value and what is asked of it: in Spark `a = b IS NULL` asks it of the comparison."""
        value = self._comparison()
        if self._took("is"):
            negated = self._took("not")
            self._need("null")
            return self._negated(Node("is null", parts=(value,)), negated=negated)
        negated = self._took("not")
        if self._took("between"):
            low = self._comparison()
            self._need("and")
            found = Node("between", parts=(value, low, self._comparison()))
        elif self._took("in"):
            found = Node("in", parts=(value, *self._list()))
        elif self._took("like"):
            found = Node("like", parts=(value, self._comparison()))
        elif negated:
            raise self._unknown()
        else:
            return value
        return self._negated(found, negated=negated)

    @staticmethod
    def _negated(node: Node, *, negated: bool) -> Node:
        return Node("not", parts=(node,)) if negated else node

    def _comparison(self) -> Node:
        left = self._sum()
        sign = self._text()
        if sign not in _COMPARISONS:
            return left
        self._at += 1
        found = Node("compare", sign, (left, self._sum()))
        if self._text() in _COMPARISONS:
            raise refused("a comparison of a comparison")
        return found

    def _sum(self) -> Node:
        parts, signs = [self._signed()], ""
        while self._text() in {"+", "-"}:
            signs += self._next().text
            parts.append(self._signed())
        return Node("sum", signs, tuple(parts)) if signs else parts[0]

    def _signed(self) -> Node:
        if self._text() not in {"+", "-"}:
            return self._primary()
        sign = self._next().text
        if sign == "-" and self._kind() == "number":
            # A literal, also for its type: -2147483648 is an int.
            return _number("-" + self._next().text)
        return Node("sign", sign, (self._inside(self._signed),))

    def _primary(self) -> Node:
        if self._took("("):
            node = self._inside(self._disjunction)
            self._need(")")
            return node
        if self._took("case"):
            return self._case()
        kind, word = self._kind(), self._text()
        if kind == "word" and word in _TYPED and self._kind(1) == "text":
            self._at += 1
            return Node(word, _decoded(self._next().text))
        if kind == "word" and word in _FUNCTIONS and self._text(1) == "(":
            self._at += 1
            return Node("call", word, self._list())
        return self._leaf()

    def _leaf(self) -> Node:
        kind, word, after = self._kind(), self._text(), self._text(1)
        if kind == "number":
            return _number(self._next().text)
        if kind == "text":
            return Node("text", _decoded(self._next().text))
        if kind == "name":
            return Node("name", self._next().text[1:-1])
        if kind == "word" and after != "(":
            if word in {"true", "false", "null"}:
                self._at += 1
                return Node("null" if word == "null" else "boolean", word)
            if word not in _KEYWORDS | _NO_NAMES:
                return Node("name", self._next().text)
        raise self._unknown()

    def _case(self) -> Node:
        """Read a case: its parts are conditions and values in turn, and what else it is at the end."""
        asked = None if self._text() == "when" else self._inside(self._disjunction)
        parts: list[Node] = []
        while self._took("when"):
            found = self._inside(self._disjunction)
            self._need("then")
            parts.append(found if asked is None else Node("compare", "=", (asked, found)))
            parts.append(self._inside(self._disjunction))
        if not parts:
            raise self._unknown()
        parts.append(self._inside(self._disjunction) if self._took("else") else Node("null", "null"))
        self._need("end")
        return Node("case", parts=tuple(parts))

    def _list(self) -> tuple[Node, ...]:
        self._need("(")
        parts = [self._inside(self._disjunction)]
        while self._took(","):
            parts.append(self._inside(self._disjunction))
        self._need(")")
        return tuple(parts)

    def _inside(self, part: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise refused(f"an expression of more than {_DEEPEST} levels")
        node = part()
        self._depth -= 1
        return node

    def _kind(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at].kind if at < len(self._tokens) else ""

    def _text(self, ahead: int = 0) -> str:
        """Return a word in lower case, or a sign; nothing for other tokens."""
        return self._tokens[self._at + ahead].text.lower() if self._kind(ahead) in {"word", "sign"} else ""

    def _next(self) -> _Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _took(self, text: str) -> bool:
        if self._text() != text:
            return False
        self._at += 1
        return True

    def _need(self, text: str) -> None:
        if not self._took(text):
            raise self._unknown()

    def _unknown(self) -> NeedsSparkError:
        """Return what to raise for the token that stands here."""
        if not self._kind():
            return refused("an expression that ends too soon")
        call = "(…)" if self._kind() == "word" and self._text(1) == "(" else ""
        return refused(f"`{self._tokens[self._at].text}{call}`")


def _number(text: str) -> Node:
    if text.endswith("L"):
        return Node("long", text[:-1])
    return Node("decimal" if "." in text else "whole", text)


def _decoded(quoted: str) -> str:
    """Return the text that a literal stands for."""

    def plain(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPED:
            raise refused(f"`{match[0]}` in a text")
        return _ESCAPED[match[1]]

    if "\0" in quoted:
        raise refused("a text with a zero byte")
    return _ESCAPE.sub(plain, quoted[1:-1])
