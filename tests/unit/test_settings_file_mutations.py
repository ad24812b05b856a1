"""Whatever becomes of a configuration file, it is valid settings or a refusal with a line, and that soon."""

from __future__ import annotations

import re
import time
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from iceberg_datamart.app.settings_file import default_config_text, parse_config
from iceberg_datamart.errors import ConfigError

if TYPE_CHECKING:
    from iceberg_datamart.core.settings.model import Config

VALID = """\
version: 1
catalog: {type: sql, uri: "sqlite:///catalog.db", warehouse: lake, properties: {a: 1}}
database: datamart
state: {timestamp_file: last.csv, on_missing: full_load}
sources: {prd: {type: postgres, url: "postgresql://reader@db/prd", password: "${PW:-}"}}
tables:
  account: &base
    source: prd
    from: public."my account"
    primary_key: [account_id, "{x}"]
    cursor: updated_at
    cursor_timezone: Europe/Berlin
    lookback_minutes: 5
    max_delete_fraction: 0.25
    reconcile: every 24 runs
    columns: {amount: {type: "decimal(18,2)"}}
    exclude: [secret]
    partitions: 4
  queue: {<<: *base, from: queue, soft_delete: gone}
marts:
  both:
    from: account
    joins: [{table: queue, on: {account_id: id}, how: left, to: account}]
    columns: [account_id]
    expressions: {twice: amount * 2}
    require: [queue]
run: {parallel_tables: 2}
spark: {properties: {spark.driver.memory: 1g}}
"""
PLACED = re.compile(r"\n  line \d+: |\bline \d+|\bis empty|\bhas [\d,]+ characters|cannot be read")
SIGNS = st.characters(codec="utf-8") | st.sampled_from(
    "\0\x07\x1b\x85\u2028\ufeff:-[]{}&*!|>'\"%@`#\n\t ,?<~$"
)
PIECES = st.text(SIGNS, max_size=6) | st.sampled_from(
    [
        "&a ",
        "*base",
        "*a",
        "!!python/name:os.system ",
        "!!binary ",
        "<<: *base",
        "- ",
        "? ",
        "---\n",
        "${",
        "}",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(SIGNS, max_size=8)
    | st.dates()
)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=8,
)


def settled(text: str) -> Config | None:
    """Return what the text means; None where it was refused as it should be."""
    try:
        return parse_config(text, {}, "datamart.yaml")
    except ConfigError as error:
        refused = error
    assert PLACED.search(refused.message), refused.message
    assert refused.hint
    assert all(line.isprintable() and len(line) < 400 for line in refused.message.splitlines())
    return None


def test_the_settings_that_are_mutated_are_valid() -> None:
    assert settled(VALID) is not None


@given(st.lists(st.tuples(st.integers(0, len(VALID)), st.integers(0, 40), PIECES), min_size=1, max_size=4))
def test_text_that_is_cut_pasted_and_overwritten_anywhere(edits: list[tuple[int, int, str]]) -> None:
    text = VALID
    for start, length, piece in edits:
        text = text[:start] + piece + text[start + length :]
    settled(text)


@given(st.lists(st.tuples(st.integers(0, 26), st.integers(0, 26)), min_size=1, max_size=4))
def test_lines_that_are_swapped_and_doubled(moves: list[tuple[int, int]]) -> None:
    lines = VALID.splitlines(keepends=True)
    for source, target in moves:
        lines.insert(target, lines[source])
        del lines[(source * 7 + target) % len(lines)]
    settled("".join(lines))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in pairs for place in places(each, (*path, key)))]


PLAIN = yaml.safe_load(VALID)
PLACES = [place for place in places(PLAIN) if place]


@given(st.sampled_from(PLACES), JUNK, st.text(SIGNS, max_size=5))
def test_any_value_of_the_wrong_type_and_any_name_beside_it(
    place: tuple[Any, ...], junk: Any, name: str
) -> None:
    settings = deepcopy(PLAIN)
    block = settings
    for key in place[:-1]:
        block = block[key]
    block[place[-1]] = junk
    if isinstance(block, dict):
        block[name] = junk
    settled(yaml.safe_dump(settings, allow_unicode=True))


BOMB = "".join(
    f"{x}: &{x} [{', '.join([f'*{y}'] * 9)}]\n" for x, y in zip("bcdefghi", "abcdefgh", strict=True)
)
MERGES = "".join(
    f"{x}: &{x} {{<<: [{', '.join([f'*{y}'] * 9)}]}}\n" for x, y in zip("bcdefghi", "abcdefgh", strict=True)
)
TRAPS = {
    "aliases of aliases": ("a: &a [x, x]\n" + BOMB, "aliases repeat more than"),
    "merges of merges": ("a: &a {x: y}\n" + MERGES, "aliases repeat more than"),
    "a merge of itself": (VALID + "x: &x {<<: &y {<<: [*y]}}\n", "line 29"),
    "nested lists": (VALID + "x: " + "[" * 5_000, "line 29: blocks are nested more than 30 deep"),
    "nested blocks": ("".join(" " * at + "a:\n" for at in range(400)), "line 31: blocks are nested"),
    "nested just below the limit": (VALID + "x: " + "[" * 25 + "]" * 25, "line 29: x: unknown"),
    "a million characters": (VALID + "#" * 1_000_000, "settings have at most 1,000,000"),
    "a long name": (VALID + "x" * 900 + ": 1\n", "xxx…"),
    "a long number": (VALID.replace("partitions: 4", "partitions: " + "9" * 9_000), "line 18"),
    "a long value": (VALID.replace("full_load", "f" * 200_000), "line 4: state.on_missing: must be"),
    "a name that controls the terminal": (VALID + '"\\e[31m\\nfalse": 1\n', r"\x1b[31m\nfalse"),
    "half of a character": (VALID + '"\\ud800": 1\n', "line 1: the name on line 29 must be text"),
    "half of a character as a value": (
        VALID.replace("from: queue", 'from: "\\ud800"'),
        "line 19: tables.queue.from: must be valid",
    ),
    "a name twice": (VALID + "run: {}\n", "run: written twice, on lines 27 and 29"),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_is_refused_with_its_place_and_soon(trap: str) -> None:
    text, words = TRAPS[trap]
    started = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        parse_config(text, {}, "datamart.yaml")
    assert time.monotonic() - started < 20
    assert words in caught.value.message
    caught.value.message.encode()


def test_the_shipped_settings_are_far_from_every_limit() -> None:
    assert settled(default_config_text()) is not None
    tables = "".join(f"  t{at}: {{<<: *base, from: t{at}}}\n" for at in range(200))
    assert settled(VALID.replace("marts:\n", tables + "marts:\n")) is not None
