"""SQL cut into texts, quoted names, comments, and the code between them, as PostgreSQL cuts it.

https://www.postgresql.org/docs/current/sql-syntax-lexical.html
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# What is read as a whole, whatever signs are in it.
_TOKEN = re.compile(
    r"""(?P<text>(?<![\w$])[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*'
      | (?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
      | (?P<name>"(?:[^"]|"")*") | --[^\r\n]* | (?P<comment>/\*)""",
    re.DOTALL | re.VERBOSE,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


class Kind(Enum):
    """What a piece of SQL is."""

    TEXT = "text"
    NAME = "quoted name"
    COMMENT = "comment"
    CODE = "code"


def pieces(sql: str) -> Iterator[tuple[Kind, str]]:
    """Yield the pieces of `sql` in their order, each as it is written; together they are all of it."""
    done = 0
    while (token := _TOKEN.search(sql, done)) is not None:
        if token.start() > done:
            yield Kind.CODE, sql[done : token.start()]
        done = _end_of_comment(sql, token.end()) if token["comment"] else token.end()
        kind = Kind.TEXT if token["text"] else Kind.NAME if token["name"] else Kind.COMMENT
        yield kind, sql[token.start() : done]
    if done < len(sql):
        yield Kind.CODE, sql[done:]


def _end_of_comment(sql: str, start: int) -> int:
    """Return where a comment ends that begins before `start`; comments may hold comments."""
    depth, at = 1, start
    while depth:
        edge = _COMMENT_EDGE.search(sql, at)
        if edge is None:
            return len(sql)
        depth += 1 if edge[0] == "/*" else -1
        at = edge.end()
    return at
