"""What `--help` says, verb by verb."""

from __future__ import annotations

from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from iceberg_datamart.cli import app
from support.oracles.golden_files import EXPECTED, check

COMMAND: Any = typer.main.get_command(app)


def shown(*words: str) -> str:
    """Return what the words print, as a terminal of 100 columns without colours shows it."""
    terminal = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
    result = CliRunner().invoke(app, list(words), env=terminal, prog_name="iceberg-datamart")
    assert result.exit_code == 0, result.output
    return "\n".join(line.rstrip() for line in result.output.strip("\n").splitlines())


def test_the_help_of_the_whole_command() -> None:
    check("help/iceberg-datamart.txt", shown("--help"))


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
