"""The list of what `make broken` breaks is true: it names every rule, and text that is there once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.faults.broken_on_purpose import BROKEN, PACKAGE, ROOT, SOURCE

if TYPE_CHECKING:
    from support.faults.broken import Broken

RULES = {f"R{n}" for n in range(1, 22)} | {f"D{n}" for n in range(1, 12)}


def test_every_rule_is_broken() -> None:
    assert {broken.rule for broken in BROKEN} == RULES


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.rule)
def test_what_is_broken_is_there_once(broken: Broken) -> None:
    text = (SOURCE / PACKAGE / broken.file).read_text("utf-8")
    assert text.count(broken.kept) == 1
    assert not broken.also[0] or text.count(broken.also[0]) == 1


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.rule)
def test_the_test_that_must_fail_exists(broken: Broken) -> None:
    file, _, name = broken.test.partition("::")
    assert f"def {name.split('[')[0]}" in (ROOT / file).read_text("utf-8")


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.rule)
def test_the_test_that_must_fail_bears_the_rules_name(broken: Broken) -> None:
    assert broken.test.partition("::")[2].startswith(f"test_{broken.rule.lower()}_")


def test_the_page_on_reliability_lists_the_same() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    rows = [
        f"| {broken.rule} | `{broken.test.partition('::')[2].split('[')[0]}` | {broken.how} |"
        for broken in BROKEN
    ]
    assert [row for row in rows if row not in page] == []
