"""What docs/deploy.md shows is what the tools print."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from iceberg_datamart.glue_job import parser
from support.worlds.terraform import CODE, ROOT

if TYPE_CHECKING:
    from support.worlds.terraform import Plan

PAGE = (ROOT / "docs" / "deploy.md").read_text("utf-8")


def wheels(version: str) -> int:
    """Return how many wheels `wheels.sh` fetches: those that are locked, and the package's own."""
    lock = (CODE / "requirements" / f"glue-{version}.txt").read_text("utf-8")
    return len(re.findall(r"^[\w.-]+==", lock, re.MULTILINE)) + 1


def test_the_number_of_wheels_is_true() -> None:
    assert re.findall(r"(\d+) wheels for Glue ([\d.]+)", PAGE) == [(str(wheels("4.0")), "4.0")]


def test_the_number_of_resources_is_true(default_plan: Plan) -> None:
    uploaded = len([name for name in default_plan.resources if name.startswith("aws_s3_object.wheel")])
    made = str(len(default_plan.resources) - uploaded + wheels("4.0"))
    assert re.findall(r"(?:Plan:|Resources:) (\d+) (?:to add|added)", PAGE) == [made, made]


def test_the_outputs_are_the_codes(default_plan: Plan) -> None:
    shown = dict(re.findall(r'^(\w+) = "(.+)"$', PAGE, re.MULTILINE))
    planned = default_plan.document["planned_values"]["outputs"]
    assert set(shown) == set(planned)
    known = {name: each["value"] for name, each in planned.items() if "value" in each}
    assert {name: value for name, value in shown.items() if name in known} == known


def test_the_arguments_of_single_runs_are_the_jobs() -> None:
    known = {option for action in parser()._actions for option in action.option_strings}
    shown = set(re.findall(r'\{"(--\w+)":', PAGE))
    assert shown
    assert shown <= known
