"""Column types of a random schema: values in SQL, and how a mirror has to show them (docs/types.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

WORDS: tuple[str, ...] = (
    "",
    "a",
    "A",
    "b ",
    " b",
    "é",
    "e\u0301",
    "ß",
    "ss",
    "中文😀",
    "x'y",
    'x"y',
    "back\\slash",
    "\\x41",
    "%s",
    "{0}",
)
WORDS += (
    "tab\tnew\nline",
    "${env:HOME}",
    "$1",
    "?",
    "a:1",
    "N",
    "NULL",
    "null",
    "0",
    "-0",
    "1e-05",
    "z" * 300,
)
TYPES = """
    create type mood as enum ('sad', 'so so', 'ha''ppy');
    create type pair as (left_part int, right_part text);
    create domain short_price as numeric(6, 2) check (value > -1000)
"""


@dataclass(frozen=True)
class Kind:
    """A type. `shown` is the SELECT expression of `{c}` whose value a mirror must hold.

    `unfit` is the predicate of the values that none can hold. `keys` says whether it may be a key's, `wider`
    what a later ALTER TABLE may make of it.
    """

    sql: str
    value: Callable[[random.Random], str]
    shown: str = "{c}"
    unfit: str | None = None
    unfit_value: str = ""
    keys: bool = False
    wider: str | None = None


def text(value: str) -> str:
    """Return the literal of a text that means the same whatever the session's settings are."""
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _whole(bits: int) -> Callable[[random.Random], str]:
    edge = 2 ** (bits - 1)

    def value(dice: random.Random) -> str:
        return f"({dice.choice([-edge, edge - 1, 0, 1, -1, *(dice.randint(-999, 999) for _ in range(9))])})"

    return value


def _number(precision: int, scale: int) -> Callable[[random.Random], str]:
    def value(dice: random.Random) -> str:
        digits = dice.randint(0, 10 ** dice.choice([1, 3, min(precision, 9), precision]) - 1)
        return f"({'-' if dice.random() < 0.3 else ''}{digits}::numeric * 1e-{scale})"

    return value


def _word(dice: random.Random) -> str:
    return text(dice.choice(WORDS) + str(dice.choice(["", dice.randint(0, 99)])))


def _short(dice: random.Random) -> str:
    return text((dice.choice(WORDS)[:3] + str(dice.randint(0, 99)))[:5])


def _float(dice: random.Random) -> str:
    some = ["'NaN'", "'Infinity'", "'-Infinity'", "0", "'-0'", "1e-30", "3.4e38"]
    return dice.choice([*some, *(f"({dice.uniform(-9, 9)})" for _ in range(9))])


def _moment(dice: random.Random) -> str:
    edges = [
        "0001-01-01 00:00:00",
        "9999-12-31 23:59:59.999999",
        "1969-12-31 23:59:59.999999",
        "0044-03-15 BC",
    ]
    edges += [
        "2026-03-29 02:30:00",
        "2026-10-25 02:30:00",
        "1582-10-10 12:00:00",
        "1900-01-01 00:00:00.000001",
    ]
    days = dice.randint(-20000, 20000)
    later = f"('2000-01-01 UTC'::timestamptz at time zone 'UTC' + {days} * interval '25 hours 1 microsecond')"
    return dice.choice([later, later, f"timestamp '{dice.choice(edges)}'"])


def _zoned(dice: random.Random) -> str:
    return f"({_moment(dice)} at time zone 'UTC')"


def _date(dice: random.Random) -> str:
    return f"({_moment(dice)})::date"


def _array(sql: str, value: Callable[[random.Random], str]) -> Callable[[random.Random], str]:
    def values(dice: random.Random) -> str:
        items = [dice.choice([value(dice), value(dice), "null"]) for _ in range(dice.choice([0, 1, 3]))]
        return f"array[{', '.join(items)}]::{sql}"

    return values


def _chosen(*values: str) -> Callable[[random.Random], str]:
    return lambda dice: dice.choice(values)


_MICROSECONDS = "(extract(epoch from {c}) * 1000000)"
KINDS = (
    Kind("int2", _whole(16), keys=True, wider="int4"),
    Kind("int4", _whole(32), keys=True, wider="int8"),
    Kind("int8", _whole(64), keys=True),
    Kind(
        "numeric(12,4)",
        _number(12, 4),
        keys=True,
        wider="numeric(20,4)",
        unfit="{c} = 'NaN'",
        unfit_value="'NaN'",
    ),
    Kind("numeric(38,0)", _number(38, 0), keys=True),
    Kind("numeric(38,12)", _number(38, 12)),
    Kind("short_price", _number(4, 2)),
    Kind("bool", _chosen("true", "false")),
    Kind("float4", _float, "{c}::float8", wider="float8"),
    Kind("float8", _float, keys=True),
    Kind("text", _word, keys=True),
    Kind("varchar(400)", _word, keys=True, wider="text"),
    Kind("char(5)", _short, keys=True),
    Kind("bytea", lambda dice: f"convert_to({_word(dice)}, 'UTF8')", keys=True),
    Kind("uuid", lambda dice: f"md5({_word(dice)})::uuid", "{c}::text", keys=True),
    Kind(
        "date",
        _date,
        "case when isfinite({c}) then {c} - date '1970-01-01' end",
        "not isfinite({c})",
        "'infinity'",
        keys=True,
    ),
    Kind("timestamp", _moment, _MICROSECONDS, "not isfinite({c})", "'-infinity'", keys=True),
    Kind("timestamptz", _zoned, _MICROSECONDS, "not isfinite({c})", "'infinity'", keys=True),
    Kind("time", lambda dice: f"({_moment(dice)})::time", "{c}::text", keys=True),
    Kind("timetz", lambda dice: f"timetz '08:15:00.5{dice.choice(['+02', '-08', '+00'])}'", "{c}::text"),
    Kind(
        "interval",
        lambda dice: f"make_interval({', '.join(str(dice.randint(-9, 99)) for _ in range(7))})",
        "{c}::text",
    ),
    Kind("json", lambda dice: f"json_build_object({_word(dice)}, 1.50)", "{c}::text"),
    Kind("jsonb", lambda dice: f"jsonb_build_object({_word(dice)}, array[1.50, null])", "{c}::text"),
    Kind("inet", _chosen("'10.0.0.0/8'", "'::1'", "'192.168.1.1'"), "{c}::text"),
    Kind("mood", _chosen("'sad'", "'so so'", "'ha''ppy'"), "{c}::text"),
    Kind("pair", lambda dice: f"row({dice.randint(-9, 9)}, {_word(dice)})::pair", "{c}::text"),
    Kind("bit(3)", _chosen("b'101'", "b'000'"), "{c}::text"),
    Kind("int4range", _chosen("'[1,5)'", "'empty'", "'(,7)'"), "{c}::text"),
    Kind("oid", lambda dice: f"{dice.choice([0, 4294967295, 5])}::oid", "{c}::int8"),
    Kind("int4[]", _array("int4[]", _whole(32))),
    Kind("text[]", _array("text[]", _word)),
    Kind("float8[]", _array("float8[]", _float)),
    Kind("bool[]", _array("bool[]", _chosen("true", "false"))),
    Kind("int2[]", _array("int2[]", _whole(16)), "{c}::int4[]"),
    Kind("numeric[]", _array("numeric[]", _number(9, 2)), "{c}::text[]"),
    Kind("timestamptz[]", _array("timestamptz[]", _zoned), "{c}::text[]"),
    Kind("uuid[]", _array("uuid[]", lambda dice: f"md5({_word(dice)})::uuid"), "{c}::text[]"),
)
BY_SQL = {kind.sql: kind for kind in KINDS}
BY_SQL["numeric(20,4)"] = Kind("numeric(20,4)", _number(20, 4))
