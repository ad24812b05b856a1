"""Lines of JSON as values in text: every digit as it stands there, every object read, all else refused.

Spark reads numbers through doubles, stops behind the first object of a line, and takes the last of two
members of one name. Workers run this module, so it imports no Spark.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Text, its list, or NULL.
Value: TypeAlias = "str | list[str | None] | None"
_BLANKS = " \t\n\r"
_SHOWN = 80


class MalformedLineError(ValueError):
    """A line that does not say one thing alone."""


class _Number(str):
    """A number as it is spelled."""

    __slots__ = ()


class _Object(tuple[tuple[str, Any], ...]):
    """The members of an object, also those of the same name."""

    __slots__ = ()


_DECODER = json.JSONDecoder(
    object_pairs_hook=_Object, parse_float=_Number, parse_int=_Number, parse_constant=_Number
)


def rows_in(line: bytes, columns: Sequence[tuple[str, bool]], encoding: str) -> list[tuple[Value, ...]]:
    """Return the values of each object in a line, in the order of `columns`: name, and whether it is a list.

    A list of objects stands for these. Names are compared without regard to case. Raises: MalformedLineError.
    """
    text = ""
    try:
        text = bytes(line).decode(encoding)
        found = [_row(each, columns) for each in _objects(text)]
        if "\\u" in text:
            # Half a pair of surrogates is no sign.
            _require_signs(found)
    except (ValueError, RecursionError) as error:
        shown = text[:_SHOWN] or bytes(line)[:_SHOWN]
        raise MalformedLineError(f"malformed line of JSON: {error}: {shown!r}") from None
    return found


def _objects(text: str) -> Iterator[_Object]:
    """Return all that stands in a line, which must be objects."""
    position = _behind_blanks(text, 0)
    while position < len(text):
        value, position = _DECODER.raw_decode(text, position)
        position = _behind_blanks(text, position)
        for each in value if type(value) is list else [value]:
            if not isinstance(each, _Object):
                msg = "it holds what is no object"
                raise ValueError(msg)  # noqa: TRY004  (of the text, not of a caller)
            yield each


def _behind_blanks(text: str, position: int) -> int:
    while position < len(text) and text[position] in _BLANKS:
        position += 1
    return position


def _row(members: _Object, columns: Sequence[tuple[str, bool]]) -> tuple[Value, ...]:
    wanted = {name.lower() for name, _ in columns}
    found: dict[str, Any] = {}
    for name, value in members:
        low = name.lower()
        if low not in wanted:
            continue
        if low in found:
            msg = f"it has column '{low}' twice"
            raise ValueError(msg)
        found[low] = value
    return tuple(_value(name, found.get(name.lower()), is_list=is_list) for name, is_list in columns)


def _value(name: str, value: Any, *, is_list: bool) -> Value:
    if value is None or not is_list:
        return _plain(value)
    if type(value) is not list:
        msg = f"column '{name}' is no list"
        raise ValueError(msg)
    return [_plain(each) for each in value]


def _plain(value: Any) -> str | None:
    """Return text as it is, and all else as its JSON."""
    if value is None:
        return None
    return str(value) if isinstance(value, str) else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, _Object):
        return "{" + ",".join(f"{_text(name)}:{_text(each)}" for name, each in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_text(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _require_signs(rows: list[tuple[Value, ...]]) -> None:
    """Raise UnicodeEncodeError, which is a ValueError, for half a pair of surrogates."""
    for row in rows:
        for value in row:
            for each in value if isinstance(value, list) else (value,):
                (each or "").encode()
