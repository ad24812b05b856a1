"""What `--help` says, verb by verb."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from iceberg_datamart.cli import app
from support.oracles.golden_files import EXPECTED, check

COMMAND: Any = typer.main.get_command(app)
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


@pytest.mark.parametrize("verb", sorted(COMMAND.commands))
def test_the_help_of_a_verb(verb: str) -> None:
    check(f"help/{verb}.txt", shown(verb, "--help"))


@pytest.mark.parametrize("verb", sorted(COMMAND.commands))
def test_every_verb_and_option_says_what_it_does(verb: str) -> None:
    command = COMMAND.commands[verb]
    assert command.help
    silent = [parameter.name for parameter in command.params if not getattr(parameter, "help", "")]
    assert silent == []


def test_no_help_is_kept_for_a_verb_that_is_gone() -> None:
    kept = {path.stem for path in (EXPECTED / "help").glob("*.txt")}
    assert kept == {"iceberg-datamart", *COMMAND.commands}
