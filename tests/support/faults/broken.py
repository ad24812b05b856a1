"""One rule or defect broken on purpose, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Broken:
    """One rule: the text in one file that keeps it, what stands there instead, the test that must fail.

    `also` is another text of that file, and what stands there instead, where a rule is kept twice. `only`
    names the engine that the text is of, where it is not of both.
    """

    rule: str
    how: str
    file: str
    kept: str
    broken: str
    test: str
    also: tuple[str, str] = ("", "")
    only: str | None = None
