"""What `--help` says, verb by verb."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from iceberg_datamart import __version__
from iceberg_datamart.cli import VERBS, app, command_of
from support.oracles.golden_files import EXPECTED, check

TERMINAL = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}


def shown(*words: str) -> str:
    """Return what the words print, as a terminal of 100 columns without colours shows it."""
    result = CliRunner().invoke(app, list(words), env=TERMINAL, prog_name="iceberg-datamart")
    assert result.exit_code == 0, result.output
    return "\n".join(line.rstrip() for line in result.output.strip("\n").splitlines())


def test_the_help_of_the_whole_command() -> None:
    check("help/iceberg-datamart.txt", shown("--help"))


def test_the_module_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "iceberg_datamart", "--help"],
        env=os.environ | TERMINAL,
        capture_output=True,
        text=True,
        check=True,
    )
    own_name = shown("--help").replace("iceberg-datamart", "python -m iceberg_datamart")
    assert [line.rstrip() for line in done.stdout.strip("\n").splitlines()] == own_name.splitlines()


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_the_help_of_a_verb(verb: str) -> None:
    check(f"help/{verb}.txt", shown(verb, "--help"))


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_and_option_says_what_it_does(verb: str) -> None:
    command = command_of(verb)
    assert inspect.cleandoc(command.help).split("\n\n")[0].replace("\n", " ") == VERBS[verb]
    silent = [parameter.name for parameter in command.params if not getattr(parameter, "help", "")]
    assert silent == []


@pytest.mark.parametrize("words", [(), *((verb,) for verb in VERBS)])
def test_h_is_help(words: tuple[str, ...]) -> None:
    assert shown(*words, "-h") == shown(*words, "--help")


def test_the_version_is_that_of_the_package() -> None:
    assert shown("--version") == f"iceberg-datamart {__version__}"


# What `run` imports before it begins, and people who ask for help should not wait for.
SLOW = ("boto3", "pyarrow", "psycopg", "pydantic", "pyiceberg", "pyspark", "sqlalchemy", "yaml")


def imported(*words: str) -> set[str]:
    """Return which modules of our own, and which slow packages, the words import."""
    script = (
        "import atexit, sys; atexit.register(lambda: print(*sys.modules)); "
        "from iceberg_datamart.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        env=os.environ | TERMINAL,
        capture_output=True,
        text=True,
        check=True,
    )
    modules = done.stdout.splitlines()[-1].split()
    return {name for name in modules if name in SLOW or name.startswith("iceberg_datamart.")}


@pytest.mark.parametrize("option", ["--help", "-h", "--version"])
def test_help_and_version_import_nothing_that_a_verb_needs(option: str) -> None:
    stopping = {"iceberg_datamart.underway", "iceberg_datamart.underway.stopping"}
    assert imported(option) == {"iceberg_datamart.cli", "iceberg_datamart.errors", *stopping}


def test_the_help_of_a_verb_imports_no_other_verb() -> None:
    verbs = {f"iceberg_datamart.cli.{verb}" for verb in VERBS}
    assert imported("status", "--help") & verbs == {"iceberg_datamart.cli.status"}


def test_no_help_is_kept_for_a_verb_that_is_gone() -> None:
    kept = {path.stem for path in (EXPECTED / "help").glob("*.txt")}
    assert kept == {"iceberg-datamart", *VERBS}
